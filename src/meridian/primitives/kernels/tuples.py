"""Compiled loops for jobs as tuples: all values of a job in one piece of memory, so that sorting moves one piece.

The layout is that of `measure.job_tuples`. Addresses of columns come in tables of numbers, one line for each column;
whoever calls has checked that they are good. Compiled code is cached by this file's time and size alone, so everything
that is compiled in stands here.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from meridian.primitives.kernels.jit import compiled

NUMBER_2, NUMBER_4, NUMBER_8, DIGEST, CODED, BIT, TEXT = range(7)
"""Kinds of column. CODED: a digest by its place in a dictionary."""
KIND, AT, VALUES, OFFSETS, VALID, FIRST, VALID_AT, BEFORE_AT, FIELDS = range(9)
"""What a line says: kind | where in the tuple | address of the values, or of texts' bytes | of texts' offsets or codes |
of the validity, 0 for none | bits before the first of bits and validity | where validity stands in the tuple, -1 for
nowhere | where the end of the text before stands."""

SIZE_AT, NODE_AT, KEY_AT = 0, 4, 8
TOGETHER = 512
"""Tuples that all columns are moved of before the next: they stay in the cache."""
LINE = 64
AHEAD = 4_096
"""Bytes between what is read and what is asked for."""


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


load_1, store_1 = _loads(types.uint8, 8), _stores(types.uint8, 8)
load_2, store_2 = _loads(types.uint16, 16), _stores(types.uint16, 16)
load_4, store_4 = _loads(types.uint32, 32), _stores(types.uint32, 32)
load_8, store_8 = _loads(types.uint64, 64), _stores(types.uint64, 64)


@intrinsic
def copy_32(_typing, target, source):
    """Copy 32 bytes."""

    def emit(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        chunk = ir.VectorType(ir.IntType(8), 32).as_pointer()
        to, start = (builder.inttoptr(at, chunk) for at in arguments)
        builder.store(builder.load(start, align=1), to, align=1)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp), emit


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

    return types.void(types.uintp, types.uintp, types.uintp), emit


def _prefetches(write: int) -> Any:
    @intrinsic
    def ask(_typing, address):
        """Ask for a line of memory that is used soon."""

        def emit(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            pointer, word = ir.IntType(8).as_pointer(), ir.IntType(32)
            name = "llvm.prefetch.p0"
            kind = ir.FunctionType(ir.VoidType(), [pointer, word, word, word])
            function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
            options = [ir.Constant(word, value) for value in (write, 3, 1)]  # keep, data
            builder.call(function, [builder.inttoptr(arguments[0], pointer), *options])
            return context.get_dummy_value()

        return types.void(types.uintp), emit

    return ask


prefetch, prefetch_to_write = _prefetches(0), _prefetches(1)


@njit
def _is_set(bits, place):
    place = np.uint64(place)
    return (load_1(np.uintp(bits) + np.uintp(place >> np.uint64(3))) >> (place & np.uint64(7))) & 1


_IN = types.Array(types.uint8, 1, "C", readonly=True)
_OUT = types.Array(types.uint8, 1, "C")
_U32_IN = types.Array(types.uint32, 1, "C", readonly=True)
_U32_OUT = types.Array(types.uint32, 1, "C")
_U64_OUT = types.Array(types.uint64, 1, "C")
_I32_IN = types.Array(types.int32, 1, "C", readonly=True)
_I32_OUT = types.Array(types.int32, 1, "C")
_I64_IN = types.Array(types.int64, 1, "C", readonly=True)
_I64_OUT = types.Array(types.int64, 1, "C")
_LINES = types.Array(types.int64, 2, "C", readonly=True)


@njit
def _add_lengths(offsets, valid, first, rows, out):
    for i in range(len(rows)):
        row = np.int64(rows[i])
        if valid == 0 or _is_set(valid, row + first):
            text = offsets + np.uintp(4 * row)
            out[i] += load_4(text + np.uintp(4)) - load_4(text)


@compiled(types.void(_LINES, _U32_IN, types.int64, _U32_OUT))
def sizes(lines, rows, fixed, out):
    """Write how many bytes the tuples of rows have; a null has no text."""
    for i in range(len(rows)):
        out[i] = fixed
    for at in range(len(lines)):
        line = lines[at]
        if line[KIND] == TEXT:
            _add_lengths(np.uintp(line[OFFSETS]), line[VALID], line[FIRST], rows, out)


@compiled(types.int64(_U32_IN, _IN, _I64_OUT, _I64_IN, _I64_OUT, _I64_OUT, types.int64))
def place(sizes, buckets, tails, ends, counts, places, start):
    """Give each tuple the next place of its bucket; returns the first for which its bucket has no room, or their number."""
    for i in range(start, len(sizes)):
        bucket = buckets[i]
        at = tails[bucket]
        if at + sizes[i] > ends[bucket]:
            return i
        places[i] = at
        tails[bucket] = at + sizes[i]
        counts[bucket] += 1
    return len(sizes)


@njit
def _put_valid(valid, first, rows, places, to):
    for i in range(len(rows)):
        value = valid == 0 or _is_set(valid, np.int64(rows[i]) + first)
        store_1(to + np.uintp(places[i]), np.uint8(value))


@njit
def _put_8(values, rows, places, to):
    for i in range(len(rows)):
        store_8(to + np.uintp(places[i]), load_8(values + np.uintp(8 * np.int64(rows[i]))))


@njit
def _put_4(values, rows, places, to):
    for i in range(len(rows)):
        store_4(to + np.uintp(places[i]), load_4(values + np.uintp(4 * np.int64(rows[i]))))


@njit
def _put_2(values, rows, places, to):
    for i in range(len(rows)):
        store_2(to + np.uintp(places[i]), load_2(values + np.uintp(2 * np.int64(rows[i]))))


@njit
def _put_bits(values, first, rows, places, to):
    for i in range(len(rows)):
        store_1(to + np.uintp(places[i]), np.uint8(_is_set(values, np.int64(rows[i]) + first)))


@njit
def _put_digests(values, rows, places, to):
    for i in range(len(rows)):
        copy_32(to + np.uintp(places[i]), values + np.uintp(32 * np.int64(rows[i])))


@njit
def _put_coded(values, codes, rows, places, to):
    for i in range(len(rows)):
        code = load_4(codes + np.uintp(4 * np.int64(rows[i])))
        copy_32(to + np.uintp(places[i]), values + np.uintp(32 * np.int64(code)))


@njit
def _put_texts(line, rows, places, base):
    values, offsets = np.uintp(line[VALUES]), np.uintp(line[OFFSETS])
    valid, first = line[VALID], line[FIRST]
    end_at, before_at = np.uintp(line[AT]), np.uintp(line[BEFORE_AT])
    for i in range(len(rows)):
        row, target = np.int64(rows[i]), base + np.uintp(places[i])
        start = load_4(target + before_at)
        size = np.uint32(0)
        if valid == 0 or _is_set(valid, row + first):
            text = offsets + np.uintp(4 * row)
            begin = load_4(text)
            size = load_4(text + np.uintp(4)) - begin
            copy_bytes(target + np.uintp(start), values + np.uintp(begin), np.uintp(size))
        store_4(target + end_at, start + size)


@njit
def _put(line, rows, places, base):
    """Write one column of some tuples."""
    kind, to, values = line[KIND], base + np.uintp(line[AT]), np.uintp(line[VALUES])
    if line[VALID_AT] >= 0:
        _put_valid(line[VALID], line[FIRST], rows, places, base + np.uintp(line[VALID_AT]))
    if kind == NUMBER_8:
        _put_8(values, rows, places, to)
    elif kind == NUMBER_4:
        _put_4(values, rows, places, to)
    elif kind == NUMBER_2:
        _put_2(values, rows, places, to)
    elif kind == BIT:
        _put_bits(values, line[FIRST], rows, places, to)
    elif kind == DIGEST:
        _put_digests(values, rows, places, to)
    elif kind == CODED:
        _put_coded(values, np.uintp(line[OFFSETS]), rows, places, to)
    else:
        _put_texts(line, rows, places, base)


@compiled(types.void(_LINES, _U32_IN, _U32_IN, types.int64, types.int64, _I64_IN, _OUT))
def pack(lines, rows, sizes, fixed, fixed_at, places, memory):
    """Write the tuples of rows to their places; where the texts begin stands at `fixed_at`."""
    base = np.uintp(memory.ctypes.data)
    for start in range(0, len(rows), TOGETHER):
        end = min(len(rows), start + TOGETHER)
        for i in range(end, min(len(rows), end + TOGETHER)):
            target = base + np.uintp(places[i])
            for skipped in range(0, np.int64(sizes[i]), LINE):
                prefetch_to_write(target + np.uintp(skipped))
        for i in range(start, end):
            target = base + np.uintp(places[i])
            store_4(target + np.uintp(SIZE_AT), sizes[i])
            store_4(target + np.uintp(fixed_at), np.uint32(fixed))
        for at in range(len(lines)):
            _put(lines[at], rows[start:end], places[start:end], base)


@compiled(types.void(_IN, types.int64, _I64_OUT, _U32_OUT, _U64_OUT, _U32_OUT))
def walk(memory, start, places, nodes, prefixes, sizes):
    """Go through tuples that lie one behind the other: place, node, first 8 bytes of the key as a number, size."""
    base, at = np.uintp(memory.ctypes.data), start
    for i in range(len(places)):
        source = base + np.uintp(at)
        size = load_4(source + np.uintp(SIZE_AT))
        for skipped in range(0, np.int64(size), LINE):
            prefetch(source + np.uintp(AHEAD + skipped))
        places[i], sizes[i] = at, size
        nodes[i] = load_4(source + np.uintp(NODE_AT))
        prefix = np.uint64(0)
        for byte in range(8):
            key = load_1(source + np.uintp(KEY_AT + byte))
            prefix = (prefix << np.uint64(8)) | np.uint64(key)
        prefixes[i] = prefix
        at += np.int64(size)


@compiled(types.void(_I64_IN, _U32_IN, _I64_IN, _OUT))
def move(sources, sizes, places, memory):
    """Copy tuples to other places of the same memory."""
    base = np.uintp(memory.ctypes.data)
    for i in range(len(sources)):
        copy_bytes(base + np.uintp(places[i]), base + np.uintp(sources[i]), np.uintp(sizes[i]))


@njit
def _take_8(start, places, values):
    for i in range(len(places)):
        store_8(values + np.uintp(8 * i), load_8(start + np.uintp(places[i])))


@njit
def _take_2(start, places, values):
    for i in range(len(places)):
        store_2(values + np.uintp(2 * i), load_2(start + np.uintp(places[i])))


@njit
def _take_1(start, places, values):
    for i in range(len(places)):
        store_1(values + np.uintp(i), load_1(start + np.uintp(places[i])))


@njit
def _take_digests(start, places, values):
    for i in range(len(places)):
        copy_32(values + np.uintp(32 * i), start + np.uintp(places[i]))


@njit
def _take_texts(line, places, base, first):
    values, offsets = np.uintp(line[VALUES]), np.uintp(line[OFFSETS] + 4 * first)
    end_at, before_at = np.uintp(line[AT]), np.uintp(line[BEFORE_AT])
    for i in range(len(places)):
        source = base + np.uintp(places[i])
        begin = load_4(source + before_at)
        size = load_4(source + end_at) - begin
        to = load_4(offsets + np.uintp(4 * i))
        copy_bytes(values + np.uintp(to), source + np.uintp(begin), np.uintp(size))
        store_4(offsets + np.uintp(4 * i + 4), to + size)


@njit
def _take(line, places, base, first):
    """Write one value of each of some tuples to its column, from its row `first` on."""
    kind, start = line[KIND], base + np.uintp(line[AT])
    if line[VALID_AT] >= 0:
        _take_1(base + np.uintp(line[VALID_AT]), places, np.uintp(line[VALID] + first))
    if kind == NUMBER_8:
        _take_8(start, places, np.uintp(line[VALUES] + 8 * first))
    elif kind == NUMBER_2:
        _take_2(start, places, np.uintp(line[VALUES] + 2 * first))
    elif kind == BIT:
        _take_1(start, places, np.uintp(line[VALUES] + first))
    elif kind == DIGEST:
        _take_digests(start, places, np.uintp(line[VALUES] + 32 * first))
    else:
        _take_texts(line, places, base, first)


@compiled(types.void(_LINES, _I64_IN, _U32_IN, _IN))
def unpack(lines, places, sizes, memory):
    """Write the values of tuples to columns, those of the first one to the first row; of texts also where they end."""
    base = np.uintp(memory.ctypes.data)
    for start in range(0, len(places), TOGETHER):
        end = min(len(places), start + TOGETHER)
        for i in range(end, min(len(places), end + TOGETHER)):
            source = base + np.uintp(places[i])
            for skipped in range(0, np.int64(sizes[i]), LINE):
                prefetch(source + np.uintp(skipped))
        for at in range(len(lines)):
            _take(lines[at], places[start:end], base, start)


# -- numbers of nodes ---------------------------------------------------------------------------------


@njit
def _hash(address, size):
    found = np.uint64(size) * np.uint64(0x9E3779B97F4A7C15)
    at = np.int64(0)
    while at + 8 <= size:
        found = (found ^ load_8(address + np.uintp(at))) * np.uint64(0xFF51AFD7ED558CCD)
        found ^= found >> np.uint64(32)
        at += 8
    while at < size:
        found = (found ^ np.uint64(load_1(address + np.uintp(at)))) * np.uint64(0xFF51AFD7ED558CCD)
        found ^= found >> np.uint64(32)
        at += 1
    return found


@njit
def _equal(one, other, size):
    at = np.int64(0)
    while at + 8 <= size:
        if load_8(one + np.uintp(at)) != load_8(other + np.uintp(at)):
            return False
        at += 8
    while at < size:
        if load_1(one + np.uintp(at)) != load_1(other + np.uintp(at)):
            return False
        at += 1
    return True


@compiled(types.void(_U32_OUT, _IN, _I32_IN, types.int64))
def enter(slots, data, offsets, first):
    """Enter texts from the one at `first` on, which all differ, into a table of numbers from 1 on; 0 is an empty slot."""
    mask = np.uint64(len(slots) - 1)
    base = np.uintp(data.ctypes.data)
    for number in range(first, len(offsets) - 1):
        start, size = offsets[number], np.int64(offsets[number + 1] - offsets[number])
        slot = _hash(base + np.uintp(start), size) & mask
        while slots[slot]:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = number + 1


@compiled(types.void(_U32_IN, _IN, _I32_IN, _IN, _I32_IN, _U32_OUT))
def find(slots, data, offsets, texts, text_offsets, out):
    """Write the number of each text in a table that `enter` made, 0 for those that are not in it."""
    mask = np.uint64(len(slots) - 1)
    base, other = np.uintp(data.ctypes.data), np.uintp(texts.ctypes.data)
    for i in range(len(text_offsets) - 1):
        source = other + np.uintp(text_offsets[i])
        size = np.int64(text_offsets[i + 1] - text_offsets[i])
        slot = _hash(source, size) & mask
        number = slots[slot]
        while number:
            start = offsets[number - 1]
            if offsets[number] - start == size and _equal(source, base + np.uintp(start), size):
                break
            slot = (slot + np.uint64(1)) & mask
            number = slots[slot]
        out[i] = number
