"""A simulated archive like Sentinel-2's, whose truth is known."""
