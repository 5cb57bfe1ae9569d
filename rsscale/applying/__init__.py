"""A function of a user over whole runs, or over arrays."""
