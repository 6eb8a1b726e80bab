"""The mathematics: arrays in, arrays out. No Dask, no files, no loops over sweeps."""
