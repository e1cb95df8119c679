"""The simulated mixnodes: what every Nym-Api measures, from one seed.

The law: a reading depends on the seed, the Nym-Api, the mixnode, the epoch and the tick, and on nothing else. So two
systems with one seed measure the same, whenever they run and whatever way they settle.

Every mixnode has a true reliability of 0..100 in an epoch. A reading is the truth and some noise, cut to 0..100, or
missing: single readings get lost, a Nym-Api may not reach a mixnode for a whole epoch, and a mixnode may be dark for all.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from meridian.primitives.codec import Writer
from meridian.primitives.hashing import sha256

READING_MAX: Final = 100
TICKS: Final = 10
"""Readings of one mixnode in an epoch, at equal distances from the epoch's start."""
NOISE: Final = 8
"""A reading is at most so far from the truth."""

_PERMILLE: Final = 1000
_LOST_PERMILLE: Final = 50
_UNREACHED_PERMILLE: Final = 40
_DARK_PERMILLE: Final = 10


@dataclass(frozen=True, slots=True)
class World:
    """All readings of a simulation."""

    seed: int
    mixnodes: int

    def truth(self, mixnode: int, epoch: int) -> int:
        """Return a mixnode's true reliability in an epoch, 0..100, both ends included."""
        return self._draw("truth", READING_MAX + 1, mixnode, epoch)

    def reading(self, api: int, mixnode: int, epoch: int, tick: int) -> int | None:
        """Return what a Nym-Api measures at a tick, 0..100, or None where the reading is missing."""
        if self._draw("dark", _PERMILLE, mixnode, epoch) < _DARK_PERMILLE:
            return None
        if self._draw("unreached", _PERMILLE, api, mixnode, epoch) < _UNREACHED_PERMILLE:
            return None
        if self._draw("lost", _PERMILLE, api, mixnode, epoch, tick) < _LOST_PERMILLE:
            return None
        noise = self._draw("noise", 2 * NOISE + 1, api, mixnode, epoch, tick) - NOISE
        return min(max(self.truth(mixnode, epoch) + noise, 0), READING_MAX)

    def readings(self, api: int, epoch: int, tick: int) -> Iterator[tuple[int, int]]:
        """Yield (mixnode, reading) of all readings of a Nym-Api at a tick."""
        for mixnode in range(self.mixnodes):
            value = self.reading(api, mixnode, epoch, tick)
            if value is not None:
                yield mixnode, value

    def lies(self, epoch: int) -> Iterator[tuple[int, int]]:
        """Yield (mixnode, reading) as a liar writes them: of 0 and 100 the one that is farther from the truth."""
        for mixnode in range(self.mixnodes):
            yield mixnode, 0 if 2 * self.truth(mixnode, epoch) > READING_MAX else READING_MAX

    def _draw(self, what: str, bound: int, *where: int) -> int:
        """Return a number in 0..bound-1; the bias of taking the rest of 256 bits is below 2^-240."""
        out = Writer().blob(what.encode()).u64(self.seed)
        for number in where:
            out.u64(number)
        return int.from_bytes(sha256(out.bytes()), "big") % bound
