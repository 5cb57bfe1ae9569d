"""Labels and rasters of truth on the grid."""
