"""Polygons of a class map: traced in fixed cells, joined across them; arrays only, no engine."""
