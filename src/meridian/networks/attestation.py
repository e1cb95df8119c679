"""The `attestation` network: duties of real Rocket Pool minipools, as published in the protocol's performance files.

A file names, for each minipool, how many duties it did, which slots it missed, its exact score and what it was really
paid. Every duty becomes a job: there is one for each beacon epoch of 32 slots. A miss stands at its own slot with score
0. The slots of done duties are not published; they fill the minipool's other beacon epochs from the first on, each with
an equal part of the score (the first takes the remainder), so that the sum is the published score exactly.

An interval has 14,400 slots of 12 s; its number is the epoch. The node id is the minipool's address, which is also paid.
Source: rocket-pool/rewards-trees, file versions 3 and 4.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from meridian.errors import InvalidInput
from meridian.measure.schema import Field, Lanes, NetworkSchema
from meridian.networks.definition import JobSource, NetworkDefinition
from meridian.networks.files import read_file
from meridian.networks.lines import TimeTexts, batches_of, json_text, record_template
from meridian.primitives.ids import address_text, parse_address
from meridian.primitives.sumtree import LaneKind

SLOT_S: Final = 12
SLOTS_PER_BEACON_EPOCH: Final = 32
BEACON_EPOCHS: Final = 450
INTERVAL_SLOTS: Final = SLOTS_PER_BEACON_EPOCH * BEACON_EPOCHS
INTERVAL_S: Final = SLOT_S * INTERVAL_SLOTS
ATTESTATION_DUE_S: Final = 4
"""An attestation is due a third into its slot."""

SCHEMA: Final = NetworkSchema(
    id=2,
    name="attestation",
    evaluation_fields=(Field.integer("score"),),
    additional_fields=(),
    lanes=Lanes(LaneKind.U128, ("score",)),
)

DEFINITION: Final = NetworkDefinition(
    name="attestation",
    schema=SCHEMA,
    function="attestation",
    allocation="floor",
    description="Rocket Pool: attestation duties of real minipools, paid floor(T * score / sum)",
)


class _Performance(msgspec.Struct):
    successful: int = msgspec.field(name="successfulAttestations")
    missed: int = msgspec.field(name="missedAttestations")
    missing_slots: list[int] = msgspec.field(name="missingAttestationSlots")
    score: str = msgspec.field(name="attestationScore")
    earned: str = msgspec.field(name="ethEarned")


class _File(msgspec.Struct):
    index: int
    start_time: str = msgspec.field(name="startTime")
    consensus_start: int = msgspec.field(name="consensusStartBlock")
    minipools: dict[str, _Performance] = msgspec.field(name="minipoolPerformance")


@dataclass(frozen=True, slots=True)
class Minipool:
    """One minipool's interval."""

    address: str
    """Lower case."""
    successful: int
    missed_slots: tuple[int, ...]
    """Counted from the interval's first slot, ascending."""
    score: int
    earned_wei: int


