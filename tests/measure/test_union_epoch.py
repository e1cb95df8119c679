"""An epoch from several commitments and nodes' own: what counts, what is left out and why, who is paid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_union import SCHEMA, Job, order_of, plain_union, table_of

from meridian.errors import InvalidInput, RemoteFault
from meridian.measure.columns import segment_columns, write_segment
from meridian.measure.commitment import Problem, commit_epoch
from meridian.measure.epoch import Calendar
from meridian.measure.manifest import Manifest, Nodes, SegmentRef, SelfCommittedRef
from meridian.measure.own_jobs import own_jobs
from meridian.measure.union_epoch import (
    FromAggregator,
    FromNode,
    NothingCounts,
    Source,
    UnionEpoch,
    gather_epoch,
    unlisted,
)
from meridian.primitives.cid import digest_of
from meridian.primitives.ids import Address, NodeKey, network_id, node_key

CALENDAR = Calendar(0, 100)
EPOCH = 0
ACCOUNTS = tuple(Address(bytes([n]) * 20) for n in (201, 202, 203, 204))


def payee(name: str) -> Address:
    return Address(node_key(name)[:20])


@dataclass
class Kept:
    tables: list[pa.Table] = field(default_factory=list)

    def add(self, jobs: pa.Table) -> None:
        self.tables.append(jobs)

    @property
    def table(self) -> pa.Table:
        return pa.concat_tables([segment_columns(SCHEMA).empty_table(), *self.tables])


@dataclass
class Shelf:
    """Everything that is published, by digest."""

    objects: dict[bytes, bytes] = field(default_factory=dict)
    registered: set[NodeKey] = field(
        default_factory=lambda: {node_key(n) for n in ("alpha", "beta", "gamma", "delta")}
    )

    def put(self, data: bytes) -> bytes:
        self.objects[digest_of(data)] = data
        return digest_of(data)

    def segment(self, source: FromAggregator, at: int) -> bytes:
        digest = source.manifest.segments[at].digest
        if digest not in self.objects:
            raise RemoteFault("nobody has it")
        return self.objects[digest]

    def nodes(self, source: FromAggregator) -> Nodes:
        nodes = Nodes.decode(self.objects[source.manifest.nodes])
        for name, paid in zip(nodes.ids, nodes.payees, strict=True):
            if paid != payee(name):
                raise InvalidInput("payee", f"{name} did not register it")
        return nodes

    def own_segment(self, source: FromNode) -> bytes | None:
        return self.objects.get(source.segment)

    def payee(self, node: NodeKey) -> Address | None:
        return Address(node[:20]) if node in self.registered else None

    def aggregator(
        self, place: int, jobs: Sequence[Job], length: int = 5, **other: Any
    ) -> FromAggregator:
        """Publish a commitment as an aggregator does; some fields of its manifest may be others."""
        table = table_of(jobs)
        names = {job[0] for job in jobs}
        made = commit_epoch(SCHEMA, EPOCH, table, {name: payee(name) for name in names})
        parts = [table.slice(at, length) for at in range(0, len(jobs), length)]
        written = [(part.num_rows, write_segment(part)) for part in parts]
        manifest = Manifest(
            network="net",
            network_id=network_id("net"),
            epoch=EPOCH,
            aggregator=ACCOUNTS[place],
            schema=SCHEMA.digest,
            segments=tuple(SegmentRef(self.put(data), n, len(data)) for n, data in written),
            nodes=self.put(made.nodes.encode()),
            inputs=(),
            root=made.root,
            n_nodes=made.n_nodes,
            annotation=made.annotation,
            late=0,
            duplicates=0,
        )
        return FromAggregator(ACCOUNTS[place], replace(manifest, **other))

    def node(self, jobs: Sequence[Job], root: bytes | None = None) -> FromNode:
        data = write_segment(table_of(jobs))
        name = jobs[0][0]
        made = own_jobs(data, SCHEMA, CALENDAR, EPOCH, name)
        return FromNode(node_key(name), root or made.root, self.put(data))

    def gather(self, sources: Sequence[Source]) -> UnionEpoch[Kept]:
        return gather_epoch(SCHEMA, CALENDAR, EPOCH, sources, self, Kept)


def sized(found: Mapping[tuple[str, str], int]) -> list[Job]:
    return sorted([(*key, size) for key, size in found.items()], key=order_of)


aggregated = st.dictionaries(
    st.tuples(st.sampled_from(("alpha", "beta", "gamma")), st.integers(0, 9).map(str)),
    st.integers(1, 2),
    max_size=14,
).map(sized)
alone = st.sampled_from(("alpha", "beta", "delta")).flatmap(
    lambda name: st.dictionaries(
        st.tuples(st.just(name), st.integers(0, 9).map(str)),
        st.integers(1, 2),
        min_size=1,
        max_size=6,
    ).map(sized)
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(aggregated, min_size=1, max_size=3),
    st.lists(alone, max_size=2, unique_by=lambda jobs: jobs[0][0]),
    st.randoms(use_true_random=False),
    st.integers(1, 7),
)
def test_everything_that_stands_is_one_epoch_with_one_leaf_per_node(
    aggregators, own, random, length
) -> None:
    shelf = Shelf()
    sources: list[tuple[Source, list[Job]]] = [
        (shelf.aggregator(place, jobs, length), jobs) for place, jobs in enumerate(aggregators)
    ]
    sources += [(shelf.node(jobs), jobs) for jobs in own]
    random.shuffle(sources)
    found = shelf.gather([source for source, _ in sources])
    wanted, shares = plain_union([jobs for _, jobs in sources])
    assert found.kept.table.equals(table_of(wanted))
    assert [[s.jobs, s.counted, s.repeated, s.differing] for s in found.shares] == shares
    names = {job[0] for job in wanted}
    made = commit_epoch(SCHEMA, EPOCH, table_of(wanted), {name: payee(name) for name in names})
    assert (found.root, found.annotation) == (made.root, made.annotation)
    assert found.nodes.encode() == made.nodes.encode()
    assert found.left_out == {}
    assert found.counted == {
        source.account: share[1]
        for (source, _), share in zip(sources, shares, strict=True)
        if isinstance(source, FromAggregator)
    }


ONE: list[Job] = sorted([("alpha", "1", 1), ("beta", "2", 2), ("beta", "3", 3)], key=order_of)
TWO: list[Job] = sorted([("beta", "3", 3), ("gamma", "4", 4)], key=order_of)
OWN: list[Job] = [("delta", "9", 9)]


def reasons(found: UnionEpoch[Kept]) -> dict[int, str]:
    return {place: "; ".join(map(str, problems)) for place, problems in found.left_out.items()}


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"root": bytes(32)}, "root: root is not that of the nodes"),
        ({"annotation": bytes(24)}, "root: annotation is not that of the nodes"),
        ({"late": 1}, "manifest: 0 jobs are late, not 1"),
        ({"epoch": 3}, "belong to epoch 3"),
        ({"segments": ()}, "nodes: they are not the nodes of the jobs"),
    ],
)
def test_a_commitment_that_is_wrong_does_not_count_and_says_why(other, reason) -> None:
    shelf = Shelf()
    good, bad = shelf.aggregator(0, ONE), shelf.aggregator(1, TWO, **other)
    found = shelf.gather([bad, good])
    assert reason in reasons(found)[0]
    assert found.kept.table.equals(table_of(ONE))
    assert found.root == good.manifest.root
    assert found.counted == {ACCOUNTS[0]: 3}
    with pytest.raises(NothingCounts, match="commitment") as nothing:
        shelf.gather([bad])
    assert all(isinstance(problem, Problem) for problem in nothing.value.problems)


def test_a_payee_that_was_not_registered_takes_the_commitment_out() -> None:
    shelf = Shelf()
    stolen = commit_epoch(
        SCHEMA, EPOCH, table_of(TWO), {"beta": payee("beta"), "gamma": ACCOUNTS[3]}
    )
    bad = shelf.aggregator(1, TWO, nodes=shelf.put(stolen.nodes.encode()), root=stolen.root)
    found = shelf.gather([shelf.aggregator(0, ONE), bad])
    assert reasons(found) == {1: "payee: gamma did not register it"}


def test_what_cannot_be_had_of_an_aggregator_is_waited_for() -> None:
    shelf = Shelf()
    sources = [shelf.aggregator(0, ONE), shelf.aggregator(1, TWO)]
    del shelf.objects[sources[1].manifest.segments[0].digest]
    with pytest.raises(RemoteFault, match="nobody has it"):
        shelf.gather(sources)


def test_a_nodes_own_segment_counts_only_if_it_is_there_and_gives_its_root() -> None:
    shelf = Shelf()
    one, own = shelf.aggregator(0, ONE), shelf.node(OWN)
    found = shelf.gather([own, one])
    assert found.nodes.ids[[*found.nodes.keys].index(node_key("delta"))] == "delta"
    assert found.counted == {ACCOUNTS[0]: 3}
    wrong = replace(own, job_root=bytes(56))
    assert "does not give its root" in reasons(shelf.gather([wrong, one]))[0]
    anothers = replace(own, node_key=node_key("gamma"))
    assert "of this node and no others" in reasons(shelf.gather([anothers, one]))[0]
    missing = replace(own, segment=bytes(32))
    assert "nobody publishes" in reasons(shelf.gather([missing, one]))[0]
    shelf.registered.clear()
    assert "not registered" in reasons(shelf.gather([own, one]))[0]


def test_an_aggregator_that_does_not_list_who_was_before_it_is_named() -> None:
    shelf = Shelf()
    own = shelf.node(OWN)
    ref = SelfCommittedRef(own.node_key, own.job_root, own.segment)
    lists = shelf.aggregator(0, ONE, self_committed=(ref,))
    silent = shelf.aggregator(1, TWO)
    assert unlisted([own, lists, silent]) == [(ACCOUNTS[1], node_key("delta"))]
    assert unlisted([lists, silent, own]) == []


def test_a_manifest_lists_self_commitments_in_version_2_and_is_as_ever_without() -> None:
    shelf = Shelf()
    own = shelf.node(OWN)
    ref = SelfCommittedRef(own.node_key, own.job_root, own.segment)
    plain = shelf.aggregator(0, ONE).manifest
    listed = replace(plain, self_committed=(ref,))
    assert Manifest.decode(plain.encode()) == plain
    assert Manifest.decode(listed.encode()) == listed
    assert plain.encode() in {replace(listed, self_committed=()).encode()}
    twice = replace(plain, self_committed=(ref, ref))
    with pytest.raises(InvalidInput, match="self_committed"):
        Manifest.decode(twice.encode())
