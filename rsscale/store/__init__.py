"""Storage of a run on disk or in a bucket: Zarr layers, ledger, lease."""
