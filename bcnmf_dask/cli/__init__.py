"""The ``bcnmf-dask`` command, one file per subcommand."""
