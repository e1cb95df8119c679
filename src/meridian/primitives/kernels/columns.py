"""Compiled loops that write columns into rows of bytes: numbers big-endian, texts padded with zeros.

Compiled code is cached by this file's time and size alone, so everything that is compiled in stands here.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from meridian.primitives.kernels.jit import compiled

CHUNK = 32
BYTES_IN = types.Array(types.uint8, 1, "C", readonly=True)
ROWS_OUT = types.Array(types.uint8, 2, "A")
OFFSETS = types.Array(types.int32, 1, "C", readonly=True)
NUMBERS = types.Array(types.int64, 1, "A", readonly=True)
FLAGS = types.Array(types.uint16, 1, "A", readonly=True)
DIGESTS = types.Array(types.uint8, 2, "A", readonly=True)
PRESENT = types.Array(types.boolean, 1, "C", readonly=True)


@intrinsic
def store_big_endian(_typing, address, value):
    """Write a big-endian i64 to an address."""

    def emit(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        at = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        builder.store(builder.bswap(arguments[1]), at, align=1)
        return context.get_dummy_value()

    return types.void(types.uintp, types.int64), emit


@intrinsic
def copy_digest(_typing, target, source):
    """Copy 32 bytes."""

    def emit(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        chunk = ir.VectorType(ir.IntType(8), CHUNK).as_pointer()
        to, start = (builder.inttoptr(at, chunk) for at in arguments)
        builder.store(builder.load(start, align=1), to, align=1)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp), emit


@intrinsic
def copy_chunk(_typing, target, source, kept):
    """Copy 32 bytes; those from `kept` (0 to 32) on become zeros."""

    def emit(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        byte = ir.IntType(8)
        chunk = ir.VectorType(byte, CHUNK)
        target, source, kept = arguments
        undefined = ir.Constant(chunk, ir.Undefined)
        first = builder.insert_element(
            undefined, builder.trunc(kept, byte), ir.Constant(ir.IntType(32), 0)
        )
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), CHUNK), [0] * CHUNK)
        bound = builder.shuffle_vector(first, undefined, zeros)
        places = ir.Constant(chunk, list(range(CHUNK)))
        value = builder.load(builder.inttoptr(source, chunk.as_pointer()), align=1)
        inside = builder.icmp_unsigned("<", places, bound)
        value = builder.select(inside, value, ir.Constant(chunk, [0] * CHUNK))
        builder.store(value, builder.inttoptr(target, chunk.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp, types.int64), emit


@intrinsic
def copy_bytes(_typing, target, source, count):
    """Copy bytes between addresses."""

    def emit(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        pointer, size, bit = ir.IntType(8).as_pointer(), ir.IntType(64), ir.IntType(1)
        name = "llvm.memcpy.p0.p0.i64"
        kind = ir.FunctionType(ir.VoidType(), [pointer, pointer, size, bit])
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        to, start = (builder.inttoptr(at, pointer) for at in arguments[:2])
        builder.call(function, [to, start, arguments[2], ir.Constant(bit, 0)])
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp, types.int64), emit


@njit
def _address(array):
    return np.uintp(array.ctypes.data)


@compiled(types.void(ROWS_OUT, NUMBERS))
def put_numbers(out, values):
    """Write each number to the first 8 bytes of its row, big-endian."""
    row, stride = _address(out), np.uintp(out.strides[0])
    for at in range(values.shape[0]):
        store_big_endian(row, values[at])
        row += stride


@compiled(types.boolean(ROWS_OUT, BYTES_IN, OFFSETS, PRESENT, types.boolean))
def put_texts(out, data, offsets, present, with_length):
    """Write each text to its row: cut where it is longer than the row, followed by zeros where it is shorter.

    Args:
        out: One row for each text.
        data: The bytes that the offsets are about.
        offsets: Where each text starts and the last one ends.
        present: Which texts are not null; empty for all. A null becomes zeros.
        with_length: Whether the text's length u16 stands before it; nothing may be cut then.

    Returns:
        Whether the offsets ascend inside `data`; if not, the rows mean nothing.
    """
    head = 2 if with_length else 0
    width = out.shape[1] - head
    start, end = _address(data), np.int64(data.shape[0])
    last = width - CHUNK
    for row in range(offsets.shape[0] - 1):
        at, until = np.int64(offsets[row]), np.int64(offsets[row + 1])
        if at < 0 or until < at or until > end:
            return False
        if present.shape[0] > 0 and not present[row]:
            until = at
        length = min(until - at, width)
        target = _address(out) + np.uintp(row * out.strides[0])
        if with_length:
            out[row, 0], out[row, 1] = length >> 8, length & 255
            target += np.uintp(2)
        source = start + np.uintp(at)
        if last >= 0 and at + width <= end:
            for chunk in range(0, last, CHUNK):
                kept = min(max(length - chunk, 0), CHUNK)
                copy_chunk(target + np.uintp(chunk), source + np.uintp(chunk), kept)
            kept = min(max(length - last, 0), CHUNK)
            copy_chunk(target + np.uintp(last), source + np.uintp(last), kept)
        else:
            copy_bytes(target, source, length)
            for place in range(length, width):
                out[row, head + place] = 0
    return True


@compiled(
    types.void(ROWS_OUT, types.int64, FLAGS, DIGESTS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, DIGESTS)
)
def put_rows(out, schema, flags, keys, started, ended, first, second, private):
    """Write the rows of jobs, 100 bytes each.

    Args:
        out: The rows.
        schema: The schema's number.
        flags: Of each job.
        keys: Of each job.
        started: Of each job.
        ended: Of each job.
        first: The first lane, empty for zeros.
        second: The second lane, in the same way.
        private: Of each job.
    """
    row, stride = _address(out), np.uintp(out.strides[0])
    key, key_stride = _address(keys), np.uintp(keys.strides[0])
    hidden, hidden_stride = _address(private), np.uintp(private.strides[0])
    for at in range(out.shape[0]):
        head = (schema << 48) | (np.int64(flags[at]) << 32)
        store_big_endian(row, head)
        copy_digest(row + np.uintp(4), key)
        store_big_endian(row + np.uintp(36), started[at])
        store_big_endian(row + np.uintp(44), ended[at])
        store_big_endian(row + np.uintp(52), first[at] if first.shape[0] else np.int64(0))
        store_big_endian(row + np.uintp(60), second[at] if second.shape[0] else np.int64(0))
        copy_digest(row + np.uintp(68), hidden)
        row += stride
        key += key_stride
        hidden += hidden_stride
