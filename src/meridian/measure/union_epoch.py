"""An epoch from everything that stands committed for it: each contribution checked, then merged, in one pass.

Law: a contribution whose published bytes do not give what was committed does not count, and says why; everybody who has
the bytes finds the same. At least one aggregator's commitment must be left. Bytes that cannot be had are another matter:
what fetches them decides how long to wait, and nothing is left out for that but a node's own segment.

A node stands once in what is evaluated, under the payee that its first contribution gives it.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import pyarrow as pa

from meridian.errors import InvalidInput
from meridian.measure.columns import read_segment
from meridian.measure.commitment import Problem
from meridian.measure.commitment_check import CommitmentCheck
from meridian.measure.epoch import Calendar
from meridian.measure.epoch_builder import EpochBuilder
from meridian.measure.manifest import Manifest, Nodes
from meridian.measure.own_jobs import own_jobs
from meridian.measure.row import rebuild_rows
from meridian.measure.schema import NetworkSchema
from meridian.measure.union import Merge, Piece, Share
from meridian.primitives.ids import Address, NodeKey, address_text, network_id, node_key


@dataclass(frozen=True, slots=True)
class FromAggregator:
    """An aggregator's commitment that stands; its manifest says the same as the chain."""

    account: Address
    manifest: Manifest

    @property
    def name(self) -> str:
        """Who it is, for people."""
        return f"aggregator {address_text(self.account)}"


@dataclass(frozen=True, slots=True)
class FromNode:
    """A node's commitment to its own jobs."""

    node_key: NodeKey
    job_root: bytes
    """The root node of its job tree, 56 bytes."""
    segment: bytes
    """Digest of the segment with its jobs."""

    @property
    def name(self) -> str:
        """Who it is, for people."""
        return f"node {self.node_key.hex()}"


@dataclass(frozen=True, slots=True)
class Refused:
    """An aggregator's commitment whose published manifest is none, or says something else than the chain."""

    account: Address
    reason: str

    @property
    def name(self) -> str:
        """Who it is, for people."""
        return f"aggregator {address_text(self.account)}"


Source = FromAggregator | FromNode | Refused


def source_of(data: bytes, account: Address, stated: Mapping[str, object]) -> Source:
    """Return a commitment by its manifest.

    Args:
        data: The published manifest; it has the digest that the chain names.
        account: Of the aggregator.
        stated: Name of a field of `Manifest` -> what chain and schedule say of it.
    """
    try:
        manifest = Manifest.decode(data)
    except InvalidInput as error:
        return Refused(account, str(error))
    said = {"aggregator": account, **stated}
    wrong = [name for name, value in said.items() if getattr(manifest, name) != value]
    if network_id(manifest.network) != manifest.network_id:
        wrong.append("network")
    if wrong:
        return Refused(account, f"it says another {', '.join(wrong)} than chain and schedule")
    return FromAggregator(account, manifest)


class Artefacts(Protocol):
    """Gives what was published; whatever it returns has the digest that was asked for."""

    def segment(self, source: FromAggregator, at: int) -> bytes:
        """Return a segment of a commitment; raises where it cannot be had."""

    def nodes(self, source: FromAggregator) -> Nodes:
        """Return the nodes of a commitment; raises `InvalidInput` if their payees are not registered."""

    def own_segment(self, source: FromNode) -> bytes | None:
        """Return a node's own segment; None: nobody publishes it."""

    def payee(self, node: NodeKey) -> Address | None:
        """Return the account that a node registered to be paid to."""


class Keeper(Protocol):
    """Takes the jobs of an epoch in order."""

    def add(self, jobs: pa.Table) -> None:
        """Take the next jobs, segment columns."""


K = TypeVar("K", bound=Keeper)


@dataclass(frozen=True, slots=True)
class UnionEpoch(Generic[K]):
    """What is evaluated."""

    nodes: Nodes
    """With the trees over the jobs that count; those of the commitment where there is only one."""
    root: bytes
    """What a commitment to exactly these jobs would be; the committed root where there is only one."""
    annotation: bytes
    """Number and sums of the jobs that count."""
    sources: tuple[Source, ...]
    """In the order of their events."""
    shares: tuple[Share, ...]
    """For each source."""
    left_out: Mapping[int, tuple[Problem, ...]]
    """Place of a source that does not count -> why."""
    nodes_of: Mapping[Address, Nodes]
    """Account of each aggregator whose commitment counts -> its nodes."""
    kept: K

    @property
    def counting(self) -> tuple[Source, ...]:
        """The sources that count."""
        return tuple(
            source for place, source in enumerate(self.sources) if place not in self.left_out
        )

    @property
    def counted(self) -> dict[Address, int]:
        """Account of each aggregator whose commitment counts -> how many of the jobs it contributed first."""
        return {
            source.account: self.shares[place].counted
            for place, source in enumerate(self.sources)
            if isinstance(source, FromAggregator) and place not in self.left_out
        }

    @property
    def jobs_by_node(self) -> dict[str, int]:
        """Id of each node in order -> number of its jobs."""
        return dict(zip(self.nodes.ids, self.nodes.job_counts, strict=True))


