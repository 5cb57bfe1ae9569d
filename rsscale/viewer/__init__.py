"""The viewer: a page that reads the Zarr pyramids of a product in the browser."""
