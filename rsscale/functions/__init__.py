"""Functions of a user's own: how they are called, and their layers."""
