"""Compiled loops that feed messages to a multi-lane SHA-256: rows of a matrix, pairs of tree nodes, texts of any length.

Each loop takes the address of the lanes' function (`vector`), so that one compiled SHA-256 serves all of them.
A message is hashed where it lies. A block is 64 bytes, so the lanes read up to 63 bytes behind a message and as many as
the prefix has before it; where those would fall outside the array, the message is copied to a scratch area first: at the
two ends of an array, and nowhere else.

Compiled code is cached by this file's time and size alone, so everything that is compiled into the loops stands here.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from meridian.primitives.kernels.jit import compiled
from meridian.primitives.kernels.vector import SIGNATURE

NODE = 56
DIGEST = 32
BYTES_IN = types.Array(types.uint8, 1, "C", readonly=True)
ROWS_IN = types.Array(types.uint8, 2, "A", readonly=True)
ROWS_OUT = types.Array(types.uint8, 2, "A")
OFFSETS = types.Array(types.int32, 1, "C", readonly=True)
SIZES = types.Array(types.int64, 1, "C", readonly=True)


@intrinsic
def hash_lanes(_typing, function, sources, targets, masks, pads, blocks):
    """Call the lanes' function at an address."""

    def emit(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        size = ir.IntType(64)
        kind = ir.FunctionType(ir.VoidType(), [size] * 5)
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])
        return context.get_dummy_value()

    return types.void(types.uintp, *SIGNATURE.args), emit


@intrinsic
def copy(_typing, target, source, count):
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