@dataclass(frozen=True, slots=True)
class Interval:
    """One performance file."""

    index: int
    start_s: int
    first_slot: int
    minipools: tuple[Minipool, ...]
    """In ascending order of addresses."""

    @property
    def budget_wei(self) -> int:
        """The smallest T with ``earned == floor(T * score / sum of scores)`` for every minipool.

        Raises:
            InvalidInput: If there is none.
        """
        whole = sum(pool.score for pool in self.minipools)
        scored = [pool for pool in self.minipools if pool.score]
        least = max((-(-pool.earned_wei * whole // pool.score) for pool in scored), default=0)
        if any(least * pool.score // whole != pool.earned_wei for pool in self.minipools if whole):
            raise InvalidInput(
                "ethEarned", f"no budget of interval {self.index} gives these payouts"
            )
        return least


def read_interval(path: Path) -> Interval:
    """Read a performance file.

    Raises:
        NotFound: If there is no such file.
        InvalidInput: If it is not one, or does not fit in its own interval.
    """
    try:
        content = msgspec.json.decode(read_file(path), type=_File)
        start_s = int(datetime.fromisoformat(content.start_time).timestamp())
        # The file names the first slot with a block; intervals begin with a beacon epoch.
        first_slot = content.consensus_start - content.consensus_start % SLOTS_PER_BEACON_EPOCH
        pools = [_minipool(name, item, first_slot) for name, item in content.minipools.items()]
    except (msgspec.DecodeError, ValueError) as error:
        raise InvalidInput(str(path), f"is not a performance file: {error}") from error
    except InvalidInput as error:
        raise InvalidInput(str(path), str(error)) from error
    pools.sort(key=lambda pool: pool.address)
    if len({pool.address for pool in pools}) != len(pools):
        raise InvalidInput(str(path), "a minipool occurs twice, in different letter case")
    return Interval(content.index, start_s, first_slot, tuple(pools))


def _minipool(name: str, item: _Performance, first_slot: int) -> Minipool:
    address = address_text(parse_address(name, "minipool"))
    slots = tuple(sorted(slot - first_slot for slot in item.missing_slots))
    missed_epochs = {slot // SLOTS_PER_BEACON_EPOCH for slot in slots}
    if len(slots) != item.missed or len(missed_epochs) != item.missed:
        raise InvalidInput(
            address, "its missed slots are not one in each of its missed beacon epochs"
        )
    if slots and not 0 <= slots[0] <= slots[-1] < INTERVAL_SLOTS:
        raise InvalidInput(address, "a missed slot lies outside the interval")
    score, earned = int(item.score), int(item.earned)
    if not 0 <= item.successful <= BEACON_EPOCHS - item.missed or score < 0 or earned < 0:
        raise InvalidInput(
            address, "its duties do not fit in the interval, or a number is negative"
        )
    if score and not item.successful:
        raise InvalidInput(address, "has a score without a duty done")
    return Minipool(address, item.successful, slots, score, earned)


def _duties(pool: Minipool) -> Iterator[tuple[int, int, int]]:
    """Return a minipool's duties as (slot in the interval, beacon epoch in the interval, score)."""
    missed = {slot // SLOTS_PER_BEACON_EPOCH: slot for slot in pool.missed_slots}
    part, remainder = divmod(pool.score, pool.successful) if pool.successful else (0, 0)
    done = 0
    for beacon_epoch in range(BEACON_EPOCHS):
        if beacon_epoch in missed:
            yield missed[beacon_epoch], beacon_epoch, 0
        elif done < pool.successful:
            yield (
                beacon_epoch * SLOTS_PER_BEACON_EPOCH,
                beacon_epoch,
                part + (0 if done else remainder),
            )
            done += 1


def interval_lines(interval: Interval) -> Iterator[str]:
    """Return the records of an interval, in the order of time."""
    template, time_text = record_template(SCHEMA), TimeTexts()
    by_slot: list[list[tuple[str, int, int]]] = [[] for _ in range(INTERVAL_SLOTS)]
    for pool in interval.minipools:
        peer = json_text(pool.address)
        for slot, beacon_epoch, score in _duties(pool):
            by_slot[slot].append((peer, beacon_epoch, score))
    first_beacon_epoch = interval.first_slot // SLOTS_PER_BEACON_EPOCH
    for slot, duties in enumerate(by_slot):
        start_us = (interval.start_s + slot * SLOT_S) * 1_000_000
        started, ended = time_text(start_us), time_text(start_us + ATTESTATION_DUE_S * 1_000_000)
        for peer, beacon_epoch, score in duties:
            job_id = f'"duty-{first_beacon_epoch + beacon_epoch}"'
            yield template % (job_id, peer, started, ended, score)


def load(paths: Sequence[Path], *, budget_atto: int | None = None) -> JobSource:
    """Load performance files, one interval each.

    Args:
        paths: The files; intervals between them are empty epochs.
        budget_atto: The budget of each interval in wei; by default the real one, computed from what was paid.

    Raises:
        NotFound: If a file does not exist.
        InvalidInput: If a file is malformed, or the intervals do not lie on one calendar.
    """
    if not paths:
        raise InvalidInput("paths", "name at least one performance file")
    intervals = sorted((read_interval(path) for path in paths), key=lambda interval: interval.index)
    first = intervals[0]
    for interval in intervals:
        expected_s = first.start_s + (interval.index - first.index) * INTERVAL_S
        if interval.start_s != expected_s:
            raise InvalidInput(
                "paths", f"intervals {first.index} and {interval.index} do not lie on one calendar"
            )
    if len({interval.index for interval in intervals}) != len(intervals):
        raise InvalidInput("paths", "an interval occurs twice")
    pools = [pool for interval in intervals for pool in interval.minipools]

    def batches() -> Iterator[bytes]:
        return batches_of(line for interval in intervals for line in interval_lines(interval))

    return JobSource(
        definition=DEFINITION,
        genesis_s=first.start_s,
        epoch_seconds=INTERVAL_S,
        first_epoch=first.index,
        n_epochs=intervals[-1].index - first.index + 1,
        nodes={pool.address: parse_address(pool.address) for pool in pools},
        jobs=sum(pool.successful + len(pool.missed_slots) for pool in pools),
        batches=batches,
        budgets_atto={
            interval.index: interval.budget_wei if budget_atto is None else budget_atto
            for interval in intervals
        },
    )
