"""A network as windows meet it: what it is given, and checks of what it returns."""
