"""Compiled open addressing over tables of 16-byte keys; `measure.seen_jobs` owns the memory and says when one grows.

A table is an array of slots, two u64 each. The high byte of a key chooses its table, the next 32 bits its slot, in order:
so a table that is built anew is read and written from front to back. As the table says what the high byte is, a tag of 1
to 255 stands there instead, which tells whose key it is; a slot without a tag is empty.

Compiled code is cached by this file's time and size alone, so everything that is compiled in stands here.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from meridian.primitives.kernels.jit import compiled

KEYS = types.Array(types.uint64, 2, "C", readonly=True)
SLOTS = types.Array(types.uint64, 2, "C")
NUMBERS = types.Array(types.int64, 1, "C")
ADDRESSES = types.Array(types.uint64, 1, "C")
AHEAD = 16
MARKS = types.Array(types.boolean, 1, "C")
LIVE = types.Array(types.uint8, 1, "C", readonly=True)
TAGS = types.Array(types.uint8, 1, "C", readonly=True)
REST = np.uint64((1 << 56) - 1)
TAG = np.uint64(56)


@intrinsic
def load_word(_typing, address):
    """Return the u64 at an address."""

    def emit(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.load(builder.inttoptr(arguments[0], ir.IntType(64).as_pointer()))

    return types.uint64(types.uint64), emit


@intrinsic
def store_word(_typing, address, value):
    """Write a u64 to an address."""

    def emit(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        at = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        builder.store(arguments[1], at)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64), emit


@intrinsic
def prefetch(_typing, address):
    """Ask for the memory at an address, which is read soon."""

    def emit(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        pointer, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        name = "llvm.prefetch.p0"
        kind = ir.FunctionType(ir.VoidType(), [pointer, word, word, word])
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        flags = [ir.Constant(word, flag) for flag in (0, 3, 1)]  # read, keep, data
        builder.call(function, [builder.inttoptr(arguments[0], pointer), *flags])
        return context.get_dummy_value()

    return types.void(types.uint64), emit


@njit
def _ask_for(keys, row, tables, capacities):
    """Ask for the first slot of a key; what is asked for `AHEAD` keys before it is read, is there by then."""
    if row < keys.shape[0]:
        high = keys[row, 0]
        which = np.int64(high >> TAG)
        prefetch(tables[which] + np.uint64(16 * _first_slot(high, capacities[which])))


@njit
def _ask_for_first(keys, first, tables, capacities):
    for row in range(first, first + AHEAD):
        _ask_for(keys, row, tables, capacities)


@njit
def _first_slot(high, capacity):
    return np.int64(
        (((high >> np.uint64(24)) & np.uint64(0xFFFFFFFF)) * np.uint64(capacity)) >> np.uint64(32)
    )


@njit
def _place(table, capacity, high, low):
    """Return the address of a key's slot, and the tag that stands in it; 0: it is empty."""
    slot = _first_slot(high, capacity)
    while True:
        at = table + np.uint64(16 * slot)
        found_high, found_low = load_word(at), load_word(at + np.uint64(8))
        if found_high == 0:
            return at, np.int64(0)
        if found_low == low and (found_high ^ high) & REST == 0:
            return at, np.int64(found_high >> TAG)
        slot += 1
        if slot == capacity:
            slot = 0


@compiled(types.void(KEYS, ADDRESSES, NUMBERS, LIVE, MARKS))
def mark_known(keys, tables, capacities, live, known):
    """Mark the keys that stand in a table with a tag that is live, or earlier in the same list."""
    count = keys.shape[0]
    bits = np.uint64(4)
    while (1 << bits) < 2 * count:
        bits += np.uint64(1)
    places = np.full(1 << bits, -1, np.int32)
    end = np.int64(1 << bits)
    _ask_for_first(keys, 0, tables, capacities)
    for row in range(count):
        _ask_for(keys, row + AHEAD, tables, capacities)
        high, low = keys[row, 0], keys[row, 1]
        which = np.int64(high >> TAG)
        _, tag = _place(tables[which], capacities[which], high, low)
        if live[tag]:
            known[row] = True
        slot = np.int64(high >> (np.uint64(64) - bits))
        while True:
            other = places[slot]
            if other < 0:
                places[slot] = row
                break
            if keys[other, 0] == high and keys[other, 1] == low:
                known[row] = True
                break
            slot += 1
            if slot == end:
                slot = 0


@compiled(types.int64(KEYS, TAGS, types.int64, ADDRESSES, NUMBERS, NUMBERS, NUMBERS, LIVE, NUMBERS))
def insert(keys, tags, first, tables, capacities, filled, limits, live, counts):
    """Insert keys under their tags, from row `first` on; what stands under a live tag stays there.

    Args:
        keys: All of them.
        tags: The tag of each.
        first: The row to begin with.
        tables: Where each table is.
        capacities: The slots of each.
        filled: How many of them are not empty; counted on.
        limits: How many may be, until the table must be built anew.
        live: For each tag whether its keys count.
        counts: The keys of each tag; counted on.

    Returns:
        The row at which a table must be built anew first, or the number of keys.
    """
    _ask_for_first(keys, first, tables, capacities)
    for row in range(first, keys.shape[0]):
        _ask_for(keys, row + AHEAD, tables, capacities)
        high, low = keys[row, 0], keys[row, 1]
        which = np.int64(high >> TAG)
        if filled[which] >= limits[which]:
            return row
        at, tag = _place(tables[which], capacities[which], high, low)
        if not live[tag]:
            store_word(at, (high & REST) | (np.uint64(tags[row]) << TAG))
            store_word(at + np.uint64(8), low)
            counts[tags[row]] += 1
            if tag == 0:
                filled[which] += 1
    return keys.shape[0]


@compiled(types.void(KEYS, types.int64, ADDRESSES, NUMBERS, LIVE, NUMBERS))
def tag_again(keys, tag, tables, capacities, live, counts):
    """Give another tag to those of the keys that stand under live tags, and count them there no more."""
    for row in range(keys.shape[0]):
        high, low = keys[row, 0], keys[row, 1]
        which = np.int64(high >> TAG)
        at, found = _place(tables[which], capacities[which], high, low)
        if live[found]:
            store_word(at, (high & REST) | (np.uint64(tag) << TAG))
            counts[found] -= 1


@compiled(types.int64(SLOTS, LIVE))
def count_live(slots, live):
    """Return how many keys of a table are under live tags."""
    found = np.int64(0)
    for slot in range(slots.shape[0]):
        found += np.int64(live[np.int64(slots[slot, 0] >> TAG)])
    return found


@compiled(types.int64(SLOTS, LIVE, SLOTS))
def move(old, live, new):
    """Move the keys of a table that are under live tags to an empty one; return how many they are."""
    table, moved = np.uint64(new.ctypes.data), np.int64(0)
    for slot in range(old.shape[0]):
        high, low = old[slot, 0], old[slot, 1]
        if live[np.int64(high >> TAG)]:
            at, _ = _place(table, new.shape[0], high, low)
            store_word(at, high)
            store_word(at + np.uint64(8), low)
            moved += 1
    return moved
