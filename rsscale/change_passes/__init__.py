"""Passes that tell what changed: of maps, of probabilities, of imagery."""
