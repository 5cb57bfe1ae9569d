"""Samples at points: series with classes or values, and models trained from them."""
