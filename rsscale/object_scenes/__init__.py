"""Labelled objects in images: read, checked, and cut into crops that a detector learns from."""
