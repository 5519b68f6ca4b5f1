"""The vector type of the kernels for Numba: LLVM vectors, held in registers across loops.

LLVM's own vectoriser only takes innermost loops, and runs the quadratic form at half of this speed.
"""

from __future__ import annotations

import math
import operator
import platform
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel.models import PrimitiveModel
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, overload, register_model

from fastem.kernels import vectors

_IR_TYPE = {types.float64: ir.DoubleType(), types.float32: ir.FloatType()}
_BITS = {types.float64: (ir.IntType(64), 52), types.float32: (ir.IntType(32), 23)}
# Products and sums may fuse, and nothing else: the exponential lives from the rounding of an addition.
_FLAGS = ("contract",)


def _vector_bytes() -> int:
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 64
    return 32 if features.get("avx") else 16


VECTOR_BYTES = _vector_bytes()
WIDE = VECTOR_BYTES == 64 or platform.machine().lower() in ("aarch64", "arm64")


class Vector(types.Type):
    """A vector of ``VECTOR_BYTES`` of one float type."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        self.lanes = VECTOR_BYTES * 8 // dtype.bitwidth
        super().__init__(name=f"Vector({dtype} x {self.lanes})")


@register_model(Vector)
class _VectorModel(PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Vector) -> None:
        super().__init__(manager, fe_type, ir.VectorType(_IR_TYPE[fe_type.dtype], fe_type.lanes))


def _item(context: Any, builder: Any, array_type: Any, array: Any, indices: Any, content: Any) -> Any:
    """Address of an element, as that of the LLVM type ``content``."""
    data = context.make_array(array_type)(context, builder, array)
    item = cgutils.get_item_pointer2(
        context,
        builder,
        data=data.data,
        shape=cgutils.unpack_tuple(builder, data.shape, array_type.ndim),
        strides=cgutils.unpack_tuple(builder, data.strides, array_type.ndim),
        layout=array_type.layout,
        inds=indices,
        wraparound=False,
    )
    return builder.bitcast(item, content.as_pointer())


def _in_every_lane(builder: Any, value: Any, vector_type: Any) -> Any:
    one = builder.insert_element(ir.Constant(vector_type, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), vector_type.count), [0] * vector_type.count)
    return builder.shuffle_vector(one, one, lanes)


def _constant_bits(vector: Vector, value: int) -> Any:
    bits, _ = _BITS[vector.dtype]
    return ir.Constant(ir.VectorType(bits, vector.lanes), [value] * vector.lanes)


def _as_bits(builder: Any, vector: Vector, value: Any) -> Any:
    bits, _ = _BITS[vector.dtype]
    return builder.bitcast(value, ir.VectorType(bits, vector.lanes))


@intrinsic
def _load(typingctx: Any, array: Any, row: Any, column: Any) -> Any:
    vector = Vector(array.dtype)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _item(context, builder, sig.args[0], args[0], args[1:], context.get_value_type(vector))
        return builder.load(pointer, align=array.dtype.bitwidth // 8)

    return vector(array, types.intp, types.intp), codegen


@intrinsic
def _store(typingctx: Any, array: Any, row: Any, column: Any, value: Any) -> Any:
    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _item(context, builder, sig.args[0], args[0], args[1:3], context.get_value_type(value))
        builder.store(args[3], pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, value), codegen


def _prefetching(locality: int) -> Any:
    """Prefetch to read, into the first cache (3) or the second (2)."""

    @intrinsic
    def _prefetch(typingctx: Any, array: Any, row: Any, column: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            word = ir.IntType(32)
            pointer = _item(context, builder, sig.args[0], args[0], args[1:], ir.IntType(8))
            kind = ir.FunctionType(ir.VoidType(), [pointer.type, word, word, word])
            function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
            # To read; the cache; data.
            builder.call(function, [pointer, *(ir.Constant(word, n) for n in (0, locality, 1))])
            return context.get_dummy_value()

        return types.void(array, types.intp, types.intp), codegen

    return _prefetch


_prefetch, _prefetch_near = _prefetching(2), _prefetching(3)


@intrinsic
def _load_rows(typingctx: Any, X: Any, row: Any, column: Any) -> Any:
    vector = Vector(X.dtype)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        real, row_type = context.get_value_type(X.dtype), args[1].type
        found = ir.Constant(context.get_value_type(vector), ir.Undefined)
        for lane in range(vector.lanes):
            index = (builder.add(args[1], ir.Constant(row_type, lane)), args[2])
            item = builder.load(_item(context, builder, X, args[0], index, real), align=X.dtype.bitwidth // 8)
            found = builder.insert_element(found, item, ir.Constant(ir.IntType(32), lane))
        return found

    return vector(X, types.intp, types.intp), codegen


def _transposed(builder: Any, tile: list[Any]) -> list[Any]:
    """The columns of two square tiles, whose rows the vectors hold side by side."""
    n, lanes = len(tile), tile[0].type.count
    lower = [lane // n * n + lane % n // 2 + lane % 2 * lanes for lane in range(lanes)]
    upper = [lane + n // 2 for lane in lower]
    for _ in range(n.bit_length() - 1):
        pairs = [(tile[r], tile[r + n // 2]) for r in range(n // 2)]
        tile = [_lanes_of(builder, a, b, half) for a, b in pairs for half in (lower, upper)]
    return tile


def _transpose_rows(context: Any, builder: Any, X_type: Any, X: Any, rows: list[Any], rest: tuple[Any, ...]) -> None:
    """``rest``: the column, the target's type, the target, its column."""
    column, XT_type, XT, b = rest
    lanes = len(rows)
    n, real = lanes // 2, _IR_TYPE[X_type.dtype]

    def values(row: Any) -> Any:
        pointer = _item(context, builder, X_type, X, (row, column), ir.VectorType(real, n))
        return builder.load(pointer, align=X_type.dtype.bitwidth // 8)

    # Half rows are put together on their way from memory; whole rows would take a stage of shuffles more.
    pairs = zip(rows[:n], rows[n:], strict=True)
    tile = [_lanes_of(builder, values(a), values(b), range(lanes)) for a, b in pairs]
    for r, vector in enumerate(_transposed(builder, tile)):
        index = (builder.add(column, ir.Constant(column.type, r)), b)
        pointer = _item(context, builder, XT_type, XT, index, vector.type)
        builder.store(vector, pointer, align=X_type.dtype.bitwidth // 8)


@intrinsic
def _transpose(typingctx: Any, X: Any, row: Any, column: Any, XT: Any, b: Any) -> Any:
    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        rows = [builder.add(args[1], ir.Constant(args[1].type, r)) for r in range(Vector(X.dtype).lanes)]
        _transpose_rows(context, builder, X, args[0], rows, (args[2], XT, args[3], args[4]))
        return context.get_dummy_value()

    return types.void(X, types.intp, types.intp, XT, types.intp), codegen


@intrinsic
def _transpose_chosen(typingctx: Any, X: Any, order: Any, panel: Any, start: Any, column: Any, XT: Any, b: Any) -> Any:
    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        size = args[2].type

        def row(r: int) -> Any:
            at = builder.add(args[3], ir.Constant(size, r))
            found = builder.load(_item(context, builder, order, args[1], (at,), ir.IntType(order.dtype.bitwidth)))
            return builder.add(args[2], builder.sext(found, size))

        rows = [row(r) for r in range(Vector(X.dtype).lanes)]
        _transpose_rows(context, builder, X, args[0], rows, (args[4], XT, args[5], args[6]))
        return context.get_dummy_value()

    return types.void(X, order, types.intp, types.intp, types.intp, XT, types.intp), codegen


@intrinsic
def _broadcast(typingctx: Any, array: Any, row: Any, column: Any) -> Any:
    vector = Vector(array.dtype)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        item = _item(context, builder, sig.args[0], args[0], args[1:], context.get_value_type(array.dtype))
        return _in_every_lane(builder, builder.load(item), context.get_value_type(vector))

    return vector(array, types.intp, types.intp), codegen


@intrinsic
def _zero(typingctx: Any, array: Any) -> Any:
    vector = Vector(array.dtype)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return ir.Constant(context.get_value_type(vector), [0.0] * vector.lanes)

    return vector(array), codegen


@intrinsic
def _fill(typingctx: Any, like: Any, value: Any) -> Any:
    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        scalar = args[1] if like.dtype == types.float64 else builder.fptrunc(args[1], ir.FloatType())
        return _in_every_lane(builder, scalar, context.get_value_type(like))

    return like(like, types.float64), codegen


def _lanes_of(builder: Any, a: Any, b: Any, chosen: Any) -> Any:
    """The chosen lanes of two vectors laid end to end."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(chosen)), list(chosen)))


def _fold(builder: Any, value: Any, lanes: int) -> Any:
    """Add upper halves to lower halves until ``lanes`` are left, spelled out: the order is the C compiler's too."""
    count = value.type.count
    while count > lanes:
        count //= 2
        low = _lanes_of(builder, value, value, range(count))
        high = _lanes_of(builder, value, value, range(count, 2 * count))
        value = builder.fadd(low, high)
    return value


@intrinsic
def _lane_sum(typingctx: Any, vector: Any) -> Any:
    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.extract_element(_fold(builder, args[0], 1), ir.Constant(ir.IntType(32), 0))

    return vector.dtype(vector), codegen


@intrinsic
def _add_lane_sums(typingctx: Any, array: Any, row: Any, column: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    n, group = a.lanes, 128 // a.dtype.bitwidth

    def unpack(builder: Any, a: Any, b: Any, run: int) -> Any:
        # Runs of lanes of a and b in turn, from one half of each 16 bytes: one instruction.
        low, high = (
            [
                start + i + lane + n * which
                for start in range(0, n, group)
                for i in half
                for which in (0, 1)
                for lane in range(run)
            ]
            for half in (range(0, group // 2, run), range(group // 2, group, run))
        )
        return builder.fadd(_lanes_of(builder, a, b, low), _lanes_of(builder, a, b, high))

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        ab, cd = unpack(builder, *args[3:5], 1), unpack(builder, *args[5:7], 1)
        four = ir.VectorType(ir.DoubleType(), 4)
        if group == 4:
            sums = builder.fpext(_fold(builder, unpack(builder, ab, cd, 2), 4), four)
        else:
            sums = _lanes_of(builder, _fold(builder, ab, 2), _fold(builder, cd, 2), range(4))
        pointer = _item(context, builder, sig.args[0], args[0], args[1:3], four)
        builder.store(builder.fadd(builder.load(pointer, align=8), sums), pointer, align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, a, a, a, a), codegen


@intrinsic
def _add_lanes(typingctx: Any, array: Any, row: Any, column: Any, vector: Any) -> Any:
    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        doubles = ir.VectorType(ir.DoubleType(), vector.lanes)
        value = args[3] if vector.dtype == types.float64 else builder.fpext(args[3], doubles)
        pointer = _item(context, builder, sig.args[0], args[0], args[1:3], doubles)
        builder.store(builder.fadd(builder.load(pointer, align=8), value), pointer, align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, vector), codegen


@intrinsic
def _where_less(typingctx: Any, a: Any, b: Any, then: Any, otherwise: Any) -> Any:
    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", args[0], args[1]), args[2], args[3])

    return a(a, a, a, a), codegen


@intrinsic
def _all_less(typingctx: Any, a: Any, b: Any) -> Any:
    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits = ir.IntType(sig.args[0].lanes)
        less = builder.bitcast(builder.fcmp_ordered("<", args[0], args[1]), bits)
        return builder.icmp_unsigned("==", less, ir.Constant(bits, 2**bits.width - 1))

    return types.boolean(a, b), codegen


@intrinsic
def _scale_exponent(typingctx: Any, value: Any, shifted: Any) -> Any:
    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _, significand = _BITS[value.dtype]
        steps = builder.shl(_as_bits(builder, value, args[1]), _constant_bits(value, significand))
        total = builder.add(_as_bits(builder, value, args[0]), steps)
        return builder.bitcast(total, context.get_value_type(value))

    return value(value, value), codegen


@intrinsic
def _exponent(typingctx: Any, x: Any) -> Any:
    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        # The exponent's bits, put into the significand of a large number whose subtraction makes them a number.
        _, significand = _BITS[x.dtype]
        large, bias = (0x4330000000000000, 4503599627371519.0) if significand == 52 else (0x4B000000, 8388735.0)
        bits = builder.lshr(_as_bits(builder, x, args[0]), _constant_bits(x, significand))
        shifted = builder.bitcast(builder.or_(bits, _constant_bits(x, large)), context.get_value_type(x))
        return builder.fsub(shifted, ir.Constant(context.get_value_type(x), [bias] * x.lanes))

    return x(x), codegen


@intrinsic
def _mantissa(typingctx: Any, x: Any) -> Any:
    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _, significand = _BITS[x.dtype]
        mask, one = (0x000FFFFFFFFFFFFF, 0x3FF0000000000000) if significand == 52 else (0x007FFFFF, 0x3F800000)
        bits = builder.and_(_as_bits(builder, x, args[0]), _constant_bits(x, mask))
        return builder.bitcast(builder.or_(bits, _constant_bits(x, one)), context.get_value_type(x))

    return x(x), codegen


@intrinsic
def take(typingctx: Any, counter: Any) -> Any:
    """The next number of a counter that several threads share."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = context.make_array(sig.args[0])(context, builder, args[0]).data
        return builder.atomic_rmw("add", place, context.get_constant(types.intp, 1), "monotonic")

    return types.intp(counter), codegen


def _operator(python: Any, instruction: str) -> None:
    @infer_global(python)
    class _Template(AbstractTemplate):
        key = python

        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) == 2 and isinstance(args[0], Vector) and args[0] == args[1]:
                return signature(args[0], *args)
            return None

    @lower_builtin(python, Vector, Vector)
    def _lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return getattr(builder, instruction)(args[0], args[1], flags=_FLAGS)


for _python, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _operator(_python, _instruction)


@overload(vectors.lanes)
def _ov_lanes(array):
    count = VECTOR_BYTES * 8 // array.dtype.bitwidth
    return lambda array: count


@overload(vectors.n_vectors)
def _ov_n_vectors(array, n_rows):
    pair = 2 * (VECTOR_BYTES * 8 // array.dtype.bitwidth)
    return lambda array, n_rows: (n_rows + pair - 1) // pair * 2


@overload(vectors.wide)
def _ov_wide(array):
    answer = WIDE
    return lambda array: answer


@overload(vectors.is_double)
def _ov_is_double(vector):
    answer = vector.dtype == types.float64
    return lambda vector: answer


overload(vectors.load)(lambda array, row, column: lambda array, row, column: _load(array, row, column))
overload(vectors.store)(
    lambda array, row, column, vector: lambda array, row, column, vector: _store(array, row, column, vector)
)
overload(vectors.prefetch)(lambda array, row, column: lambda array, row, column: _prefetch(array, row, column))
overload(vectors.prefetch_near)(
    lambda array, row, column: lambda array, row, column: _prefetch_near(array, row, column)
)
overload(vectors.prefetch_sums)(lambda S, row, column: lambda S, row, column: _prefetch_near(S, row, column))
overload(vectors.side_by_side)(lambda array: lambda array: array.strides[1] == array.itemsize)
overload(vectors.load_rows)(lambda X, row, column: lambda X, row, column: _load_rows(X, row, column))
overload(vectors.transpose)(
    lambda X, row, column, XT, b: lambda X, row, column, XT, b: _transpose(X, row, column, XT, b)
)
overload(vectors.transpose_chosen)(
    lambda X, order, panel, start, column, XT, b: (
        lambda X, order, panel, start, column, XT, b: _transpose_chosen(X, order, panel, start, column, XT, b)
    )
)
overload(vectors.broadcast)(lambda array, row, column: lambda array, row, column: _broadcast(array, row, column))
overload(vectors.zero)(lambda array: lambda array: _zero(array))
overload(vectors.fill)(lambda like, value: lambda like, value: _fill(like, value))
overload(vectors.lane_sum)(lambda vector: lambda vector: _lane_sum(vector))
overload(vectors.add_lane_sums)(
    lambda S, row, column, a, b, c, d: lambda S, row, column, a, b, c, d: _add_lane_sums(S, row, column, a, b, c, d)
)
overload(vectors.add_lanes)(
    lambda S, row, column, vector: lambda S, row, column, vector: _add_lanes(S, row, column, vector)
)
overload(vectors.in_register)(lambda vector: lambda vector: vector)
overload(vectors.maximum)(lambda a, b: lambda a, b: _where_less(a, b, b, a))
overload(vectors.all_less)(lambda a, b: lambda a, b: _all_less(a, b))
overload(vectors.where_less)(
    lambda a, b, then, otherwise: lambda a, b, then, otherwise: _where_less(a, b, then, otherwise)
)
overload(vectors.scale_exponent)(lambda value, shifted: lambda value, shifted: _scale_exponent(value, shifted))
overload(vectors.exponent)(lambda x: lambda x: _exponent(x))
overload(vectors.mantissa)(lambda x: lambda x: _mantissa(x))
overload(vectors.square_root)(lambda value: lambda value: math.sqrt(value))
overload(vectors.natural_log)(lambda value: lambda value: math.log(value))
overload(vectors.exponential)(lambda value: lambda value: math.exp(value))
overload(vectors.truncate)(lambda value: lambda value: int(value))
