"""Links `segments` and `jobs`: every job of everything that stands, up to every committed root, and their union.

One pass over the segments does both: each contribution is checked while it is merged (`measure.union_epoch`), and the
jobs go into a store that need not hold them in memory. What is wrong with the trees is kept for the link `jobs`.
"""

from collections.abc import Sequence
from functools import partial

from meridian.audit.case import Case
from meridian.audit.evidence import Broken, Finding, require
from meridian.audit.measured import by_whom
from meridian.audit.objects import fetch
from meridian.audit.source import JobStore
from meridian.errors import InvalidInput
from meridian.measure.columns import segment_columns
from meridian.measure.commitment import Problem
from meridian.measure.epoch import Calendar
from meridian.measure.manifest import Nodes
from meridian.measure.second_step import SumDifference, compare_sums, sum_names
from meridian.measure.union_document import union_document, union_lines
from meridian.measure.union_epoch import (
    FromAggregator,
    FromNode,
    NothingCounts,
    UnionEpoch,
    gather_epoch,
    payee_faults,
)
from meridian.primitives.cid import cid_text, digest_of
from meridian.primitives.ids import Address, NodeKey, address_text
from meridian.primitives.sumtree import HASH_BYTES, NODE_BYTES, annotation


class _NodesBroken(Exception):
    """A published nodes artefact breaks the link `jobs`, after `segments` was looked at."""

    def __init__(self, broken: Broken) -> None:
        super().__init__(broken.detail)
        self.broken = broken


class _Artefacts:
    """Published copies, every one of which must be what its name says: `measure.union_epoch.Artefacts`."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._payees = case.source.chain.payees(case.epoch)
        self._several = sum(not isinstance(one, FromNode) for one in case.sources) > 1

    def segment(self, source: FromAggregator, at: int) -> bytes:
        """Return a segment; raises `Broken` if a copy is another or there is none."""
        count = len(source.manifest.segments)
        what = f"segment {at + 1} of {count}{by_whom(self._case, source.account)}"
        return fetch(self._case.source, source.manifest.segments[at].digest, what)

    def nodes(self, source: FromAggregator) -> Nodes:
        """Return the nodes of a commitment; where there are several, payees must be registered for it to count."""
        whose = by_whom(self._case, source.account)
        try:
            data = fetch(self._case.source, source.manifest.nodes, f"the nodes object{whose}")
        except Broken as broken:
            raise _NodesBroken(broken) from broken
        nodes = Nodes.decode(data)
        faults = payee_faults(nodes, self._payees) if self._several else []
        if faults:
            raise InvalidInput("payee", faults[0])
        return nodes

    def own_segment(self, source: FromNode) -> bytes | None:
        """Return a node's own segment; raises `Broken` if a copy is another."""
        if not self._case.source.object(source.segment):
            return None
        return fetch(self._case.source, source.segment, f"the own segment of {source.name}")

    def payee(self, node: NodeKey) -> Address | None:
        """Return the account that a node registered last."""
        found = self._payees.get(node, ())
        return found[-1] if found else None


def check_segments(case: Case) -> Finding:
    """Check every copy of every segment: bytes, length, columns, types, ranges, number of rows.

    Raises:
        Broken: Naming segment and file.
    """
    network, case.fault, case.union = case.source.network, None, None
    calendar = Calendar(network.genesis_s, network.epoch_seconds, network.first_epoch)
    keeper = partial(case.source.job_store, segment_columns(case.schema))
    try:
        case.union = gather_epoch(
            case.schema, calendar, case.epoch, case.sources, _Artefacts(case), keeper
        )
    except _NodesBroken as fault:
        case.fault = fault.broken
    except NothingCounts as nothing:
        _refuse_segments(nothing.problems)
        reasons = [str(problem) for problem in nothing.problems]
        case.fault = Broken("the jobs do not give what was committed", reasons)
    segments = [
        segment
        for source in case.sources
        if isinstance(source, FromAggregator)
        for segment in source.manifest.segments
    ]
    size, rows = sum(one.bytes for one in segments), sum(one.rows for one in segments)
    own = sum(isinstance(one, FromNode) for one in case.sources)
    return Finding(
        f"{len(segments)} segments, {size} bytes, {rows} rows"
        + (f"; {own} nodes with a segment of their own" if own else ""),
        tuple(f"{cid_text(one.digest)}: {one.rows} rows" for one in segments),
    )