class NothingCounts(InvalidInput):
    """No aggregator's commitment gives what was committed."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("commitment", "; ".join(str(problem) for problem in problems[:3]))
        self.problems = tuple(problems)
        """Of all of them."""


class _Wrong(Exception):
    def __init__(self, place: int, problems: Sequence[Problem]) -> None:
        super().__init__(str(problems[0]))
        self.place, self.problems = place, tuple(problems)


def unlisted(sources: Sequence[Source]) -> list[tuple[Address, NodeKey]]:
    """Return each node that had committed itself before an aggregator committed, and that its manifest does not list.

    The contracts cannot judge that: they know the manifest by its digest alone.
    """
    found = []
    for place, source in enumerate(sources):
        if isinstance(source, FromAggregator):
            listed = {
                (ref.node_key, ref.job_root, ref.segment) for ref in source.manifest.self_committed
            }
            found += [
                (source.account, own.node_key)
                for own in sources[:place]
                if isinstance(own, FromNode)
                and (own.node_key, own.job_root, own.segment) not in listed
            ]
    return found


def payee_faults(nodes: Nodes, registered: Mapping[NodeKey, Collection[Address]]) -> list[str]:
    """Return the nodes that a commitment would have paid to another account than they ever registered.

    The payee at the time of the seal may be an older one: a node may have left and registered again since.
    """
    return [
        f"{address_text(payee)} is not what {name!r} registered on chain"
        for name, key, payee in zip(nodes.ids, nodes.keys, nodes.payees, strict=True)
        if payee not in registered.get(NodeKey(key), ())
    ]


def union_inputs(sources: Sequence[Source]) -> dict[str, bytes]:
    """Return the auxiliary inputs, name -> digest: of two under one name, the one that was committed first.

    Args:
        sources: Those that count.
    """
    found: dict[str, bytes] = {}
    for source in sources:
        if isinstance(source, FromAggregator):
            for entry in source.manifest.inputs:
                found.setdefault(entry.name, entry.digest)
    return found


def gather_epoch(
    schema: NetworkSchema,
    calendar: Calendar,
    epoch: int,
    sources: Sequence[Source],
    artefacts: Artefacts,
    keeper: Callable[[], K],
) -> UnionEpoch[K]:
    """Check and merge what stands committed.

    Args:
        schema: The network's schema; every manifest names it.
        calendar: The network's epochs.
        epoch: The epoch.
        sources: In the order of their events.
        artefacts: What was published.
        keeper: Makes what takes the merged jobs; called again where a commitment turns out not to count.

    Raises:
        NothingCounts: If no aggregator's commitment is left.
        Exception: What `artefacts` raises where something cannot be had.
    """
    gathering = _Gathering(schema, calendar, epoch, tuple(sources), artefacts)
    left_out = gathering.refused()
    aggregators = {
        place for place, source in enumerate(sources) if not isinstance(source, FromNode)
    }
    while aggregators - left_out.keys():
        try:
            return gathering.merged(left_out, keeper())
        except _Wrong as wrong:
            left_out[wrong.place] = wrong.problems
    raise NothingCounts(
        [problem for place in aggregators & left_out.keys() for problem in left_out[place]]
    )


@dataclass(frozen=True, slots=True)
class _Gathering:
    schema: NetworkSchema
    calendar: Calendar
    epoch: int
    sources: tuple[Source, ...]
    artefacts: Artefacts
    own_names: dict[int, str] = field(default_factory=dict)
    """Place of a node's own commitment -> the node's id, which only its segment says."""

    def refused(self) -> dict[int, tuple[Problem, ...]]:
        """Return why what does not count by its manifest, or by a node's own segment, does not."""
        left_out: dict[int, tuple[Problem, ...]] = {}
        for place, source in enumerate(self.sources):
            if isinstance(source, Refused):
                left_out[place] = (Problem("manifest", source.reason),)
            elif isinstance(source, FromNode):
                reason = self._own_fault(place, source)
                if reason is not None:
                    left_out[place] = (Problem("self-commitment", reason),)
        return left_out

    def _own_fault(self, place: int, source: FromNode) -> str | None:
        data = self.artefacts.own_segment(source)
        if data is None:
            return "nobody publishes its segment"
        if self.artefacts.payee(source.node_key) is None:
            return "the node is not registered"
        try:
            names = read_segment(data, self.schema).column("node_id").unique().to_pylist()
            if [node_key(name) for name in names] != [source.node_key]:
                return "its segment does not hold the jobs of this node and no others"
            made = own_jobs(data, self.schema, self.calendar, self.epoch, names[0])
        except InvalidInput as error:
            return str(error)
        self.own_names[place] = names[0]
        return None if made.root == source.job_root else "its segment does not give its root"

    def merged(self, left_out: Mapping[int, tuple[Problem, ...]], kept: K) -> UnionEpoch[K]:
        """Read and merge all sources that are not left out; raises `_Wrong` with the first that should be."""
        places = [place for place in range(len(self.sources)) if place not in left_out]
        checks = {
            place: CommitmentCheck(source.manifest, self.schema, self.calendar)
            for place in places
            if isinstance(source := self.sources[place], FromAggregator)
        }
        streams: list[Iterator[Piece]] = [self._pieces(place, checks[place]) for place in checks]
        streams.append(self._own_pieces([place for place in places if place not in checks]))
        merge = Merge(len(self.sources))
        builder = EpochBuilder(self.schema, self.epoch) if len(places) > 1 else None
        for table, rows in merge.chunks(streams):
            kept.add(table)
            if builder is not None:
                builder.add(table.column("node_id"), rows)
        nodes = self._checked_nodes(checks)
        if builder is None:
            [union_nodes] = nodes.values()
            source = self.sources[places[0]]
            assert isinstance(source, FromAggregator), "one aggregator at least"
            root, annotation = source.manifest.root, source.manifest.annotation
        else:
            made = builder.finish(self._payees(places, nodes))
            union_nodes, root, annotation = made.nodes, made.root, made.annotation
        of = {check.account: nodes[place] for place, check in checks.items()}
        return UnionEpoch(
            union_nodes, root, annotation, self.sources, merge.shares, dict(left_out), of, kept
        )

    def _pieces(self, place: int, check: CommitmentCheck) -> Iterator[Piece]:
        source = self.sources[place]
        assert isinstance(source, FromAggregator), "only they have segments"
        for at in range(len(source.manifest.segments)):
            pieces = check.take(at, self.artefacts.segment(source, at))
            while True:
                try:
                    table, rows = next(pieces)
                except StopIteration:
                    break
                except InvalidInput as error:
                    raise _Wrong(place, [Problem(error.field, error.reason)]) from error
                yield Piece(place, table, rows)

    def _own_pieces(self, places: Sequence[int]) -> Iterator[Piece]:
        """Yield the jobs of nodes that committed themselves, node by node in order: one stream, each node once."""
        found = {}
        for place in places:
            source = self.sources[place]
            assert isinstance(source, FromNode), "all others are checked"
            found[source.node_key] = place, source
        for _, (place, source) in sorted(found.items()):
            data = self.artefacts.own_segment(source)
            assert data is not None, "it was there when it was checked"
            table = read_segment(data, self.schema)
            yield Piece(place, table, rebuild_rows(self.schema, table))

    def _checked_nodes(self, checks: Mapping[int, CommitmentCheck]) -> dict[int, Nodes]:
        found = {}
        for place, check in checks.items():
            source = self.sources[place]
            assert isinstance(source, FromAggregator), "only they have nodes"
            try:
                found[place] = self.artefacts.nodes(source)
            except InvalidInput as error:
                raise _Wrong(place, [Problem(error.field, error.reason)]) from error
            problems = check.problems(found[place])
            if problems:
                raise _Wrong(place, problems)
        return found

    def _payees(self, places: Sequence[int], nodes: Mapping[int, Nodes]) -> dict[str, Address]:
        payees: dict[str, Address] = {}
        for place in places:
            source = self.sources[place]
            if isinstance(source, FromAggregator):
                said = nodes[place]
                for name, payee in zip(said.ids, said.payees, strict=True):
                    payees.setdefault(name, payee)
            elif isinstance(source, FromNode):
                paid = self.artefacts.payee(source.node_key)
                assert paid is not None, "it was registered when its segment was checked"
                payees.setdefault(self.own_names[place], paid)
        return payees
