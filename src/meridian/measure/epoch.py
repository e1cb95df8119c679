"""The calendar of a network, and the rule that gives a job its epoch.

Law: a job belongs to the epoch of its end. Epochs are half-open intervals of equal length from the network's genesis,
numbered from `first_epoch`; both stand on chain. A job whose epoch is sealed goes to the next open epoch, marked late,
if that is at most `late_epochs` further; beyond that, or ahead of the clock by more than `skew_us`, it is refused.
"""

import enum
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from meridian.errors import InvalidInput

MICROSECONDS: Final = 1_000_000
LATE_FLAG: Final = 1
"""Bit 0 of a job row's flags."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """Epochs from `genesis_s` (Unix seconds), each `epoch_seconds` long, numbered from `first_epoch`."""

    genesis_s: int
    epoch_seconds: int
    first_epoch: int = 0

    def __post_init__(self) -> None:
        if self.genesis_s < 0 or self.epoch_seconds < 1 or not 0 <= self.first_epoch < 1 << 32:
            raise InvalidInput("calendar", f"{self} is not a calendar")

    def epoch_of(self, instant_us: int) -> int:
        """Return the epoch that holds an instant; below `first_epoch` if it is before genesis."""
        return self.first_epoch + (instant_us - self.genesis_s * MICROSECONDS) // (
            self.epoch_seconds * MICROSECONDS
        )

    def epochs_of(self, instants_us: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the epochs of a column of instants."""
        length_us = np.int64(self.epoch_seconds * MICROSECONDS)
        return (instants_us - self.genesis_s * MICROSECONDS) // length_us + self.first_epoch

    def start_us(self, epoch: int) -> int:
        """Return the first microsecond of an epoch."""
        return (self.genesis_s + (epoch - self.first_epoch) * self.epoch_seconds) * MICROSECONDS

    def end_us(self, epoch: int) -> int:
        """Return the first microsecond after an epoch."""
        return self.start_us(epoch + 1)


@dataclass(frozen=True, slots=True)
class PlacementRules:
    """What an aggregator accepts, in time."""

    calendar: Calendar
    late_epochs: int = 1
    """How many epochs further a job may go when its own is sealed."""
    skew_us: int = 60 * MICROSECONDS
    """How far ahead of the clock a job may end."""


class Placement(enum.IntEnum):
    """What became of a job's time."""

    PLACED = 0
    TOO_LATE = 1
    AHEAD_OF_CLOCK = 2


@dataclass(frozen=True, slots=True)
class Placed:
    """Three columns: each job's epoch, flags and `Placement`."""

    epochs: npt.NDArray[np.int64]
    flags: npt.NDArray[np.uint16]
    outcomes: npt.NDArray[np.uint8]


def place(
    ended_us: npt.NDArray[np.int64], rules: PlacementRules, open_epoch: int, now_us: int
) -> Placed:
    """Give each job its epoch.

    Args:
        ended_us: When each job ended.
        rules: The network's rules.
        open_epoch: The first epoch that is not sealed.
        now_us: The ingest clock.
    """
    own = rules.calendar.epochs_of(ended_us)
    late = own < open_epoch
    outcomes = np.full(len(ended_us), Placement.PLACED, dtype=np.uint8)
    outcomes[late & (open_epoch - own > rules.late_epochs)] = Placement.TOO_LATE
    outcomes[own < rules.calendar.first_epoch] = Placement.TOO_LATE  # before the network's genesis
    outcomes[ended_us > now_us + rules.skew_us] = Placement.AHEAD_OF_CLOCK
    return Placed(
        epochs=np.maximum(own, open_epoch),
        flags=np.where(late, LATE_FLAG, 0).astype(np.uint16),
        outcomes=outcomes,
    )
