"""The message for whatever a reader has raised."""

from bcnmf_dask.failures.kinds import failure_of
from bcnmf_dask.failures.signatures import mistaken

UNKNOWN = (
    "What that means is not known here: try to open it with the library that wrote it, which may say more, and write it "
    "again if that can read it."
)


def explained(location: str, error: BaseException, damaged: str | None = None) -> str:
    """What could not be read, what was said, what that means and the repair.

    Parameters
    ----------
    location : str
        As the user gave it.
    error : exception
    damaged : str, optional
        What to say of damage, in place of what is said of any file.
    """
    return f"{location!r} could not be read ({type(error).__name__}: {error}). {_meaning(location, error, damaged)}"


def is_damage(error: BaseException) -> bool:
    """Whether the error says that bytes are not what they were."""
    found = failure_of(error)
    return found is not None and found[0].damage


def _meaning(location: str, error: BaseException, damaged: str | None) -> str:
    if other := mistaken(location):
        return other
    found = failure_of(error)
    if found is None:
        return UNKNOWN
    failure, what = found
    if failure.damage and damaged:
        return damaged
    return failure.sentence if isinstance(failure.sentence, str) else failure.sentence(location, what)
