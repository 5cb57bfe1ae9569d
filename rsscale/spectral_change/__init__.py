"""Change between two dates without labels: how far values moved, and where that is change."""
