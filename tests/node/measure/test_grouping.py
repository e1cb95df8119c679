"""A group is admitted like its batches one by one: same answers, same promises, same jobs in the log."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measure_world import CALENDAR, NODES, SCHEMA, lines, make_config, operator_key, record

from meridian.errors import MeridianError, Overloaded, StorageFailure
from meridian.measure.admission import LaneSums
from meridian.measure.batch_decode import Body, BodyKind
from meridian.measure.batch_signature import BatchSignature, batch_name
from meridian.measure.epoch import PlacementRules
from meridian.measure.order import sort_order
from meridian.measure.receipt import Batch
from meridian.measure.row import rebuild_rows, row_keys
from meridian.measure.seen_jobs import SeenJobs
from meridian.node.measure import grouping
from meridian.node.measure.batch_index import BatchIndex
from meridian.node.measure.frames import GroupFrame
from meridian.node.measure.grouping import Aggregator, Grouping, NotAuthenticated, Submitted
from meridian.node.measure.job_log import JobLog
from meridian.node.measure.journal import Journal
from meridian.node.measure.nodes import FileNodes, NodeDirectory
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, network_id
from meridian.primitives.keys import PrivateKey

NOW_US = CALENDAR.end_us(6)
WALL_US = 1_700_000_000_000_000
DOMAIN = Domain(1, Address(bytes(20)))
KEY = PrivateKey(bytes(31) + b"\x05")
SEED = bytes(range(32))


def ndjson(data: bytes, seed: bytes | None = None, signature: Any = None) -> Submitted:
    return Submitted(Body(BodyKind.NDJSON, data), seed, signature)


class World:
    """A journal and who groups for it."""

    def __init__(self, root: Path, seen_max: int = 100_000, bytes_max: int = 1 << 30) -> None:
        config = make_config(root)
        directory = NodeDirectory(FileNodes(config.nodes_file or root))
        directory.refresh()
        self.log = JobLog(root / "log", bytes_max)
        self.journal = Journal(
            self.log,
            SCHEMA,
            CALENDAR.first_epoch,
            seen=SeenJobs(bytes(32), seen_max),
            sums=LaneSums(SCHEMA),
            remembered_epochs=2,
        )
        aggregator = Aggregator(
            network_id=network_id("test"),
            schema=SCHEMA,
            rules=PlacementRules(CALENDAR),
            key=KEY,
            domain=DOMAIN,
            seed_secret=bytes(32),
            replay=True,
            signed_within_us=3_600_000_000,
        )
        self.grouping = Grouping(aggregator, self.journal, directory)

    def admit(self, *waiting: Submitted) -> list[Any]:
        group = self.grouping.group(waiting, NOW_US, WALL_US)
        if group.frame is not None:
            self.journal.append_group(group.frame, group.hashes)
        return [
            str(answer) if isinstance(answer, MeridianError) else json.loads(answer)
            for answer in group.answers
        ]

    def jobs(self) -> dict[int, list[dict[str, Any]]]:
        return {
            epoch: [
                row
                for ref in self.journal.frames_of(epoch)
                for row in self.journal.read_jobs(ref, epoch).to_pylist()
            ]
            for epoch in self.journal.epochs_with_jobs()
        }


@contextmanager
def world(**bounds: int) -> Iterator[World]:
    with tempfile.TemporaryDirectory() as name:
        made = World(Path(name), **bounds)
        yield made
        made.journal.close()


batches = st.lists(
    st.lists(
        st.builds(
            lambda number, stranger, hour: record(
                number, node="stranger" if stranger else None, second=60 + 3600 * hour
            ),
            st.integers(0, 12),
            st.sampled_from([False] * 8 + [True]),
            st.sampled_from([0, 0, 0, 1, 5]),
        ),
        min_size=1,
        max_size=6,
    ).map(lines),
    min_size=1,
    max_size=6,
)


@given(batches)
@settings(max_examples=40, deadline=None)
def test_a_group_is_admitted_as_its_batches_one_by_one(bodies: list[bytes]) -> None:
    waiting = [ndjson(body) for body in [*bodies, bodies[0], b"\n", bodies[-1]]]
    with world() as together, world() as alone:
        found = together.admit(*waiting)
        expected = [alone.admit(one)[0] for one in waiting]
        assert found == expected
        assert together.jobs() == alone.jobs()
        assert together.journal.sequence == alone.journal.sequence
        assert len(together.journal.seen) == len(alone.journal.seen)
        assert [alone.admit(one)[0] for one in reversed(waiting)] == expected[::-1]


def test_a_body_that_breaks_the_reader_costs_nobody_else_anything(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(read: Any, has_poison: Any) -> Any:
        def reader(*arguments: Any) -> Any:
            if has_poison(arguments[0]):
                raise RuntimeError("a bug")
            return read(*arguments)

        return reader

    poison = b'{"poison": 1}'
    one, many = grouping.decode_batch, grouping.decode_many
    monkeypatch.setattr(grouping, "decode_batch", breaks(one, lambda data: poison in data))
    together = breaks(many, lambda bodies: any(poison in body.data for body in bodies))
    monkeypatch.setattr(grouping, "decode_many", together)
    bodies = [lines([record(1)]), poison, lines([record(2)])]
    with world() as made:
        first, refused, last = made.admit(*map(ndjson, bodies))
        assert (first["accepted"], last["accepted"]) == (1, 1)
        assert refused == "body: it cannot be read; our log says why"
        logged = [str(one.exc_info[1]) for one in caplog.records if one.exc_info]
        assert logged == ["a bug"] * 2  # the text has another form once a test has set up our log


def test_every_receipt_of_a_group_has_the_root_over_its_own_jobs() -> None:
    bodies = [
        lines(record(at, second=60 + 3600 * (at % 2)) for at in range(start, start + size))
        for start, size in ((0, 1), (10, 90), (50, 100), (200, 2), (300, 1))
    ]
    with world() as one:
        answers = one.admit(*[ndjson(body, seed=SEED) for body in bodies])
        (ref,) = one.journal.frames_of(5)
        assert one.journal.frames_of(6) == (ref,)
        both = [one.journal.read_jobs(ref, epoch) for epoch in (5, 6)]
        assert sum(table.num_rows for table in both) == 144 == sum(a["accepted"] for a in answers)
        jobs = GroupFrame.decode(one.log.read(ref).payload).jobs
        start = 0
        for answer in answers:
            own = jobs.slice(start, answer["accepted"])
            rows = rebuild_rows(SCHEMA, own)
            order = sort_order(own.column("node_id"), row_keys(rows))
            batch = Batch(SCHEMA, rows[order], own.column("node_id").take(order))
            assert batch.root.hex() == answer["receipt"]["batch_root"]
            start += answer["accepted"]


def signed(body: bytes, node: str = NODES[0], sent_us: int = WALL_US) -> BatchSignature:
    return BatchSignature.sign(
        network=network_id("test"),
        node_id=node,
        batch=batch_name(SEED, body),
        sent_at_us=sent_us,
        domain=DOMAIN,
        key=operator_key(node),
    )


def test_a_node_may_sign_for_its_own_jobs_and_no_other() -> None:
    body = lines([record(0), record(1), record(2, node=NODES[0]), record(3, node="stranger")])
    with world() as one:
        gateway, node = one.admit(
            ndjson(lines([record(1, job_id="gateway's")])),
            ndjson(body, seed=SEED, signature=signed(body)),
        )
        assert (gateway["accepted"], node["accepted"]) == (1, 2)
        refused = [(r["index"], r["field"], r["reason"]) for r in node["rejected"]]
        assert refused == [(1, "peer_id", "other_node"), (3, "peer_id", "unknown_node")]


@pytest.mark.parametrize(
    ("node", "key_of", "sent_us", "seed", "reason"),
    [
        (NODES[0], NODES[1], WALL_US, SEED, "not signed by the node's operator"),
        ("stranger", NODES[0], WALL_US, SEED, "not registered"),
        (NODES[0], NODES[0], WALL_US - 3_600_000_001, SEED, "too long ago"),
        (NODES[0], NODES[0], WALL_US + 3_600_000_001, SEED, "ahead of time"),
        (NODES[0], NODES[0], WALL_US, bytes(32), "not signed"),
        (NODES[0], NODES[0], WALL_US, None, "needs a seed"),
    ],
)
def test_a_signature_that_does_not_hold_is_refused(
    node: str, key_of: str, sent_us: int, seed: bytes | None, reason: str
) -> None:
    body = lines([record(0)])
    made = signed(body, key_of, sent_us)
    with world() as one:
        signature = BatchSignature(node, sent_us, made.signature)
        group = one.grouping.group([ndjson(body, seed=seed, signature=signature)], NOW_US, WALL_US)
        (answer,) = group.answers
        assert reason in str(answer)
        assert isinstance(answer, NotAuthenticated) == (seed is not None)
        assert group.frame is None


def test_what_does_not_fit_is_put_off_and_what_was_promised_stays() -> None:
    first = ndjson(lines(record(at) for at in range(8)))
    with world(seen_max=10) as one:
        (before,) = one.admit(first)
        again, more = one.admit(first, ndjson(lines(record(at) for at in range(8, 12))))
        assert again == before
        assert "jobs wait for their seal" in more
    with world(bytes_max=8000) as one:
        (before,) = one.admit(first)
        waiting = [first, ndjson(lines(record(at) for at in range(8, 40)))]
        group = one.grouping.group(waiting, NOW_US, WALL_US)
        assert group.frame is not None
        with pytest.raises(Overloaded) as refusal:
            one.journal.append_group(group.frame, group.hashes)
        kept, put_off = group.without_promises(refusal.value)
        assert (json.loads(kept), put_off) == (before, refusal.value)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 5)), max_size=60))
def test_the_index_of_batches_finds_what_was_added(entries: list[tuple[int, int]]) -> None:
    index, plain = BatchIndex(new_max=4), dict[int, list[int]]()
    for number, file in entries:
        place = file << 32 | number
        index.add(number.to_bytes(8, "big") + bytes(24), place)
        plain.setdefault(number, []).append(place)
    for forgotten in (None, 2):
        if forgotten is not None:
            index.forget(forgotten << 32, (forgotten + 1) << 32)
        for number in range(41):
            expected = [place for place in plain.get(number, []) if place >> 32 != forgotten]
            assert sorted(index.find(number.to_bytes(8, "big") + bytes(24))) == sorted(expected)
    assert len(index) == sum(place >> 32 != 2 for places in plain.values() for place in places)


def test_a_log_with_groups_of_an_earlier_version_is_refused_and_not_misread() -> None:
    with tempfile.TemporaryDirectory() as name, pytest.raises(StorageFailure, match="kind 6"):
        made = World(Path(name))
        made.log.append(6, b"a group")
        made.log.sync()
        made.journal.close()
        World(Path(name))
