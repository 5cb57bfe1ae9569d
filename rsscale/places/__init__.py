"""Where items and their rasters lie, by STAC metadata: footprints, boxes of pixels, CRS."""
