"""Observations of a time window reduced to one value a pixel."""
