"""Compiled open addressing over tables of 16-byte keys; `measure.seen_jobs` owns the memory and says when one grows.

A table is an array of slots, two u64 each; a slot of zeros is empty, so the key of zeros is kept as (0, 1): as likely a
collision as any other of 2^-128. The high byte of a key chooses its table, the next 32 bits its slot, in order: so
a table that grows is read and written from front to back.

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
AHEAD = 32
MARKS = types.Array(types.boolean, 1, "C")


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
def _prefetch_rows(keys, first, tables, capacities):
    """Ask for the first slots of `AHEAD` keys; so their waits for memory run at the same time."""
    for row in range(first, min(first + AHEAD, keys.shape[0])):
        high = keys[row, 0]
        which = np.int64(high >> np.uint64(56))
        prefetch(tables[which] + np.uint64(16 * _first_slot(high, capacities[which])))


@njit
def _first_slot(high, capacity):
    return np.int64(
        (((high >> np.uint64(24)) & np.uint64(0xFFFFFFFF)) * np.uint64(capacity)) >> np.uint64(32)
    )


@njit
def _place(table, capacity, high, low):
    """Return the address of a key's slot, and whether the key stands in it; else it is empty."""
    slot = _first_slot(high, capacity)
    while True:
        at = table + np.uint64(16 * slot)
        found_high, found_low = load_word(at), load_word(at + np.uint64(8))
        if found_high == high and found_low == low:
            return at, True
        if found_high == 0 and found_low == 0:
            return at, False
        slot += 1
        if slot == capacity:
            slot = 0


@compiled(types.void(KEYS, ADDRESSES, NUMBERS, MARKS))
def mark_known(keys, tables, capacities, known):
    """Mark the keys that stand in the tables of one epoch."""
    for row in range(keys.shape[0]):
        if row % AHEAD == 0:
            _prefetch_rows(keys, row, tables, capacities)
        high, low = keys[row, 0], keys[row, 1]
        if high == 0 and low == 0:
            low = np.uint64(1)
        which = np.int64(high >> np.uint64(56))
        _, found = _place(tables[which], capacities[which], high, low)
        if found:
            known[row] = True


@compiled(types.void(KEYS, MARKS))
def mark_repeated(keys, repeated):
    """Mark the keys that stand earlier in the same list."""
    count = keys.shape[0]
    bits = np.uint64(4)
    while (1 << bits) < 2 * count:
        bits += np.uint64(1)
    places = np.full(1 << bits, -1, np.int32)
    end = np.int64(1 << bits)
    for row in range(count):
        high, low = keys[row, 0], keys[row, 1]
        slot = np.int64(high >> (np.uint64(64) - bits))
        while True:
            other = places[slot]
            if other < 0:
                places[slot] = row
                break
            if keys[other, 0] == high and keys[other, 1] == low:
                repeated[row] = True
                break
            slot += 1
            if slot == end:
                slot = 0


@compiled(types.int64(KEYS, types.int64, ADDRESSES, NUMBERS, NUMBERS, NUMBERS))
def insert(keys, first, tables, capacities, counts, limits):
    """Insert keys from row `first` on; return the row at which a table must grow first, or their number."""
    for row in range(first, keys.shape[0]):
        if (row - first) % AHEAD == 0:
            _prefetch_rows(keys, row, tables, capacities)
        high, low = keys[row, 0], keys[row, 1]
        if high == 0 and low == 0:
            low = np.uint64(1)
        which = np.int64(high >> np.uint64(56))
        if counts[which] >= limits[which]:
            return row
        at, found = _place(tables[which], capacities[which], high, low)
        if not found:
            store_word(at, high)
            store_word(at + np.uint64(8), low)
            counts[which] += 1
    return keys.shape[0]


@compiled(types.void(SLOTS, SLOTS))
def move(old, new):
    """Move all keys of a table to a larger, empty one."""
    table = np.uint64(new.ctypes.data)
    for slot in range(old.shape[0]):
        high, low = old[slot, 0], old[slot, 1]
        if high != 0 or low != 0:
            at, _ = _place(table, new.shape[0], high, low)
            store_word(at, high)
            store_word(at + np.uint64(8), low)
