"""Patches of one class: found, merged below a minimum size, and classes smoothed; arrays only."""
