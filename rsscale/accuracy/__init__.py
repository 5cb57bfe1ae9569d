"""Accuracy of a map on reference data, away from its training labels."""
