"""A finished run as a product that others open: Zarr, GeoTIFF, STAC, tables, a data card."""
