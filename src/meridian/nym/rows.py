"""Rows and matrices of averages: integers in millionths of a percent point, every division rounded down.

A row holds one Nym-Api's average for each mixnode that it measured; a mixnode without a reading is absent, never 0. A
matrix has a row for each Nym-Api and a column for each mixnode; the result has one value for each mixnode, None where
too few spoke about it: nobody (mean), or too few to outvote f liars (wmedian; see `evaluate.aggregate`).

Row bytes: `version u16 | epoch u64 | count u32 | (mixnode u32, value u32)...`, ascending by mixnode.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from meridian.errors import InvalidInput
from meridian.evaluate.aggregate import AGGREGATES
from meridian.nym.mixnodes import READING_MAX
from meridian.primitives.codec import Reader, Writer

SCALE: Final = 1_000_000
"""85.333333 percent is the integer 85333333."""
VALUE_MAX: Final = READING_MAX * SCALE
MIXNODES_MAX: Final = 5_000
ROW_VERSION: Final = 1

Values = tuple[int | None, ...]
"""One value for each mixnode, by its number; None where there is none."""


@dataclass(frozen=True, slots=True)
class Row:
    """One Nym-Api's averages of an epoch."""

    epoch: int
    values: tuple[tuple[int, int], ...]
    """(mixnode, average at `SCALE`), strictly ascending by mixnode; a mixnode without readings is absent."""

    def encode(self) -> bytes:
        """Canonical bytes."""
        out = Writer().u16(ROW_VERSION).u64(self.epoch).u32(len(self.values))
        for mixnode, value in self.values:
            out.u32(mixnode).u32(value)
        return out.bytes()

    def spread(self, mixnodes: int) -> Values:
        """Return the row as a value for every mixnode, None where the row is silent."""
        known = dict(self.values)
        return tuple(known.get(mixnode) for mixnode in range(mixnodes))


def decode_row(data: bytes, *, epoch: int, mixnodes: int) -> Row:
    """Read and check a row.

    Raises:
        InvalidInput: If it is malformed, of another epoch, names a mixnode that is none or one twice, or holds a value
            outside 0..100 percent.
    """
    reader = Reader(data)
    if reader.u16() != ROW_VERSION:
        raise InvalidInput("row.version", f"must be {ROW_VERSION}")
    if reader.u64() != epoch:
        raise InvalidInput("row.epoch", f"must be {epoch}")
    count = reader.u32()
    if count > mixnodes:
        raise InvalidInput("row.count", f"{count} values for {mixnodes} mixnodes")
    values = tuple((reader.u32(), reader.u32()) for _ in range(count))
    reader.finish()
    if any(a >= b for (a, _), (b, _) in pairwise(values)):
        raise InvalidInput("row.mixnode", "must be strictly ascending")
    if values and values[-1][0] >= mixnodes:
        raise InvalidInput("row.mixnode", f"{values[-1][0]} is not one of {mixnodes}")
    if any(value > VALUE_MAX for _, value in values):
        raise InvalidInput("row.value", f"must be 0..{VALUE_MAX}")
    return Row(epoch, values)


def average(epoch: int, sums: Iterable[tuple[int, int, int]]) -> Row:
    """Return the row of a Nym-Api.

    Args:
        epoch: The epoch that the readings are of.
        sums: (mixnode, sum of its readings, number of its readings) for each mixnode with a reading.
    """
    return Row(epoch, tuple(sorted((node, total * SCALE // count) for node, total, count in sums)))


def aggregate(rule: str, rows: Sequence[Row], *, mixnodes: int, apis: int) -> Values:
    """Return the average of every column, in whatever order the rows stand.

    Args:
        rule: ``mean``, ``median`` or ``wmedian`` (all members weigh the same here).
        rows: One row for each Nym-Api that contributed.
        mixnodes: The number of columns.
        apis: The number of registered Nym-Apis, contributing or not.

    Raises:
        InvalidInput: If there is no such rule, or there are more rows than Nym-Apis.
    """
    if rule not in AGGREGATES:
        raise InvalidInput("aggregate", f"{rule!r} is none of {', '.join(sorted(AGGREGATES))}")
    if not rows:
        return (None,) * mixnodes
    return tuple(AGGREGATES[rule]([row.spread(mixnodes) for row in rows], apis))


def percent(value: int | None) -> str:
    """Return a value for people: ``85.333333``, or ``-`` for none."""
    return "-" if value is None else f"{value // SCALE}.{value % SCALE:06d}"


def summary(values: Mapping[int, int | None] | Sequence[int | None]) -> dict[str, int | None]:
    """Return the least, mean and greatest value, and how many mixnodes have one."""
    every = values.values() if isinstance(values, Mapping) else values
    known = [value for value in every if value is not None]
    if not known:
        return {"rewarded": 0, "least": None, "mean": None, "greatest": None}
    mean = sum(known) // len(known)
    return {"rewarded": len(known), "least": min(known), "mean": mean, "greatest": max(known)}
