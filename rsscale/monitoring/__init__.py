"""Monitoring of a run: totals, events, state, metrics, summary."""
