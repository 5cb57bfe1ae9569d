"""Breaks in a series of observations: a seasonal model of each pixel, and how it is left."""
