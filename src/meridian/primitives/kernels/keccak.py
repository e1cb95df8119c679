"""Keccak-256 of many messages of one length, eight at a time: the compiler puts the same word of eight states in one vector.

Source: https://keccak.team/files/Keccak-reference-3.0.pdf, with the padding before FIPS 202 (0x01), as the EVM has it.
Compiled code is cached by this file's time and size alone, so everything that is compiled in stands here.
"""

import numpy as np
import numpy.typing as npt
from numba import njit, types

from meridian.primitives.kernels.jit import compiled

LANES = 8
RATE = 136
"""Bytes that a permutation takes in."""
RATE_WORDS = RATE // 8
DIGEST_WORDS = 4
WORDS_IN = types.Array(types.uint64, 2, "C", readonly=True)
WORDS_OUT = types.Array(types.uint64, 2, "C")

ROUNDS = np.array(
    [
        0x0000000000000001,
        0x0000000000008082,
        0x800000000000808A,
        0x8000000080008000,
        0x000000000000808B,
        0x0000000080000001,
        0x8000000080008081,
        0x8000000000008009,
        0x000000000000008A,
        0x0000000000000088,
        0x0000000080008009,
        0x000000008000000A,
        0x000000008000808B,
        0x800000000000008B,
        0x8000000000008089,
        0x8000000000008003,
        0x8000000000008002,
        0x8000000000000080,
        0x000000000000800A,
        0x800000008000000A,
        0x8000000080008081,
        0x8000000000008080,
        0x0000000080000001,
        0x8000000080008008,
    ],
    dtype=np.uint64,
)
TURNS = np.array(
    [0, 1, 62, 28, 27, 36, 44, 6, 55, 20, 3, 10, 43, 25, 39, 41, 45, 15, 21, 8, 18, 2, 61, 56, 14],
    dtype=np.uint64,
)
"""By how many bits word x + 5y is rotated (rho)."""
PLACES = np.array(
    [0, 10, 20, 5, 15, 16, 1, 11, 21, 6, 7, 17, 2, 12, 22, 23, 8, 18, 3, 13, 14, 24, 9, 19, 4]
)
"""Where it goes (pi)."""


@njit(nogil=True)
def _permute(state, moved, sums):
    one, high, low = np.uint64(1), np.uint64(63), np.uint64(64)
    for turn in range(24):
        for x in range(5):
            for lane in range(LANES):
                sums[x, lane] = (
                    state[x, lane]
                    ^ state[x + 5, lane]
                    ^ state[x + 10, lane]
                    ^ state[x + 15, lane]
                    ^ state[x + 20, lane]
                )
        for at in range(25):
            left, right, by = (at + 4) % 5, (at + 1) % 5, TURNS[at]
            back, place = (low - by) & high, PLACES[at]
            for lane in range(LANES):
                after = sums[right, lane]
                word = state[at, lane] ^ sums[left, lane] ^ (after << one | after >> high)
                moved[place, lane] = word << by | word >> back
        for y in range(0, 25, 5):
            for x in range(5):
                after, next_but_one = y + (x + 1) % 5, y + (x + 2) % 5
                for lane in range(LANES):
                    state[y + x, lane] = moved[y + x, lane] ^ (
                        ~moved[after, lane] & moved[next_but_one, lane]
                    )
        for lane in range(LANES):
            state[0, lane] ^= ROUNDS[turn]


@compiled(types.void(WORDS_IN, WORDS_OUT))
def hash_words(words, out):
    """Write the digest of each padded message, in words, to the row of `out`."""
    count, width = words.shape
    state, moved = np.empty((25, LANES), np.uint64), np.empty((25, LANES), np.uint64)
    sums = np.empty((5, LANES), np.uint64)
    for start in range(0, count, LANES):
        live = min(LANES, count - start)
        state[:] = 0
        for first in range(0, width, RATE_WORDS):
            for lane in range(live):
                for at in range(RATE_WORDS):
                    state[at, lane] ^= words[start + lane, first + at]
            _permute(state, moved, sums)
        for lane in range(live):
            for at in range(DIGEST_WORDS):
                out[start + lane, at] = state[at, lane]


def hash_rows(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the digests of the rows of a byte matrix, shape (n, 32)."""
    count, width = rows.shape
    padded = np.zeros((count, (width // RATE + 1) * RATE), dtype=np.uint8)
    padded[:, :width] = rows
    padded[:, width] = 1
    padded[:, -1] |= 0x80
    out = np.empty((count, DIGEST_WORDS), dtype="<u8")
    hash_words(padded.view("<u8"), out)
    return out.view(np.uint8)
