"""Compiled loops that put chosen rows of a column to given places of another: the moving part of an external sort.

In each, row ``rows[i]`` of the source goes to place ``places[i]`` of the target; whoever calls has checked that all of
them exist. Compiled code is cached by this file's time and size alone, so everything that is compiled in stands here.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from meridian.primitives.kernels.jit import compiled


def _source(kind: Any, dimensions: int = 1) -> Any:
    return types.Array(kind, dimensions, "C", readonly=True)


def _target(kind: Any, dimensions: int = 1) -> Any:
    return types.Array(kind, dimensions, "C")


_PLACES = _source(types.uint32)


@intrinsic
def _copy(_typing, target, source, count):
    """Copy bytes between addresses."""

    def emit(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        pointer, size, bit = ir.IntType(8).as_pointer(), ir.IntType(64), ir.IntType(1)
        name = "llvm.memcpy.p0.p0.i64"
        kind = ir.FunctionType(ir.VoidType(), [pointer, pointer, size, bit])
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        to, start = (builder.inttoptr(at, pointer) for at in arguments[:2])
        builder.call(function, [to, start, arguments[2], ir.Constant(bit, 0)])
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp, types.uintp), emit


@compiled(types.void(_source(types.uint8), _PLACES, _PLACES, _target(types.uint8)))
def bytes_1(source, rows, places, out):
    """Move values of one byte."""
    for i in range(len(rows)):
        out[places[i]] = source[rows[i]]


@compiled(types.void(_source(types.uint16), _PLACES, _PLACES, _target(types.uint16)))
def bytes_2(source, rows, places, out):
    """Move values of two bytes."""
    for i in range(len(rows)):
        out[places[i]] = source[rows[i]]


@compiled(types.void(_source(types.int64), _PLACES, _PLACES, _target(types.int64)))
def bytes_8(source, rows, places, out):
    """Move values of eight bytes."""
    for i in range(len(rows)):
        out[places[i]] = source[rows[i]]


@compiled(types.void(_source(types.uint64, 2), _PLACES, _PLACES, _target(types.uint64, 2)))
def bytes_32(source, rows, places, out):
    """Move digests, as four words each."""
    for i in range(len(rows)):
        row, place = rows[i], places[i]
        for at in range(4):
            out[place, at] = source[row, at]


@compiled(types.void(_source(types.int32), _PLACES, _PLACES, _target(types.int32)))
def lengths(offsets, rows, places, out):
    """Write how long texts are that lie between offsets."""
    for i in range(len(rows)):
        row = np.int64(rows[i])
        out[places[i]] = offsets[row + 1] - offsets[row]


@compiled(
    types.void(
        _source(types.uint8),
        _source(types.int32),
        _PLACES,
        _PLACES,
        _source(types.int64),
        _target(types.uint8),
    )
)
def texts(data, offsets, rows, places, starts, out):
    """Move texts to where their places start."""
    base, target = np.uintp(data.ctypes.data), np.uintp(out.ctypes.data)
    for i in range(len(rows)):
        row = np.int64(rows[i])
        start = offsets[row]
        size = offsets[row + 1] - start
        _copy(target + np.uintp(starts[places[i]]), base + np.uintp(start), np.uintp(size))
