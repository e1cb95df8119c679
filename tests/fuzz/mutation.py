"""Seeded mutations of genuine inputs: what runs where no coverage-guided fuzzer is."""

import random
import time
from collections.abc import Iterator

from .targets import Target

INTERESTING = (
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0xFFFFFFFF,
    2**63 - 1,
    2**64 - 1,
)
MUTATIONS_MAX = 6


def mutate(chance: random.Random, data: bytes, other: bytes, longest: int) -> bytes:
    """Return `data` after a few changes: bits, integers, cuts, repetitions, pieces of `other`."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, MUTATIONS_MAX)):
        at = chance.randrange(len(changed) + 1)
        length = chance.choice((1, 2, 4, 8, 32, 64, chance.randrange(1, 300)))
        match chance.randrange(7):
            case 0 if at < len(changed):
                changed[at] ^= 1 << chance.randrange(8)
            case 1:
                width = chance.choice((1, 2, 4, 8))
                value = chance.choice(INTERESTING) & (256**width - 1)
                changed[at : at + width] = value.to_bytes(width, "big")
            case 2:
                del changed[at : at + length]
            case 3:
                changed[at:at] = changed[at : at + length]
            case 4:
                changed[at:at] = chance.randbytes(length)
            case 5:
                start = chance.randrange(len(other) + 1)
                changed[at : at + length] = other[start : start + length]
            case _:
                del changed[at:]
    return bytes(changed[:longest])


def inputs(target: Target, seed: int) -> Iterator[bytes]:
    """The genuine inputs, then mutations of them without end."""
    seeds = target.seeds()
    yield from seeds
    chance = random.Random(seed)
    while True:
        yield mutate(chance, chance.choice(seeds), chance.choice(seeds), target.longest)


def hunt(target: Target, seed: int, *, count: int | None = None, seconds: float = 0.0) -> int:
    """Run a target on `count` inputs, or for some seconds; return how many there were.

    Raises:
        Found: The target raised.
    """
    deadline = time.monotonic() + seconds
    for number, data in enumerate(inputs(target, seed)):
        if number == count or (count is None and time.monotonic() > deadline):
            return number
        try:
            target.run(data)
        except Exception as error:
            raise Found(data, seed, number) from error
    raise AssertionError("inputs never end")


class Found(Exception):
    """An input that breaks a promise."""

    def __init__(self, data: bytes, seed: int, number: int) -> None:
        super().__init__(f"input {number} of seed {seed}: {data.hex()}")
        self.data = data
