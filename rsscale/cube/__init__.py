"""Items to a lazy cube, masked."""
