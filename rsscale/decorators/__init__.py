"""Decorators: of functions whose results are kept, or whose first argument is checked."""
