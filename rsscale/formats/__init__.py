"""Files that other programs read: Cloud Optimized GeoTIFF, NetCDF."""
