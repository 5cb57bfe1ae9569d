"""Search of STAC catalogues: APIs, files, filters."""
