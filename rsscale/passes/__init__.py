"""Tile functions: what a run evaluates for every tile."""