@intrinsic
def load_u64(_typing, address):
    """Return the big-endian u64 at an address."""

    def emit(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        size = ir.IntType(64)
        value = builder.load(builder.inttoptr(arguments[0], size.as_pointer()), align=1)
        return builder.bswap(value)

    return types.uint64(types.uintp), emit


@intrinsic
def store_u64(_typing, address, value):
    """Write a big-endian u64 to an address."""

    def emit(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        at = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        builder.store(builder.bswap(arguments[1]), at, align=1)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uint64), emit


@njit
def _blocks(total):
    return (total + 72) // 64  # the 0x80 and the length u64 follow the message


@njit
def _frame(words, tag, prefix, width):
    """Write masks (row 0) and pads (row 1) of a message: `prefix` bytes, the first of them `tag`, then `width` bytes.

    What stands in the rest of the prefix is kept, as are the message's own bytes.
    """
    total = prefix + width
    blocks = _blocks(total)
    skip = 1 if tag >= 0 else 0
    for word in range(16 * blocks):
        mask, pad = np.uint32(0), np.uint32(0)
        for at in range(4 * word, 4 * word + 4):
            mask <<= np.uint32(8)
            pad <<= np.uint32(8)
            if skip <= at < total:
                mask |= np.uint32(255)
            elif at == total:
                pad |= np.uint32(0x80)
        words[0, word], words[1, word] = mask, pad
    if skip:
        words[1, 0] |= np.uint32(tag << 24)
    words[1, 16 * blocks - 2] = np.uint32((total * 8) >> 32)
    words[1, 16 * blocks - 1] = np.uint32(total * 8)
    return blocks


@njit
def _address(array):
    return np.uintp(array.ctypes.data)


@njit
def _still_needed(*_arrays):
    """Do nothing. Stands behind all that goes by address: an array is freed after its last use by *name*.

    Without it another thread may be given that memory while lanes still read from it or write to it.
    """


@compiled(types.void(types.uintp, types.int64, ROWS_IN, types.int64, ROWS_OUT, types.int64))
def hash_rows(function, lanes, rows, tag, out, lanes_at):
    """Write SHA-256(tag | row) of each row, without a tag if it is -1.

    If `lanes_at` is not negative, `out` has nodes: a count of 1 and the row's 16 bytes from there on follow the digest.
    """
    count, width = rows.shape
    stride, out_stride = rows.strides[0], out.strides[0]
    prefix = 1 if tag >= 0 else 0
    words = np.empty((2, 16 * _blocks(prefix + width)), np.uint32)
    blocks = _frame(words, tag, prefix, width)
    span = 64 * blocks
    scratch = np.zeros((lanes, span), np.uint8)
    spare = np.empty(DIGEST, np.uint8)
    sources, targets = np.empty(lanes, np.uintp), np.empty(lanes, np.uintp)
    start, to = _address(rows), _address(out)
    end = start + np.uintp((count - 1) * stride + width)
    for first in range(0, count, lanes):
        used = min(lanes, count - first)
        for lane in range(used):
            row = start + np.uintp((first + lane) * stride)
            source = row - np.uintp(prefix)
            if source < start or source + np.uintp(span) > end:
                source = _address(scratch) + np.uintp(lane * span)
                copy(source + np.uintp(prefix), row, np.uintp(width))
            target = to + np.uintp((first + lane) * out_stride)
            sources[lane], targets[lane] = source, target
            if lanes_at >= 0:
                store_u64(target + np.uintp(32), np.uint64(1))
                copy(target + np.uintp(40), row + np.uintp(lanes_at), np.uintp(16))
        for lane in range(used, lanes):
            sources[lane], targets[lane] = sources[0], _address(spare)
        hash_lanes(
            function,
            _address(sources),
            _address(targets),
            _address(words),
            _address(words) + np.uintp(span),
            np.uintp(blocks),
        )
    _still_needed(words, scratch, spare, sources, targets)


@njit
def _add(target, left, wide):
    """Write the sum of two neighbours' annotations behind a digest; tell whether one overflows."""
    right = left + np.uintp(NODE)
    over = False
    carry = np.uint64(0)
    for at in (48, 40, 32):
        a, b = load_u64(left + np.uintp(at)), load_u64(right + np.uintp(at))
        total = a + b
        passed = total < a
        if carry:
            total += carry
            passed = passed or total == np.uint64(0)
        carry = np.uint64(1) if passed and wide and at == 48 else np.uint64(0)
        over = over or (passed and not carry)
        store_u64(target + np.uintp(at), total)
    return over


@compiled(
    types.boolean(types.uintp, types.int64, ROWS_IN, SIZES, types.int64, types.boolean, ROWS_OUT)
)
def hash_level(function, lanes, level, sizes, tag, wide, out):
    """Write the next level of a row of trees; return whether a sum overflowed.

    Args:
        function: Address of the lanes' function.
        lanes: How many it has.
        level: The nodes of all trees, contiguous.
        sizes: How many of them each tree has.
        tag: The domain tag of inner nodes.
        wide: Whether the 16 bytes of lanes are one u128.
        out: Room for the parents, contiguous.
    """
    words = np.empty((2, 32), np.uint32)
    blocks = _frame(words, tag, 1, 2 * NODE)
    span = 64 * blocks
    scratch = np.zeros((lanes, span), np.uint8)
    spare = np.empty(DIGEST, np.uint8)
    sources, targets = np.empty(lanes, np.uintp), np.empty(lanes, np.uintp)
    start, target = _address(level), _address(out)
    end = start + np.uintp(level.shape[0] * NODE)
    node, waiting, over = start, 0, False
    for tree in range(sizes.shape[0]):
        for _ in range(sizes[tree] >> 1):
            source = node - np.uintp(1)
            if source < start or source + np.uintp(span) > end:
                source = _address(scratch) + np.uintp(waiting * span)
                copy(source + np.uintp(1), node, np.uintp(2 * NODE))
            over = _add(target, node, wide) or over
            sources[waiting], targets[waiting] = source, target
            waiting += 1
            node += np.uintp(2 * NODE)
            target += np.uintp(NODE)
            if waiting == lanes:
                hash_lanes(
                    function,
                    _address(sources),
                    _address(targets),
                    _address(words),
                    _address(words) + np.uintp(span),
                    np.uintp(blocks),
                )
                waiting = 0
        if sizes[tree] & 1:
            copy(target, node, np.uintp(NODE))
            node += np.uintp(NODE)
            target += np.uintp(NODE)
    if waiting:
        for lane in range(waiting, lanes):
            sources[lane], targets[lane] = sources[0], _address(spare)
        hash_lanes(
            function,
            _address(sources),
            _address(targets),
            _address(words),
            _address(words) + np.uintp(span),
            np.uintp(blocks),
        )
    _still_needed(words, scratch, spare, sources, targets)
    return over


@njit
def _hash_waiting(function, lanes, rows, waiting, data, offsets, seeds, seed_of, tag, out, room):
    """Hash up to `lanes` texts of one length; `room` is (words, scratch, spare, sources, targets, last length)."""
    words, scratch, spare, sources, targets, last = room
    seeded = seed_of.shape[0] > 0
    prefix = (1 if tag >= 0 else 0) + (DIGEST if seeded else 0)
    width = np.int64(offsets[rows[0] + 1] - offsets[rows[0]])
    blocks = _blocks(prefix + width)
    if last[0] != width:
        _frame(words, tag, prefix, width)
        last[0] = width
    span = 64 * blocks
    start = _address(data)
    end = start + np.uintp(data.shape[0])
    for lane in range(waiting):
        row = rows[lane]
        text = start + np.uintp(offsets[row])
        source = text - np.uintp(prefix)
        if seeded or source < start or source + np.uintp(span) > end:
            source = _address(scratch) + np.uintp(lane * scratch.strides[0])
            if seeded:
                seed = _address(seeds) + np.uintp(seed_of[row] * DIGEST)
                copy(source + np.uintp(prefix - DIGEST), seed, np.uintp(DIGEST))
            if text + np.uintp(64) <= end and width <= 64:
                copy(source + np.uintp(prefix), text, np.uintp(64))
            else:
                copy(source + np.uintp(prefix), text, np.uintp(width))
        sources[lane] = source
        targets[lane] = _address(out) + np.uintp(row * out.strides[0])
    for lane in range(waiting, lanes):
        sources[lane], targets[lane] = sources[0], _address(spare)
    hash_lanes(
        function,
        _address(sources),
        _address(targets),
        _address(words),
        _address(words) + np.uintp(words.strides[0]),
        np.uintp(blocks),
    )


@njit
def _longest(data, offsets, seeds, seed_of):
    """Return the length of the longest text, or -1 if an offset or a seed's place is outside."""
    longest, end = np.int64(0), np.int64(data.shape[0])
    for row in range(offsets.shape[0] - 1):
        at, until = np.int64(offsets[row]), np.int64(offsets[row + 1])
        if at < 0 or until < at or until > end:
            return -1
        longest = max(longest, until - at)
    for row in range(seed_of.shape[0]):
        if seed_of[row] < 0 or seed_of[row] >= seeds.shape[0]:
            return -1
    return longest


@compiled(
    types.int64(
        types.uintp,
        types.int64,
        BYTES_IN,
        OFFSETS,
        ROWS_IN,
        OFFSETS,
        types.int64,
        types.int64,
        ROWS_OUT,
    )
)
def hash_texts(function, lanes, data, offsets, seeds, seed_of, tag, most, out):
    """Write SHA-256(tag | seed | text) of each text: those of one length wait for each other until the lanes are full.

    Args:
        function: Address of the lanes' function.
        lanes: How many it has.
        data: The bytes of all texts.
        offsets: Where in them each text starts and the last one ends.
        seeds: 32 bytes each, contiguous.
        seed_of: Which of them stands before each text; empty for no seeds at all.
        tag: First byte of each message, or -1 for none.
        most: Nothing is done if a text is longer: every length up to the longest has a queue.
        out: Row i gets the digest of text i.

    Returns:
        The length of the longest text, or -1 if an offset or a seed's place is outside: then nothing is done.
    """
    count = offsets.shape[0] - 1
    longest = _longest(data, offsets, seeds, seed_of)
    if longest < 0 or longest > most:
        return longest
    room_bytes = 64 * (_blocks(1 + DIGEST + longest) + 1)  # one more: copies move whole blocks
    room = (
        np.empty((2, room_bytes // 4), np.uint32),
        np.zeros((lanes, room_bytes), np.uint8),
        np.empty(DIGEST, np.uint8),
        np.empty(lanes, np.uintp),
        np.empty(lanes, np.uintp),
        np.full(1, -1, np.int64),
    )
    queues = np.empty((longest + 1, lanes), np.int64)
    waiting = np.zeros(longest + 1, np.int64)
    for row in range(count):
        width = offsets[row + 1] - offsets[row]
        queues[width, waiting[width]] = row
        waiting[width] += 1
        if waiting[width] == lanes:
            _hash_waiting(
                function, lanes, queues[width], lanes, data, offsets, seeds, seed_of, tag, out, room
            )
            waiting[width] = 0
    for width in range(longest + 1):
        if waiting[width]:
            _hash_waiting(
                function,
                lanes,
                queues[width],
                waiting[width],
                data,
                offsets,
                seeds,
                seed_of,
                tag,
                out,
                room,
            )
    _still_needed(room)
    return longest