def _refuse_segments(problems: Sequence[Problem]) -> None:
    """Break the link where what is wrong is a segment itself."""
    found = [problem for problem in problems if problem.link.startswith("segment ")]
    if found:
        number = int(found[0].link.removeprefix("segment ")) + 1
        raise Broken(f"segment {number} cannot be read", [one.reason for one in found])


def check_jobs(case: Case) -> Finding:
    """Rebuild every row, tree and sum from the jobs, up to every committed root, and the union of what counts.

    Raises:
        Broken: Naming each layer, node or job that differs.
    """
    if case.fault is not None:
        raise case.fault
    union = case.union
    assert union is not None, "without a fault there is something that counts"
    problems, notes = _payees(case, union.nodes)
    require(problems, "committed payees are not those that the nodes registered")
    case.nodes, case.jobs = union.nodes, union.kept.jobs(union.jobs_by_node)
    keys = case.nodes.keys
    case.names = dict(zip(keys, case.nodes.ids, strict=True))
    case.payees = dict(zip(keys, case.nodes.payees, strict=True))
    case.counted, case.annotation = union.counted, union.annotation
    case.union_document = union_document(case.epoch, union)
    lanes = case.schema.lanes
    count, sums = annotation(bytes(HASH_BYTES) + union.annotation, lanes.kind)
    named = [f"{name} {total}" for name, total in zip(lanes.fields, sums, strict=False)]
    several = "" if case.union_document is None else f", the union of {len(union.counting)}"
    return Finding(
        f"{count} jobs of {len(keys)} nodes{several} give root {union.root.hex()}; "
        f"sums: {', '.join(named) or 'none'}",
        (*notes, *(() if case.union_document is None else _union_notes(case, union))),
    )


def _union_notes(case: Case, union: UnionEpoch[JobStore]) -> tuple[str, ...]:
    lines = list(union_lines(union))
    names = sum_names(case.schema.lanes.fields, case.schema.lanes.kind)
    for source in case.sources:
        if isinstance(source, FromNode):
            name = case.name_of(source.node_key)
            for one in second_step(case, source.node_key, source.job_root):
                if not one.agrees:
                    gaps = zip(names, one.difference, strict=True)
                    said = ", ".join(f"{what} {gap:+}" for what, gap in gaps if gap)
                    lines.append(
                        f"own minus committed of {name}: {said} ({address_text(one.aggregator)})"
                    )
    return tuple(lines)


def second_step(case: Case, node: NodeKey, own: bytes) -> tuple[SumDifference, ...]:
    """Compare the root node of a node's own job tree with its leaf in each commitment that counts."""
    union, committed = case.union, dict[Address, bytes | None]()
    assert union is not None, "the link `jobs` holds"
    for account, nodes in union.nodes_of.items():
        places = {key: place for place, key in enumerate(nodes.keys)}
        place = places.get(node)
        root = None if place is None else nodes.job_root(place)
        committed[account] = None if root is None else root[HASH_BYTES:NODE_BYTES]
    return compare_sums(own[HASH_BYTES:], committed, case.schema.lanes.kind)


def _payees(case: Case, nodes: Nodes) -> tuple[list[str], tuple[str, ...]]:
    """Compare the payees in the rows with the registrations; return problems and notes."""
    registered = case.source.chain.payees(case.epoch)
    problems, strangers = [], 0
    for name, key, payee in zip(nodes.ids, nodes.keys, nodes.payees, strict=True):
        known = registered.get(NodeKey(key))
        if known is None:
            strangers += 1
        elif payee not in known:
            problems.append(f"payee of {name} is {address_text(payee)}, which it did not register")
    return problems, (f"{strangers} nodes are not registered on chain",) if strangers else ()


def union_digest(case: Case) -> bytes | None:
    """Return the digest under which the union must be published; None where there is one contribution alone."""
    return None if case.union_document is None else digest_of(case.union_document)
