"""A run from plan to product: folder, loop, worker, monitor. Knows passes, no satellites."""
