"""Totals and ratios of a population from a probability sample: design, variance, intervals."""
