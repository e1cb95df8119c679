"""What became of one node in one epoch: every job counted or the reason why not, and what it earned.

Recomputed from the jobs, like everything here; copies that are not what their names say are passed over, for a node's
answer must not depend on one bad copy (`epoch.verify_epoch_evidence` is there to find those).
"""

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from meridian.audit.case import Case
from meridian.audit.counted import second_step
from meridian.audit.epoch import audit_epoch
from meridian.audit.evidence import Link, State
from meridian.audit.measured import commitment_of
from meridian.audit.record import OutcomeRecord
from meridian.audit.source import (
    ChainView,
    Copy,
    EvidenceSource,
    JobStore,
    LogCopy,
    Network,
    Pointer,
)
from meridian.errors import InvalidInput, MeridianError, NotFound
from meridian.evaluate.function import OK
from meridian.evaluate.own_functions import RunPython
from meridian.evaluate.verdicts import verdicts_by_node
from meridian.measure.columns import column_values
from meridian.measure.epoch import LATE_FLAG
from meridian.measure.second_step import SumDifference, sum_names
from meridian.measure.union_epoch import FromNode
from meridian.primitives.amounts import proportions
from meridian.primitives.cid import digest_of
from meridian.primitives.ids import NodeKey

NEAREST_MAX: Final = 3


class GoodCopies:
    """A source that passes over every copy and every outcome record that is not what it should be.

    Args:
        source: Everything that is published.
        outcome_file: If given, the one outcome index that is looked at.
    """

    def __init__(self, source: EvidenceSource, outcome_file: str | None = None) -> None:
        self._source = source
        self._outcome_file = outcome_file

    @property
    def network(self) -> Network:
        """What the network file says."""
        return self._source.network

    @property
    def chain(self) -> ChainView:
        """The chain."""
        return self._source.chain

    @property
    def run_python(self) -> RunPython | None:
        """The sandbox for functions in Python."""
        return self._source.run_python

    def object(self, digest: bytes) -> list[Copy]:
        """Return the copies with the right bytes."""
        return [copy for copy in self._source.object(digest) if digest_of(copy.data) == digest]

    def job_store(self, columns: pa.Schema) -> JobStore:
        """Return an empty store for jobs."""
        return self._source.job_store(columns)

    def manifests(self, epoch: int) -> list[Pointer]:
        """Return the pointers to the manifest that the chain names."""
        named = {event.manifest for event in self.chain.commitments(epoch)}
        return [pointer for pointer in self._source.manifests(epoch) if pointer.digest in named]

    def outcomes(self, epoch: int) -> list[Pointer]:
        """Return the pointers to records of the report that the chain accepted."""
        stored = self.chain.report(epoch)
        if stored is None:
            return []
        return [
            pointer
            for pointer in self._source.outcomes(epoch)
            if self._outcome_file in {None, pointer.file}
            and pointer.digest is not None
            and self._names(pointer.digest, stored.hash)
        ]

    def _names(self, digest: bytes, report_hash: bytes) -> bool:
        for copy in self.object(digest):
            try:
                return OutcomeRecord.decode(copy.data).report_hash == report_hash
            except InvalidInput:
                return False
        return False

    def results(self, epoch: int) -> Sequence[Copy]:
        """Return none: an account does not depend on them."""
        del epoch
        return ()

    def logs(self) -> Sequence[LogCopy]:
        """Return the published epoch logs."""
        return self._source.logs()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAccount:
    """One node's account of one epoch; None where the epoch has not come so far."""

    epoch: int
    node_id: str
    node_key: bytes
    payee: bytes
    jobs: int
    late: int
    job_root: bytes
    """Root of the node's job tree: what the node rebuilds from its own jobs and receipts."""
    succeeded: int | None
    failures: Mapping[str, int] | None
    """Reason -> number of jobs, the reasons that occur."""
    weight: int | None
    """None also where the node is deferred."""
    deferred: bool
    proportion: str | None
    reward_atto: int | None
    cumulative_atto: int | None
    claimed_atto: int
    unlock_at_s: int | None
    claim_status: str
    """``not reported``, ``nothing to claim``, ``window open``, ``claimable`` or ``claimed``."""
    notes: tuple[str, ...]
    """Links of the evidence that do not hold."""
    sums: tuple[str, ...] = ()
    """What the numbers of `second_step` are called."""
    second_step: tuple[SumDifference, ...] = ()
    """Where the node committed itself: its own summary minus what each aggregator committed about it."""


