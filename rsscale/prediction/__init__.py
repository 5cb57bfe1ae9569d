"""A model over composites: at once in memory, or lazily, block by block."""
