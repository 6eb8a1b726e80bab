"""The message for whatever a reader has raised."""

from bcnmf_dask.failures.kinds import failure_of
from bcnmf_dask.failures.signatures import mistaken

UNKNOWN = (
    "What that means is not known here: try to open it with the library that wrote it, which may say more, and write "
    "it again if that can read it."
)


def explained(location: str, error: BaseException) -> str:
    """What could not be read, what was said, what that means and the repair.

    Parameters
    ----------
    location : str
        As the user gave it.
    error : exception
        What a reader raised.
    """
    return f"{location!r} could not be read ({type(error).__name__}: {error}). {_meaning(location, error)}"


def is_kept_out(error: BaseException) -> bool:
    """Whether it is known to be something around a store that keeps it from being read, and not what is in it."""
    found = failure_of(error)
    return found is not None and not found[0].inside


def _meaning(location: str, error: BaseException) -> str:
    if other := mistaken(location):
        return other
    found = failure_of(error)
    if found is None:
        return UNKNOWN
    failure, what = found
    return failure.sentence if isinstance(failure.sentence, str) else failure.sentence(location, what)
