"""What an explorer reads of one epoch: the measured part from segments and nodes, the decided part from rows and claims.

The links of `meridian.audit` do the reading, so what is shown has been compared with the chain up to there: jobs lead to
the committed root, rows are those that the members signed, and weights follow from them. Two things are taken as they are
published, under roots that a quorum signed: verdicts (without evaluating again) and claims.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian.audit.agreed import check_block, check_rows, load_records
from meridian.audit.case import Case
from meridian.audit.counted import check_jobs, check_segments
from meridian.audit.evaluated import check_function, check_inputs, check_parameters
from meridian.audit.evidence import Broken, Step, first_broken, run_steps
from meridian.audit.measured import check_commitment, check_manifest
from meridian.audit.node_account import GoodCopies
from meridian.audit.objects import fetch
from meridian.audit.rewarded import check_aggregation
from meridian.audit.source import EvidenceSource
from meridian.errors import InvalidInput
from meridian.evaluate.reliability import outliers, reliability_rule
from meridian.evaluate.row import Row
from meridian.evaluate.verdict_document import document_leaves, sealed_part
from meridian.evaluate.verdicts import counted_root, verdict_root
from meridian.measure.columns import column_values, segment_columns
from meridian.measure.commitment import load_epoch
from meridian.measure.epoch import LATE_FLAG
from meridian.measure.manifest import Nodes
from meridian.measure.row import rebuild_rows
from meridian.measure.schema import NetworkSchema
from meridian.measure.union_epoch import FromAggregator
from meridian.primitives import dagcbor
from meridian.primitives.hashing import ByteMatrix
from meridian.primitives.ids import Address, NodeKey
from meridian.primitives.sumtree import LaneKind
from meridian.reward.claims import ClaimsState

PPM: Final = 10**6

MEASURED: Final[tuple[Step[Case], ...]] = (
    Step("commitment", (), check_commitment),
    Step("manifest", ("commitment",), check_manifest),
    Step("segments", ("manifest",), check_segments),
    Step("jobs", ("segments",), check_jobs),
)
DECIDED: Final[tuple[Step[Case], ...]] = (
    Step("function", (), check_function),
    Step("parameters", ("function",), check_parameters),
    Step("inputs", ("function",), check_inputs),
    Step("outcome records", (), load_records),
    Step("block", ("outcome records",), check_block),
    Step("rows", ("block",), check_rows),
    Step("aggregation", ("rows", "parameters", "inputs"), check_aggregation),
)


@dataclass(frozen=True, slots=True)
class JobColumns:
    """Jobs node by node, in the order of their trees."""

    ids: tuple[str, ...]
    rows: ByteMatrix
    """Shape (n, 100)."""
    counts: tuple[int, ...]
    """Jobs of each node."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A commitment that counts: proofs stand under its root."""

    account: Address
    root: bytes
    nodes: Nodes
    jobs: JobColumns | None
    """None: too many to be kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """An epoch as it was committed."""

    epoch: int
    lanes: LaneKind
    schema_id: int
    nodes: Nodes
    """Of the union, where several contributed."""
    late: npt.NDArray[np.int64]
    """Late jobs of each node."""
    jobs: JobColumns | None
    trees: tuple[Tree, ...]
    segments: tuple[tuple[bytes, int], ...]
    """Digest and size of each."""
    manifests: tuple[bytes, ...]
    inputs: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Voice:
    """One member's row beside what was decided."""

    member: Address
    body: bytes | None
    """Digest of the row's body; None: it is not in the block, and no other field says anything."""
    weights: Sequence[int | None]
    agreement_ppm: int
    reliability_ppm: int
    outliers: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """An epoch as its committee decided it."""

    reasons: tuple[str, ...]
    verdicts: npt.NDArray[np.int64]
    """Shape (nodes, reasons): jobs of each node by verdict."""
    codes: bytes
    """Place in `reasons` of each job."""
    weights: tuple[int | None, ...]
    voices: tuple[Voice, ...]
    before: ClaimsState
    claims: ClaimsState
    block_hash: bytes
    verdict_root: bytes
    artefacts: tuple[tuple[str, bytes], ...]
    """What an evaluator publishes: name and digest."""


def gather(
    source: EvidenceSource, epoch: int, jobs_max: int
) -> tuple[Measured | None, Decided | None, str]:
    """Read an epoch.

    Args:
        source: Publications and chain.
        epoch: A committed epoch.
        jobs_max: Jobs one by one are kept of epochs with at most so many.

    Returns:
        What was measured, None where it cannot be read; what was decided, None where nothing is or it cannot be read;
        and why something cannot be read, empty where all can.
    """
    good = GoodCopies(source)
    case = Case(good, epoch)
    broken = first_broken(run_steps(case, MEASURED))
    if broken:
        return None, None, f"{broken.name}: {broken.detail}"
    measured = _measured(case, jobs_max)
    if source.chain.report(epoch) is None:
        return measured, None, ""
    why = "no evaluator publishes the outcome"
    for pointer in good.outcomes(epoch):
        case.source = GoodCopies(source, pointer.file)
        broken = first_broken(run_steps(case, DECIDED))
        if broken:
            why = f"{broken.name}: {broken.detail}"
            continue
        try:
            return measured, _decided(case), ""
        except (Broken, InvalidInput) as error:
            why = str(error)
    return measured, None, why


