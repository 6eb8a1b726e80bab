"""``python -m bcnmf_dask``: the same as the ``bcnmf-dask`` command."""

from bcnmf_dask.cli.main import main

if __name__ == "__main__":  # the worker processes of a local cluster import this file again
    main()
