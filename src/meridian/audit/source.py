"""What an auditor is given: published bytes with the names of their files, and the chain's state as plain values.

Nothing here is believed: published bytes are compared with digests, and digests with the chain. The chain is the one
anchor; whoever doubts the endpoint asks another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

from meridian.contracts.events import (
    Claimed,
    Committed,
    EpochOpened,
    Reported,
    SelfCommitted,
    Voided,
)
from meridian.evaluate.jobs import Jobs
from meridian.evaluate.own_functions import RunPython
from meridian.primitives.ids import Address, NodeKey
from meridian.reward.members import PayTerms


@dataclass(frozen=True, slots=True)
class Copy:
    """One publication's copy of an object."""

    file: str
    """Where it lies, as the reader can find it."""
    data: bytes


@dataclass(frozen=True, slots=True)
class Pointer:
    """What one publication's index file says about an epoch."""

    file: str
    digest: bytes | None
    """The object that it names: the manifest, or an evaluator's outcome."""
    report_hash: bytes | None = None
    """Outcomes only."""
    problem: str = ""
    """Why the file cannot be read, if so."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Everything that the file says, as JSON values."""


@dataclass(frozen=True, slots=True)
class LogCopy:
    """One publication's epoch log (L0)."""

    file: str
    checkpoint: bytes
    """The signed note."""
    entries: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What the network file says, to be compared with the chain."""

    name: str
    network_id: bytes
    chain_id: int
    registry: Address
    commitments: Address
    evaluations: Address
    rewards: Address
    disputes: Address
    """The zero address: a network without disputes."""
    genesis_s: int
    epoch_seconds: int
    first_epoch: int
    aggregator: Address
    log_vkey: str
    schema_digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What the contracts say about themselves."""

    chain_id: int
    code: Mapping[str, bytes]
    """Contract name (``Registry``, ...) -> deployed code; empty where there is none."""
    wiring: Mapping[str, Address]
    """``Commitments.registry`` and the like -> the address that the contract holds."""
    network_id: bytes
    genesis_s: int
    epoch_seconds: int
    first_epoch: int
    aggregators: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Which function and parameters an epoch runs with."""

    version: int
    function: bytes
    parameters: bytes


@dataclass(frozen=True, slots=True)
class StoredReport:
    """What Evaluations stores for a reported epoch."""

    hash: bytes
    reward_root: bytes
    total: int
    unlock_at: int
    transmitter: Address


def contributions(
    history: Sequence[Committed | Voided | SelfCommitted],
) -> list[Committed | SelfCommitted]:
    """Return the aggregators' commitments that were not voided and the nodes' own, in the order of their events."""
    standing: list[Committed | SelfCommitted] = []
    for event in history:
        if isinstance(event, Voided):
            gone = event.aggregator, event.root
            standing = [
                one
                for one in standing
                if isinstance(one, SelfCommitted) or (one.aggregator, one.root) != gone
            ]
        else:
            standing.append(event)
    return standing


def standing_commitments(
    history: Sequence[Committed | Voided | SelfCommitted],
) -> list[Committed]:
    """Return the aggregators' commitments that were not voided, oldest first."""
    return [one for one in contributions(history) if isinstance(one, Committed)]


class JobStore(Protocol):
    """Keeps the jobs of an epoch while it is looked at."""

    def add(self, jobs: pa.Table) -> None:
        """Take the next jobs, segment columns."""

    def jobs(self, jobs_by_node: Mapping[str, int]) -> Jobs:
        """Return all of them with the column ``node``; the argument is the number of jobs of each node in order."""


class ChainView(Protocol):
    """The chain's state at one moment; events in the order in which they happened."""

    def deployment(self) -> Deployment:
        """Return what the contracts say about themselves."""

    def opened(self, epoch: int) -> EpochOpened | None:
        """Return the event that fixed the epoch's members, or None."""

    def committee(self, epoch: int) -> tuple[Address, ...]:
        """Return the members of an open epoch, ascending."""

    def term(self, epoch: int) -> int:
        """Return the term of the agreement in which the epoch's report was accepted; the present one without a report."""

    def payees(self, epoch: int) -> Mapping[NodeKey, Sequence[Address]]:
        """Return the accounts that each node had registered when last anything was committed to the epoch, oldest first."""

    def commitments(self, epoch: int) -> Sequence[Committed]:
        """Return the epoch's commitments, also those that were voided."""

    def history(self, epoch: int) -> Sequence[Committed | Voided | SelfCommitted]:
        """Return everything that was committed and voided of the epoch, in its order."""

    def voided_reports(self, epoch: int) -> Sequence[bytes]:
        """Return the hashes of reports of the epoch that were accepted and voided."""

    def epoch_digest(self, epoch: int) -> bytes:
        """Return the digest over the epoch's commitments, as Commitments stores it."""

    def schedule(self, epoch: int) -> Schedule:
        """Return the function and parameters of an epoch."""

    def reports(self) -> Sequence[Reported]:
        """Return all accepted reports."""

    def report(self, epoch: int) -> StoredReport | None:
        """Return the stored report of an epoch, or None."""

    def unlocked(self, epoch: int) -> bool:
        """Return whether claims against the epoch's report are payable now."""

    def budget(self, epoch: int) -> int:
        """Return what sponsors gave for the epoch, in atto."""

    def pay(self, epoch: int) -> PayTerms:
        """Return the shares of the epoch's budget that evaluators and aggregators get themselves."""

    def claims(self) -> Sequence[Claimed]:
        """Return all paid claims."""

    def claimed(self, node_key: bytes) -> int:
        """Return the sum paid to a node so far, in atto."""

    def total_funded(self) -> int:
        """Return the sum of all funds given, in atto."""

    def total_claimed(self) -> int:
        """Return the sum of all paid claims, in atto."""


class EvidenceSource(Protocol):
    """All that an audit reads."""

    @property
    def network(self) -> Network:
        """What the network file says."""

    @property
    def chain(self) -> ChainView:
        """The chain."""

    @property
    def run_python(self) -> RunPython | None:
        """The sandbox for functions in Python; None: such an epoch cannot be evaluated here."""

    def job_store(self, columns: pa.Schema) -> JobStore:
        """Return an empty store for jobs with the columns of a segment."""

    def object(self, digest: bytes) -> Sequence[Copy]:
        """Return the copies of an object, one for each publication that has it; they may be anything."""

    def manifests(self, epoch: int) -> Sequence[Pointer]:
        """Return what the index files of the measure publications name for the epoch."""

    def outcomes(self, epoch: int) -> Sequence[Pointer]:
        """Return what the index files of the evaluators' publications name for the epoch."""

    def results(self, epoch: int) -> Sequence[Copy]:
        """Return the epoch's result files beside the publications, if any."""

    def logs(self) -> Sequence[LogCopy]:
        """Return the published epoch logs."""
