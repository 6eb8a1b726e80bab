"""Rows of a factor as short vectors that a compiled loop keeps in registers.

numba leaves it to the compiler to find vectors in loops over components, which it does badly where sums are carried
along. Here one row of a padded factor (see `padded`) is one value of type `Lanes`, with the few operations that the
kernels need. Its length is part of the type, so that a kernel is compiled once for each.

numba keeps compiled kernels by the file that they are in: whoever changes this one must remove ``__pycache__``.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.np import arrayobj
from numpy.typing import NDArray

BYTES = 32
"""Rows are padded to multiples of this: what most processors add at once. 64 was slower where both are possible."""

LINE = 64
"""Bytes of a line of most caches."""

Typed = tuple[Any, Callable[..., Any]]
"""A signature, and a function that writes instructions."""

intrinsic: Callable[[Callable[..., Typed]], Callable[..., Any]] = extending.intrinsic
"""Makes a function for compiled code of one that says what its instructions are for some types."""


def padded(*factors: NDArray[Any]) -> NDArray[Any]:
    """A copy of factors (n, n_components), side by side, whose rows end with zeros: they can be loaded as lanes.

    It begins where a line of a cache does, or rows that fill such lines would need one more.
    """
    first, step = factors[0], BYTES // factors[0].itemsize
    n_columns = sum(factor.shape[1] for factor in factors)
    shape = (len(first), -(-n_columns // step) * step)
    spacious = np.zeros(shape[0] * shape[1] + LINE // first.itemsize, first.dtype)
    start = -spacious.ctypes.data % LINE // first.itemsize
    rows = spacious[start : start + shape[0] * shape[1]].reshape(shape)
    np.concatenate(factors, axis=1, out=rows[:, :n_columns])
    return rows


def width_of(rows: NDArray[Any]) -> tuple[int, ...]:
    """As many zeros as a padded factor has columns: numba knows the length of a tuple when it compiles."""
    return (0,) * int(rows.shape[1])


class Lanes(types.Type):
    """So many floats, as vectors of `BYTES`: longer ones are taken apart where they are carried along a loop."""

    def __init__(self, element: Any, count: int) -> None:
        self.element = element
        self.size = 8 * BYTES // element.bitwidth
        self.vectors = count // self.size
        super().__init__(name=f"Lanes({element}, {count})")


@extending.register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, lanes: Lanes) -> None:
        vector = ir.VectorType(manager.lookup(lanes.element).get_value_type(), lanes.size)
        super().__init__(manager, lanes, ir.ArrayType(vector, lanes.vectors))


@intrinsic
def load(typing: Any, rows: Any, row: Any, width: Any) -> Typed:  # noqa: ARG001
    """Row ``row`` of C-ordered ``rows``, of which there are as many columns as ``width`` has entries."""
    lanes = Lanes(rows.dtype, width.count)

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        places = _places(context, builder, signature, given, lanes)
        return _joined(
            context, builder, lanes, [builder.load(place, align=rows.dtype.bitwidth // 8) for place in places]
        )

    return lanes(rows, row, width), write


@intrinsic
def store(typing: Any, rows: Any, row: Any, lanes: Any) -> Typed:  # noqa: ARG001
    """Set row ``row`` of ``rows``."""

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        places = _places(context, builder, signature, given, lanes)
        for place, vector in zip(places, _vectors(builder, given[2]), strict=True):
            builder.store(vector, place, align=rows.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(rows, row, lanes), write


@intrinsic
def zeros_like(typing: Any, lanes: Any) -> Typed:  # noqa: ARG001
    """As many zeros."""

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:  # noqa: ARG001
        return ir.Constant(context.get_value_type(lanes), None)

    return lanes(lanes), write


@intrinsic
def add_multiple(typing: Any, total: Any, factor: Any, lanes: Any) -> Typed:  # noqa: ARG001
    """``total + factor * lanes``, each sum rounded once."""

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:  # noqa: ARG001
        sums, vectors = _vectors(builder, given[0]), _vectors(builder, given[2])
        single = builder.insert_element(ir.Constant(vectors[0].type, ir.Undefined), given[1], _index(0))
        factors = builder.shuffle_vector(single, single, ir.Constant(ir.VectorType(ir.IntType(32), lanes.size), None))
        found = [
            _call(builder, "fma", one.type, factors, vector, one) for one, vector in zip(sums, vectors, strict=True)
        ]
        return _joined(context, builder, total, found)

    return total(total, lanes.element, lanes), write


@intrinsic
def dot(typing: Any, left: Any, right: Any) -> Typed:  # noqa: ARG001
    """The sum of products, in an order that suits the processor."""

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:  # noqa: ARG001
        (first, other), *pairs = zip(_vectors(builder, given[0]), _vectors(builder, given[1]), strict=True)
        total = builder.fmul(first, other)
        for one, another in pairs:
            total = _call(builder, "fma", total.type, one, another, total)
        zero = ir.Constant(total.type.element, -0.0)
        return _call(builder, "vector.reduce.fadd", total.type.element, zero, total, fastmath=("reassoc",))

    return left.element(left, right), write


def _places(context: Any, builder: Any, signature: Any, given: Any, lanes: Lanes) -> list[Any]:
    """Pointers to the vectors of a row."""
    array = arrayobj.make_array(signature.args[0])(context, builder, given[0])
    row = context.cast(builder, given[1], signature.args[1], types.intp)
    start = [row, context.get_constant(types.intp, 0)]
    place = cgutils.get_item_pointer(context, builder, signature.args[0], array, start, wraparound=False)
    first = builder.bitcast(place, context.get_value_type(lanes).element.as_pointer())
    return [builder.gep(first, [_index(number)]) for number in range(lanes.vectors)]


def _vectors(builder: Any, lanes: Any) -> list[Any]:
    return [builder.extract_value(lanes, number) for number in range(lanes.type.count)]


def _joined(context: Any, builder: Any, lanes: Lanes, vectors: list[Any]) -> Any:
    whole = ir.Constant(context.get_value_type(lanes), ir.Undefined)
    for number, vector in enumerate(vectors):
        whole = builder.insert_value(whole, vector, number)
    return whole


def _call(builder: Any, name: str, returned: Any, *given: Any, **flags: Any) -> Any:
    """Call an intrinsic of LLVM for vectors like the last that it is given."""
    vector = given[-1].type
    kind = ir.FunctionType(returned, [one.type for one in given])
    size = 32 if vector.element == ir.FloatType() else 64
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{vector.count}f{size}")
    return builder.call(function, given, **flags)


def _index(number: int) -> Any:
    return ir.Constant(ir.IntType(32), number)
