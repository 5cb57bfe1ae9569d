"""STAC items: their dialects, versions and extents, and how they are frozen."""
