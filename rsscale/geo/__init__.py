"""Geometry: the global pixel grid, boxes and windows on it, areas."""
