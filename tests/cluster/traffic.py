"""A fit in a process of its own that counts its bytes on the wire: ``traffic.py SCHEDULER``; prints them per sweep."""

import json
import sys

import numpy as np
from tornado.iostream import IOStream

from bcnmf_dask import BCNMF

FEATURES, COMPONENTS = 30_000, 10
FIRST, LAST = 20, 60


def count(moved, name):
    """Have a method of all streams note the bytes it moves."""
    original = getattr(IOStream, name)

    def noting(stream, data):
        number = original(stream, data)
        moved.append(number or 0)
        return number

    setattr(IOStream, name, noting)


def main(scheduler):
    moved, marks = [], {}
    count(moved, "read_from_fd")
    count(moved, "write_to_fd")
    rows = np.random.default_rng(0).random((200, FEATURES)).astype(np.float32)
    fitted = BCNMF(COMPONENTS, 0.0, loss="frobenius", max_iter=LAST, tol=0).fit(
        rows, client=scheduler, callbacks=[lambda record: marks.update({record.iteration: sum(moved)})]
    )
    owners = sum(count > 0 for count in fitted.run_["shards_per_worker"].values())
    sys.stdout.write(json.dumps({"owners": owners, "bytes_per_sweep": (marks[LAST] - marks[FIRST]) / (LAST - FIRST)}))


if __name__ == "__main__":
    main(sys.argv[1])
