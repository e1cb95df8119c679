"""Which jobs are accepted, into which epoch, and that each is accepted once."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from measure_schemas import SATURN, lines, saturn_record

from meridian.errors import InvalidInput, Overloaded
from meridian.measure.admission import LANE_MAX, Admitted, LaneSums, Records, admit
from meridian.measure.columns import column_values
from meridian.measure.epoch import Calendar, Placement, PlacementRules, place
from meridian.measure.order import Integers
from meridian.measure.record import decode_ndjson
from meridian.measure.schema import INT64_MAX
from meridian.measure.seen_jobs import SeenJobs
from meridian.primitives.hashing import ByteMatrix
from meridian.primitives.ids import node_key

GENESIS_S = 1_682_899_200  # 2023-05-01 00:00
CALENDAR = Calendar(GENESIS_S, 3600, first_epoch=5)
RULES = PlacementRules(CALENDAR, late_epochs=1, skew_us=60_000_000)
KNOWN = [f"node-{at}" for at in range(5)]


def at_second(number: int, second: float, **changes: Any) -> dict[str, Any]:
    hours, rest = divmod(second, 3600)
    text = f"2023-05-01 {int(hours):02d}:{int(rest // 60):02d}:{rest % 60:09.6f}+00"
    return saturn_record(number, started_at=text, ended_at=text, **changes)


class Known:
    """`KNOWN` by place."""

    def places(self, node_ids: pa.StringArray) -> Integers:
        names = node_ids.to_pylist()
        return np.array([KNOWN.index(one) if one in KNOWN else -1 for one in names], dtype=np.int64)

    @property
    def keys(self) -> ByteMatrix:
        rows = b"".join(map(node_key, KNOWN))
        return np.frombuffer(rows, dtype=np.uint8).reshape(-1, 32)


class Ingest:
    """Admission with its memory, as the service uses it."""

    def __init__(self, limit: int = 10_000) -> None:
        self.seen, self.sums = SeenJobs(bytes(32), limit), LaneSums(SATURN)
        self.open_epoch = 5
        self.now_us = CALENDAR.end_us(100)

    def admit(self, *records: dict[str, Any]) -> Admitted:
        return self.admit_batches((lines(*records), None))

    def admit_batches(self, *batches: tuple[bytes, str | None]) -> Admitted:
        admitted = admit(
            Records.gather(
                [Records.of(decode_ndjson(body, SATURN), signer) for body, signer in batches]
            ),
            rules=RULES,
            open_epoch=self.open_epoch,
            now_us=self.now_us,
            nodes=Known(),
            seen=self.seen,
            sums=self.sums,
        )
        epochs = column_values(admitted.table, "epoch")
        self.seen.require_room(len(epochs))
        self.seen.add(epochs, admitted.hashes)
        self.sums.add(epochs, admitted.table)
        return admitted


def reasons(admitted: Admitted) -> list[tuple[int, str]]:
    (outcome,) = admitted.outcomes
    return [(rejection.index, rejection.reason) for rejection in outcome.rejections]


def test_epochs_are_half_open() -> None:
    start = GENESIS_S * 1_000_000
    for instant, epoch in (
        (start, 5),
        (start - 1, 4),
        (start + 3_600_000_000 - 1, 5),
        (start + 3_600_000_000, 6),
    ):
        assert CALENDAR.epoch_of(instant) == epoch
        assert CALENDAR.epochs_of(np.array([instant])).tolist() == [epoch]
    assert (CALENDAR.start_us(5), CALENDAR.end_us(5)) == (start, start + 3_600_000_000)
    with pytest.raises(InvalidInput):
        Calendar(0, 0)


@pytest.mark.parametrize(
    ("second", "epoch", "flags", "outcome"),
    [
        (-0.000001, 7, 1, Placement.TOO_LATE),
        (0, 7, 1, Placement.TOO_LATE),
        (3599.999999, 7, 1, Placement.TOO_LATE),
        (3600, 7, 1, Placement.PLACED),
        (7199.999999, 7, 1, Placement.PLACED),
        (7200, 7, 0, Placement.PLACED),
        (10_800, 8, 0, Placement.PLACED),
        (10_860, 8, 0, Placement.PLACED),
        (10_860.000001, 8, 0, Placement.AHEAD_OF_CLOCK),
    ],
)
def test_late_jobs_go_one_epoch_further_and_no_job_is_ahead_of_the_clock(
    second: float, epoch: int, flags: int, outcome: Placement
) -> None:
    """Epochs 5 and 6 are sealed; the clock stands at the start of epoch 8, and may be 60 s slow."""
    ended = np.array([GENESIS_S * 1_000_000 + round(second * 1_000_000)])
    placed = place(ended, RULES, open_epoch=7, now_us=CALENDAR.start_us(8))
    found = (placed.epochs[0], placed.flags[0], placed.outcomes[0])
    assert found == (epoch, flags, outcome)


def test_every_refused_record_has_its_reason_and_the_others_their_epoch() -> None:
    ingest = Ingest()
    ingest.open_epoch, ingest.now_us = 7, CALENDAR.start_us(8)
    admitted = ingest.admit(
        at_second(0, 7300),
        at_second(1, 7300, peer_id="stranger"),
        at_second(2, 100),
        at_second(3, 20_000),
        at_second(4, 3700),
        at_second(0, 7300),
    )
    assert reasons(admitted) == [
        (1, "unknown_node"),
        (2, "too_late"),
        (3, "ahead_of_clock"),
        (5, "duplicate"),
    ]
    assert [rejection.line for rejection in admitted.outcomes[0].rejections] == [2, 3, 4, 6]
    assert admitted.table.select(["job_id", "epoch", "flags"]).to_pylist() == [
        {"job_id": "job-0", "epoch": 7, "flags": 0},
        {"job_id": "job-4", "epoch": 7, "flags": 1},
    ]
    assert admitted.outcomes[0].duplicates == {7: 1}


def test_a_job_is_accepted_once_whatever_batch_epoch_or_time_it_comes_with() -> None:
    ingest = Ingest()
    assert reasons(ingest.admit(at_second(1, 10), at_second(2, 20))) == []
    assert reasons(ingest.admit(at_second(2, 30), at_second(3, 10))) == [(0, "duplicate")]
    assert reasons(ingest.admit(at_second(2, 4000))) == [(0, "duplicate")]
    assert reasons(ingest.admit(at_second(2, 10, peer_id="node-3"))) == []  # another node's job


def test_what_is_forgotten_was_sealed_long_ago() -> None:
    ingest = Ingest()
    ingest.admit(at_second(1, 10), at_second(2, 4000))
    ingest.seen.forget_before(6)
    assert sorted(ingest.seen.epochs()) == [6]
    assert reasons(ingest.admit(at_second(2, 8000))) == [(0, "duplicate")]
    assert len(ingest.seen) == 1


def test_more_jobs_than_memory_allows_are_refused_for_now() -> None:
    ingest = Ingest(limit=3)
    ingest.admit(at_second(1, 10), at_second(2, 10))
    with pytest.raises(Overloaded):
        ingest.admit(at_second(3, 10), at_second(4, 10))


def test_the_same_job_id_does_not_collide_between_nodes_or_secrets() -> None:
    names = pa.chunked_array([["a", "b", "a"]])
    keys = np.frombuffer(bytes(32) * 3, dtype=np.uint8).reshape(3, 32)
    first, second = (
        [row.tobytes() for row in SeenJobs(secret, 9).hashes(names, keys)]
        for secret in (bytes(32), b"x" * 32)
    )
    assert first[0] == first[2]
    assert len({*first, *second}) == 4
    assert all(len(item) == 16 for item in first)


def test_an_epoch_whose_sum_is_full_refuses_what_does_not_fit() -> None:
    """Sums in the tree are checked, so a job that overflows one would make the epoch impossible to commit."""
    ingest = Ingest()

    def of_bytes(number: int, size: int) -> dict[str, Any]:
        record = at_second(number, 10)
        record["evaluation_fields"][0]["value"] = size
        return record

    assert LANE_MAX == 2 * INT64_MAX + 1
    admitted = ingest.admit(
        of_bytes(1, INT64_MAX), of_bytes(2, 2), of_bytes(3, INT64_MAX), of_bytes(4, 0)
    )
    assert reasons(admitted) == [(2, "out_of_range")]
    assert admitted.outcomes[0].rejections[0].field == "num_bytes_sent"
    assert reasons(ingest.admit(of_bytes(5, INT64_MAX), of_bytes(6, INT64_MAX - 1))) == [
        (0, "out_of_range")
    ]
    assert reasons(ingest.admit(of_bytes(7, 0))) == []
    assert reasons(ingest.admit(at_second(8, 4000))) == []  # another epoch has its own sum
    assert ingest.sums.total(5, "num_bytes_sent") == LANE_MAX


def test_a_batch_of_bad_records_only_is_an_answer_too() -> None:
    admitted = Ingest().admit(saturn_record(1, job_id=""))
    assert (admitted.table.num_rows, reasons(admitted)) == (0, [(0, "empty")])


@pytest.mark.parametrize("most", [9, INT64_MAX])
def test_sums_of_many_jobs_of_several_epochs_are_exact(most: int) -> None:
    rng = np.random.default_rng(1)
    epochs = rng.integers(5, 9, 1_000)
    values = rng.integers(0, most, 1_000, endpoint=True)
    name = SATURN.lanes.fields[0]
    sums = LaneSums(SATURN)
    sums.add(epochs, pa.table(dict.fromkeys(SATURN.lanes.fields, values)))
    for epoch in range(4, 10):
        expected = sum(
            v for e, v in zip(epochs.tolist(), values.tolist(), strict=True) if e == epoch
        )
        assert sums.total(epoch, name) == expected
