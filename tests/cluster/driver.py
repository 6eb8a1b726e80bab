"""A fit in a process of its own: ``driver.py CLIENT CHECKPOINT MARK EVERY [resume]``; says where it is in a file."""

import json
import sys
import time
from pathlib import Path

from chaos import bits, model, rows

from bcnmf_dask.errors import Preempted


def main(client, checkpoint, mark, every, *resume):
    def tell(record):
        Path(mark).write_text(str(record.iteration))
        if record.iteration >= 3 and not resume:
            time.sleep(0.5)  # so that a signal finds the fit under way

    target, background = rows()
    try:
        fitted = model().fit(
            target,
            background=background,
            client=False if client == "none" else client,
            checkpoint=checkpoint,
            checkpoint_every=int(every),
            resume=bool(resume),
            callbacks=[tell],
        )
    except Preempted as stopped:
        sys.stdout.write(json.dumps({"preempted": str(stopped)}))
    else:
        found = {"resumed_from": fitted.run_["resumed_from"], "bits": [part.hex() for part in bits(fitted)]}
        sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
