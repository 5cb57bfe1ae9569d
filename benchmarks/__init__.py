"""Measurements: each an ordinary script that prints a table and can write JSON."""
