"""One run of a Job, from its claim to its end; meets the world as protocols."""
