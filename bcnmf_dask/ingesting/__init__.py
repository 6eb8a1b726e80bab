"""Any store -> a row-chunked AnnData Zarr store that streams best."""
