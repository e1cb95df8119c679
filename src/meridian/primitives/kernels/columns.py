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
OFFSETS_IN = types.Array(types.int32, 1, "C", readonly=True)
NUMBERS = types.Array(types.int64, 1, "A", readonly=True)
FLAGS = types.Array(types.uint16, 1, "A", readonly=True)
DIGESTS = types.Array(types.uint8, 2, "A", readonly=True)
LINES = types.Array(types.int64, 2, "C", readonly=True)

NUMBER, BIT, TEXT = range(3)
"""Kinds of field."""
KIND, AT, WIDTH, VALUES, BYTES, OFFSETS, VALID, FIRST, FIELDS = range(9)
"""What a line says: kind | where in the row | a text's longest | address of the values, or of texts' bytes | how many bytes
there are | address of texts' offsets | of the validity, 0 for no nulls | bits before the first of bits and validity."""


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


def _loads(kind: Any, bits: int) -> Any:
    @intrinsic
    def load(_typing, address):
        """Read a number at an address."""

        def emit(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            at = builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer())
            return builder.load(at, align=1)

        return kind(types.uintp), emit

    return load


def _stores(kind: Any, bits: int) -> Any:
    @intrinsic
    def store(_typing, address, value):
        """Write a number to an address."""

        def emit(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            at = builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer())
            builder.store(arguments[1], at, align=1)
            return context.get_dummy_value()

        return types.void(types.uintp, kind), emit

    return store


load_byte, store_byte = _loads(types.uint8, 8), _stores(types.uint8, 8)
load_offset, load_number = _loads(types.int32, 32), _loads(types.int64, 64)


@njit
def _address(array):
    return np.uintp(array.ctypes.data)


@njit
def _bit(bits, place):
    byte = load_byte(np.uintp(bits) + np.uintp(place >> 3))
    return np.uint8((byte >> np.uint8(place & 7)) & np.uint8(1))


@njit
def _put_text(target, source, length, width, room):
    """Write a text and the zeros behind it; `room` is how many bytes may be read from `source` on."""
    last = width - CHUNK
    if last >= 0 and width <= room:
        for chunk in range(0, last, CHUNK):
            kept = min(max(length - chunk, 0), CHUNK)
            copy_chunk(target + np.uintp(chunk), source + np.uintp(chunk), kept)
        kept = min(max(length - last, 0), CHUNK)
        copy_chunk(target + np.uintp(last), source + np.uintp(last), kept)
    else:
        copy_bytes(target, source, length)
        for place in range(length, width):
            store_byte(target + np.uintp(place), np.uint8(0))


@compiled(types.boolean(ROWS_OUT, BYTES_IN, OFFSETS_IN))
def put_texts(out, data, offsets):
    """Write each text to its row: cut where it is longer than the row, followed by zeros where it is shorter.

    Args:
        out: One row for each text.
        data: The bytes that the offsets are about.
        offsets: Where each text starts and the last one ends.

    Returns:
        Whether the offsets ascend inside `data`; if not, the rows mean nothing.
    """
    width = out.shape[1]
    start, end = _address(data), np.int64(data.shape[0])
    target = _address(out)
    for row in range(offsets.shape[0] - 1):
        at, until = np.int64(offsets[row]), np.int64(offsets[row + 1])
        if at < 0 or until < at or until > end:
            return False
        _put_text(target, start + np.uintp(at), min(until - at, width), width, end - at)
        target += np.uintp(out.strides[0])
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


@njit
def _pack_texts(line, first, count, to, stride):
    data, end, width = np.uintp(line[VALUES]), line[BYTES], line[WIDTH]
    offset = np.uintp(line[OFFSETS] + 4 * first)
    until = np.int64(load_offset(offset))
    for row in range(first, first + count):
        at = until
        offset += np.uintp(4)
        until = np.int64(load_offset(offset))
        if at < 0 or until < at or until > end:
            return False
        present = line[VALID] == 0 or _bit(line[VALID], row + line[FIRST]) != 0
        length = min(until - at, width) if present else np.int64(0)
        store_byte(to, np.uint8(present))
        store_byte(to + np.uintp(1), np.uint8(length >> 8))
        store_byte(to + np.uintp(2), np.uint8(length & 255))
        _put_text(to + np.uintp(3), data + np.uintp(at), length, width, end - at)
        to += stride
    return True


@njit
def _pack_numbers(line, first, count, to, stride):
    value = np.uintp(line[VALUES] + 8 * first)
    for row in range(first, first + count):
        present = line[VALID] == 0 or _bit(line[VALID], row + line[FIRST]) != 0
        store_byte(to, np.uint8(present))
        store_big_endian(to + np.uintp(1), load_number(value) if present else np.int64(0))
        value += np.uintp(8)
        to += stride


@njit
def _pack_bits(line, first, count, to, stride):
    for row in range(first, first + count):
        present = line[VALID] == 0 or _bit(line[VALID], row + line[FIRST]) != 0
        store_byte(to, np.uint8(present))
        value = _bit(line[VALUES], row + line[FIRST]) if present else np.uint8(0)
        store_byte(to + np.uintp(1), value)
        to += stride


@compiled(types.boolean(ROWS_OUT, LINES, types.int64))
def pack(out, lines, first):
    """Write the packed fields of jobs, as `measure.packing` has them; one field of all rows, then the next.

    Args:
        out: One row for each job.
        lines: The columns; whoever calls has checked that they have so many rows.
        first: The row of the columns to begin with.

    Returns:
        Whether the offsets of texts ascend inside their bytes; if not, the rows mean nothing.
    """
    stride = np.uintp(out.strides[0])
    for field in range(lines.shape[0]):
        line = lines[field]
        to = _address(out) + np.uintp(line[AT])
        if line[KIND] == TEXT:
            if not _pack_texts(line, first, out.shape[0], to, stride):
                return False
        elif line[KIND] == NUMBER:
            _pack_numbers(line, first, out.shape[0], to, stride)
        else:
            _pack_bits(line, first, out.shape[0], to, stride)
    return True
