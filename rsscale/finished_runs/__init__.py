"""A finished run: what of it is published, and whether it may be."""
