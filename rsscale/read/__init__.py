"""Pixels of one raster file on the output grid."""
