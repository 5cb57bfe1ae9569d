"""What a run keeps on disk or in a bucket: Zarr layers, ledger, lease."""
