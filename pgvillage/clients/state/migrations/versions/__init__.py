"""One module a version, its number in front; a version that was released never changes."""
