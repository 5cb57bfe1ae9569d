"""A run as others see it: totals, events, state, metrics, lines for people."""
