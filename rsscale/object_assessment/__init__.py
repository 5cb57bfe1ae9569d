"""The objects of a run measured against true ones, and the file that holds the figures."""
