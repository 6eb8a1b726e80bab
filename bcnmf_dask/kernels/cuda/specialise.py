"""What a kernel is compiled for, and how many threads it is given."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

WARP = 32
NAMES = {
    "float32": "float",
    "float64": "double",
    "bool": "bool",
    "int8": "signed char",
    "uint8": "unsigned char",
    "int16": "short",
    "uint16": "unsigned short",
    "int32": "int",
    "uint32": "unsigned int",
    "int64": "long long",
    "uint64": "unsigned long long",
}
"""Of types in C++."""
SHARE = 256
"""Stored values of a line for each warp that shares it, at the least: with fewer, warps wait for each other more than
they work."""
USUAL_TEAM, LARGEST_TEAM = 4, 16
LONG = 8 * SHARE
"""Stored values for each warp of the usual team, beyond which a line is so long that others would wait for it: the
largest team takes it."""
FEW_WARPS = 4096
"""With fewer in all, most of a large device would be idle: more of them share a line then."""


@dataclass(frozen=True)
class Special:
    """What kernels for CSR rows are compiled for.

    Attributes
    ----------
    real : str
        Type of the factors, by its name in NumPy, as are the others.
    value, index, pointer : str
        Types of the stored values, of their columns, and of the places where rows begin.
    components : int
    team : int
        Warps that share a line.
    """

    real: str
    value: str
    index: str
    pointer: str
    components: int
    team: int

    @property
    def lanes(self) -> int:
        """Threads that share a stored value: about one for each three components, and whole parts of a warp."""
        return 8 if self.components <= 32 else 16 if self.components <= 64 else WARP

    @property
    def options(self) -> tuple[str, ...]:
        """For the compiler."""
        types = {name.upper(): NAMES[getattr(self, name)] for name in ("real", "value", "index", "pointer")}
        numbers = {"COMPONENTS": self.components, "LANES": self.lanes, "TEAM": self.team}
        return ("-std=c++17", *(f"-D{name}={given}" for name, given in (types | numbers).items()))

    @property
    def threads(self) -> int:
        """Of a block, as ``csr.cu`` says."""
        return max(128, WARP * self.team)

    def grid(self, n_lines: int) -> int:
        """Blocks for so many lines."""
        return -(-n_lines * self.team * WARP // self.threads)


def team_for(n_lines: int, n_values: int) -> int:
    """Warps that share a line, as long as lines are on average."""
    team = 1
    while team < LARGEST_TEAM and n_values >= 2 * team * SHARE * n_lines:
        if team >= USUAL_TEAM and n_lines * team >= FEW_WARPS:
            break
        team *= 2
    return team


@cache
def source() -> str:
    """Of all kernels for CSR rows."""
    return files(__package__).joinpath("csr.cu").read_text()
