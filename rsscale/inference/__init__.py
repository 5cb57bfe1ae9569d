"""A model over windows of a composite: arrays in, arrays out."""
