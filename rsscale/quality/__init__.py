"""Quality gates: what a map must pass before it is published."""
