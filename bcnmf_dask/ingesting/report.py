"""What an ingest saw in the values: tallied by piece, summed, kept with the store, told in words."""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bcnmf_dask.backend import Rows, is_sparse, stored_values


@dataclass(frozen=True)
class Tally:
    """What was seen in some whole rows.

    Attributes
    ----------
    stored, zeros, negative, nan, infinite, fractional : int
        Stored values in all; of them zeros, below zero, not a number, infinite, and finite without being whole.
    largest : float
        The largest finite stored value; minus infinity if there is none.
    empty_rows : int
        Rows without any value but zero.
    seen : bool array (n_features,)
        Features with a value other than zero in any of the rows.
    """

    stored: int
    zeros: int
    negative: int
    nan: int
    infinite: int
    fractional: int
    largest: float
    empty_rows: int
    seen: NDArray[np.bool_]

    @classmethod
    def none(cls, n_features: int) -> Self:
        """Nothing seen yet: the identity of `merge`."""
        return cls(0, 0, 0, 0, 0, 0, -np.inf, 0, np.zeros(n_features, dtype=bool))

    @classmethod
    def of(cls, rows: Rows) -> Self:
        """Look at every stored value."""
        values = stored_values(rows)
        finite = np.isfinite(values)
        filled = values != 0
        if is_sparse(rows):
            seen = np.zeros(rows.shape[1], dtype=bool)
            seen[rows.indices[filled]] = True
            filled_before = np.append(0, np.cumsum(filled))
            empty = int(np.count_nonzero(np.diff(filled_before[rows.indptr]) == 0))
        else:
            seen, empty = filled.any(axis=0), int(np.count_nonzero(~filled.any(axis=1)))
        nan = int(np.count_nonzero(np.isnan(values)))
        whole = np.equal(values, np.rint(values)) if values.dtype.kind == "f" else finite
        return cls(
            stored=values.size,
            zeros=values.size - int(np.count_nonzero(filled)),
            negative=int(np.count_nonzero(values < 0)),
            nan=nan,
            infinite=values.size - int(np.count_nonzero(finite)) - nan,
            fractional=int(np.count_nonzero(finite & ~whole)),
            largest=float(values.max(initial=-np.inf, where=finite)) if values.dtype.kind == "f" else _largest(values),
            empty_rows=empty,
            seen=seen,
        )

    def merge(self, other: "Tally") -> "Tally":
        """Both together."""
        return Tally(
            self.stored + other.stored,
            self.zeros + other.zeros,
            self.negative + other.negative,
            self.nan + other.nan,
            self.infinite + other.infinite,
            self.fractional + other.fractional,
            max(self.largest, other.largest),
            self.empty_rows + other.empty_rows,
            self.seen | other.seen,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values, a bit for each feature."""
        return asdict(self) | {"seen": b64encode(np.packbits(self.seen).tobytes()).decode()}

    @classmethod
    def from_json(cls, plain: dict[str, Any], n_features: int) -> Self:
        """What `to_json` made plain."""
        bits = np.frombuffer(b64decode(plain["seen"]), dtype=np.uint8)
        return cls(**plain | {"seen": np.unpackbits(bits, count=n_features).astype(bool)})


def _largest(values: NDArray[Any]) -> float:
    return float(values.max()) if values.size else -np.inf


@dataclass(frozen=True)
class IngestReport:
    """What was written, and what was seen in it.

    Attributes
    ----------
    source, out : str
        What was read, and the path of the store that was written.
    matrix : {"csr", "dense"}
    dtype : str
        Of the values, as in the source.
    n_cells, n_features, stored_values : int
    density : float
        Share of all values that are not zero.
    negative, nan, infinite : int
        Stored values of these kinds. `BCNMF.fit` refuses them.
    integers : bool
        Whether every finite value is whole.
    largest : float
        The largest finite value; 0 if none is stored.
    explicit_zeros : int
        Zeros among the stored values of a CSR matrix. They are kept.
    duplicate_entries : int
        Entries that were added to another one of the same row and feature.
    duplicate_cell_names, duplicate_feature_names : int
        Names that another cell or feature before has too.
    empty_cells, empty_features : int
        Without any value but zero.
    left_out : tuple of str
        What else the source has, and the store does not: other layers, obsm, uns, ...
    checksum : str
        Of all decoded values: the same for the same data, whatever wrote it.
    piece_checksums : tuple of str
        Of the decoded values of each piece of 4 million (of dense rows, of 64 MB), in order.
    """

    source: str
    out: str
    matrix: str
    dtype: str
    n_cells: int
    n_features: int
    stored_values: int
    density: float
    negative: int
    nan: int
    infinite: int
    integers: bool
    largest: float
    explicit_zeros: int
    duplicate_entries: int
    duplicate_cell_names: int
    duplicate_feature_names: int
    empty_cells: int
    empty_features: int
    left_out: tuple[str, ...]
    checksum: str
    piece_checksums: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """As AnnData can write it."""
        lists = {name: np.array(getattr(self, name), dtype=object) for name in ("left_out", "piece_checksums")}
        return asdict(self) | lists

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        """What AnnData reads of what `plain` gave it."""
        values: dict[str, Any] = {name: np.asarray(value).tolist() for name, value in plain.items()}
        return cls(**values | {name: tuple(value) for name, value in values.items() if isinstance(value, list)})

    def sentences(self) -> list[tuple[str, str]]:
        """Labels and words, for people."""
        kind = "sparse (CSR)" if self.matrix == "csr" else "dense"
        lines = [
            ("size", f"{self.n_cells} cells x {self.n_features} features, {kind}, {self.dtype}"),
            ("values", f"{self.stored_values} stored ({self.density:.2%} of all are not zero), {self._range()}"),
        ]
        repaired = _listed({"stored more than once, now summed": self.duplicate_entries})
        if repaired:
            lines.append(("repaired", repaired))
        noted = _listed(
            {
                "explicit zeros, kept": self.explicit_zeros,
                "cells without any value": self.empty_cells,
                "features without any value": self.empty_features,
            }
        )
        if noted:
            lines.append(("noted", noted))
        refused = _listed({"negative": self.negative, "not a number (NaN)": self.nan, "infinite": self.infinite})
        if refused:
            lines.append(("bad values", f"{refused}. A fit refuses them: mend the data before."))
        names = _listed({"cells": self.duplicate_cell_names, "features": self.duplicate_feature_names})
        if names:
            lines.append(("names twice", f"{names}. A fit refuses features of the same name."))
        if self.left_out:
            lines.append(("left out", ", ".join(self.left_out)))
        return [*lines, ("checksum", self.checksum)]

    def _range(self) -> str:
        return f"{'all' if self.integers else 'not all'} whole numbers, the largest {self.largest:g}"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)
