"""Probability samples of a map for people to interpret: plan, file, pictures of units."""
