"""Where tiles are computed: engine, Dask clusters, memory of workers."""
