"""What each forge's webhook says: who proves it, and which pushes it tells of. Pure; bodies are never trusted."""
