"""Accuracy and areas from a probability sample, each with its standard error and interval."""
