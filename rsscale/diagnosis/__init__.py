"""Whether this machine has what rsscale needs, in one table."""
