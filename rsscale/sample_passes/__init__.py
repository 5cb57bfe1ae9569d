"""The tile functions of a sample: its population is counted, planned and drawn from."""
