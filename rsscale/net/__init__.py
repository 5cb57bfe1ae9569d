"""Bytes over HTTP and from buckets: addresses, retries, signing, what GDAL reads through."""
