"""A run from plan to product: prepared, computed by workers, shared, verified."""
