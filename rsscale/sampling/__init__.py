"""Labelled chips of a recipe: read here or on a cluster, kept on disk until a model is saved."""