def account_of(source: EvidenceSource, epoch: int, node_id: str) -> NodeAccount:
    """Return a node's account of an epoch.

    Raises:
        NotFound: If the epoch is not committed, or has no such node; the nearest ids are named.
    """
    commitment_of(source, epoch)  # says why, where there is nothing to look at
    case, links = _audit_with_one_record(source, epoch)
    states = {link.name: link.state for link in links}
    if states["jobs"] is not State.HOLDS:
        raise MeridianError(
            f"the jobs of epoch {epoch} cannot be recomputed: {_first_reason(links)}"
        )
    place = find_node(case.nodes.ids, node_id)
    return _account(case, place, states, _notes(links))


def _audit_with_one_record(source: EvidenceSource, epoch: int) -> tuple[Case, list[Link]]:
    """Audit the epoch with the first evaluator's record from which the rewards follow, or with all if none is whole."""
    good = GoodCopies(source)
    for pointer in good.outcomes(epoch):
        case, links = audit_epoch(GoodCopies(source, pointer.file), epoch)
        if all(link.state is State.HOLDS for link in links if link.name in {"jobs", "rewards"}):
            return case, links
    return audit_epoch(good, epoch)


def find_node(ids: Sequence[str], node_id: str) -> int:
    """Return a node's index; addresses are found in any letter case.

    Raises:
        NotFound: Naming the nearest ids.
    """
    if node_id in ids:
        return ids.index(node_id)
    folded = node_id.lower()
    if folded.startswith("0x"):
        for index, known in enumerate(ids):
            if known.lower() == folded:
                return index
    nearest = difflib.get_close_matches(node_id, ids, NEAREST_MAX, cutoff=0.0)
    hint = f"; nearest are {', '.join(nearest)}" if nearest else "; the epoch has no nodes"
    raise NotFound(f"no node {node_id!r} in this epoch{hint}")


def _first_reason(links: Sequence[Link]) -> str:
    return next(f"{link.name}: {link.detail}" for link in links if link.state is State.BROKEN)


def _notes(links: Sequence[Link]) -> tuple[str, ...]:
    return tuple(f"{link.name}: {link.detail}" for link in links if link.state is State.BROKEN)


def _account(
    case: Case, place: int, states: Mapping[str, State], notes: tuple[str, ...]
) -> NodeAccount:
    key = NodeKey(case.nodes.keys[place])
    chain = case.source.chain
    mine = column_values(case.jobs, "node") == place
    flags = column_values(case.jobs, "flags")[mine]
    succeeded, failures = _judged(case, place)
    rewarded = states["rewards"] is State.HOLDS
    weight = case.outcome.weights[place] if rewarded else None
    shares = proportions([one or 0 for one in case.outcome.weights]) if rewarded else None
    claim = case.outcome.claims.claims.get(key) if rewarded else None
    cumulative = (claim.cumulative if claim else 0) if rewarded else None
    claimed = chain.claimed(key)
    report = chain.report(case.epoch)
    return NodeAccount(
        epoch=case.epoch,
        node_id=case.nodes.ids[place],
        node_key=key,
        payee=case.nodes.payees[place],
        jobs=len(flags),
        late=int(((flags & LATE_FLAG) != 0).sum()),
        job_root=case.nodes.job_root(place)[:32],
        succeeded=succeeded,
        failures=failures,
        weight=weight,
        deferred=rewarded and weight is None,
        proportion=shares[place] if shares else None,
        reward_atto=case.outcome.amounts[place] if rewarded else None,
        cumulative_atto=cumulative,
        claimed_atto=claimed,
        unlock_at_s=report.unlock_at if report else None,
        claim_status=_claim_status(
            chain, case.epoch, cumulative, claimed, reported=report is not None
        ),
        notes=notes,
        sums=sum_names(case.schema.lanes.fields, case.schema.lanes.kind),
        second_step=_second_step(case, key),
    )


def _second_step(case: Case, key: NodeKey) -> tuple[SumDifference, ...]:
    own = [one for one in case.sources if isinstance(one, FromNode) and one.node_key == key]
    return second_step(case, key, own[-1].job_root) if own else ()


def _judged(case: Case, place: int) -> tuple[int | None, dict[str, int] | None]:
    """Return the number of successes, and the failures by reason, of one node."""
    evaluation = getattr(case, "evaluation", None)
    if evaluation is None:
        return None, None
    codes = verdicts_by_node(case.input, evaluation.verdicts)[place]
    counts = Counter(codes)
    failures = {evaluation.reasons[code]: counts[code] for code in sorted(counts) if code != OK}
    return counts[OK], failures


def _claim_status(
    chain: ChainView, epoch: int, cumulative: int | None, claimed: int, *, reported: bool
) -> str:
    if not reported or cumulative is None:
        return "not reported"
    if cumulative == 0:
        return "nothing to claim"
    if claimed >= cumulative:
        return "claimed"
    return "claimable" if chain.unlocked(epoch) else "window open"
