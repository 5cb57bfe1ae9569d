"""Satellite to array: search, load, mask, composite, labels."""
