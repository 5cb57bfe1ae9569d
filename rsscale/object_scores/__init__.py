"""Scores of objects as the field computes them: arrays and GeoDataFrames in, numbers out."""
