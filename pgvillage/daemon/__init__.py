"""The long-running reconciler. Thin: it decides when, the use cases decide what."""
