"""Deep learning for remote sensing at country scale."""
