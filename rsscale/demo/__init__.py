"""A simulated archive with known truth, and the demo that maps it."""