def _measured(case: Case, jobs_max: int) -> Measured:
    union = case.union
    assert union is not None, "the link `jobs` holds"
    nodes, late, keep = case.nodes, np.zeros(len(case.nodes.ids), np.int64), None
    ends = np.cumsum(case.nodes.job_counts)
    flags = column_values(case.jobs.select(["flags"]), "flags")
    at = np.flatnonzero((flags & LATE_FLAG) != 0)
    np.add.at(late, np.searchsorted(ends, at, side="right"), 1)
    if case.jobs.num_rows <= jobs_max:
        keep = _job_columns(case.schema, case.jobs, nodes)
    sources = [one for one in union.counting if isinstance(one, FromAggregator)]
    manifests = [one.manifest for one in sources]
    return Measured(
        epoch=case.epoch,
        lanes=case.schema.lanes.kind,
        schema_id=case.schema.id,
        nodes=nodes,
        late=late,
        jobs=keep,
        trees=_trees(case, keep),
        segments=tuple((seg.digest, seg.bytes) for one in manifests for seg in one.segments),
        manifests=tuple(one.digest for one in manifests),
        inputs=tuple((item.name, item.digest) for one in manifests for item in one.inputs),
    )


def _trees(case: Case, keep: JobColumns | None) -> tuple[Tree, ...]:
    """Return the commitments that count; of only one, its nodes and jobs are those of the epoch."""
    union = case.union
    assert union is not None, "the link `jobs` holds"
    sources = [one for one in union.counting if isinstance(one, FromAggregator)]
    if len(union.counting) == 1:
        manifest = sources[0].manifest
        return (Tree(manifest.aggregator, manifest.root, case.nodes, keep),)
    found = []
    for one in sources:
        jobs = None
        nodes = union.nodes_of[one.account]
        if keep is not None:
            loaded, table = load_epoch(
                one.manifest, case.schema, lambda digest: fetch(case.source, digest, "an artefact")
            )
            nodes, jobs = loaded, _job_columns(case.schema, table, loaded)
        found.append(Tree(one.account, one.manifest.root, nodes, jobs))
    return tuple(found)


def _job_columns(schema: NetworkSchema, jobs: Any, nodes: Nodes) -> JobColumns:
    names = [name for name in segment_columns(schema).names if name != "node_id"]
    chosen = jobs.select(names)
    table = chosen if isinstance(chosen, pa.Table) else pa.Table.from_batches(chosen.to_batches())
    ids = tuple(table.column("job_id").to_pylist())
    return JobColumns(ids, rebuild_rows(schema, table), nodes.job_counts)


def _decided(case: Case) -> Decided:
    """Read verdicts and claims of one evaluator's record; raises `Broken` or `InvalidInput` where they are not there."""
    [(_, record)] = case.records
    document = dagcbor.decode(fetch(case.source, record.verdicts, "the verdicts"))
    _check_verdicts(case, document)
    claims = ClaimsState.decode(fetch(case.source, record.claims, "the claims"))
    if (claims.reward_root, claims.total) != (case.stored.reward_root, case.stored.total):
        raise Broken("the published claims are not those of the report")
    before = ClaimsState.empty()
    if record.previous_claims is not None:
        before = ClaimsState.decode(fetch(case.source, record.previous_claims, "earlier claims"))
    reasons = tuple(document["reasons"])
    lines = np.array(document["nodes"], dtype=np.int64).reshape(-1, len(reasons))
    names = ("verdicts", "claims", "block", "certificate", "result")
    return Decided(
        reasons=reasons,
        verdicts=lines,
        codes=document["codes"],
        weights=tuple(case.weights),
        voices=_voices(case, record.rows),
        before=before,
        claims=claims,
        block_hash=case.block.hash,
        verdict_root=case.verdict_root,
        artefacts=tuple((name, getattr(record, name)) for name in names),
    )


def _check_verdicts(case: Case, document: Any) -> None:
    """Compare published verdicts with the verdict root that the rows carry."""
    if not isinstance(document, dict) or not {"reasons", "codes", "nodes"} <= document.keys():
        raise Broken("the published verdicts are no verdicts")
    root = verdict_root(document_leaves(document, case.nodes.keys))
    if "sealed" in document:
        root = counted_root(root, sealed_part(document, len(case.nodes.ids)).counts)
    if root != case.verdict_root:
        raise Broken("the published verdicts do not give the decided verdict root")


def _voices(case: Case, bodies: Sequence[bytes]) -> tuple[Voice, ...]:
    """Return one voice for each member of the epoch, also for the absent ones."""
    keys, decided = case.nodes.keys, list(case.weights)
    rule = reliability_rule(case.parameters.reliability)
    aligned: list[tuple[Address, bytes, list[int | None]]] = []
    for (member, body), digest in zip(case.rows, bodies, strict=True):
        aligned.append((member, digest, _aligned(body, keys)))
    far = outliers([row for _, _, row in aligned], 1 if rule is None else rule.outlier_floor)
    judged = {row.member: (row.agreed_ppm, row.weight) for row in case.judged}
    found = {}
    for (member, digest, row), places in zip(aligned, far, strict=True):
        agreed, weight = judged.get(member, (None, PPM))
        share = _same_ppm(row, decided) if agreed is None else agreed
        found[member] = Voice(member, digest, row, share, weight, tuple(places))
    return tuple(
        found.get(member) or Voice(member, None, (), 0, PPM, ()) for member in case.context.members
    )


def _aligned(body: bytes, keys: Sequence[NodeKey]) -> list[int | None]:
    try:
        row = Row.decode(body)
    except InvalidInput:  # signed, but no row: it says nothing
        return [None] * len(keys)
    said = dict(zip(row.node_keys, row.weights, strict=True))
    return [said.get(key) for key in keys]


def _same_ppm(row: Sequence[int | None], decided: Sequence[int | None]) -> int:
    if not decided:
        return PPM
    return PPM * sum(a == b for a, b in zip(row, decided, strict=True)) // len(decided)
