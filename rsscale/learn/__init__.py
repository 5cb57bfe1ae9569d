"""Models: architectures, training, opening and saving."""
