"""Reports that arithmetic cannot settle: brought before the referees where nobody shows how they follow.

The triage has three layers. What the contracts can compute, they judge (`court`). What is withheld is challenged. What
is left is looked at here: a report is audited from the jobs on, as `meridian verify` does it, with each published
outcome in turn. One from which everything follows is enough, whatever liars publish beside it. Where there is none when
patience ends, or when half of the report's window is over, the case is written down and escalated with a bond.

Nothing is said about a report whose jobs, parameters or function cannot be had here: that is no fault of its signers.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa

from meridian.audit.case import Case
from meridian.audit.epoch import audit_epoch
from meridian.audit.evidence import Link, State
from meridian.audit.source import ChainView as PlainChain
from meridian.audit.source import Copy, LogCopy, Network, Pointer, standing_commitments
from meridian.disputes.accusation import Accusation
from meridian.errors import InvalidInput, RemoteFault
from meridian.evaluate.own_functions import RunPython
from meridian.evaluate.row import Row
from meridian.node.audit_chain import ContractChain
from meridian.node.audit_sources import network_values
from meridian.node.chain.rpc import ChainClient
from meridian.node.chain_news import ChainNews
from meridian.node.chain_view import AcceptedReport, ChainView
from meridian.node.durable_file import read_whole, write_durably
from meridian.node.job_store import JobStore
from meridian.node.network_file import NetworkFile
from meridian.node.publications import INDEX_BYTES_MAX, Place
from meridian.node.sandbox.runner import PythonSandbox
from meridian.primitives.cid import cid_text, digest_of, parse_cid
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import Address, address_text

FOLDER: Final = "cases"
"""Where cases stand in the watcher's directory."""
OUTCOMES_MAX: Final = 64
"""Outcomes of one report that are audited; whoever publishes ever new ones under its hash stops no watcher."""
AGAIN_S: Final = 10.0
"""Pause before a report is looked at again about which nothing could be said."""
NEEDED: Final = (
    "contracts",
    "commitment",
    "manifest",
    "segments",
    "jobs",
    "function",
    "parameters",
    "inputs",
)
"""Links that must hold before anything can be said about a report's signers."""
SIGNED: Final = (
    "block",
    "certificate",
    "rows",
    "aggregation",
    "evaluation",
    "rewards",
    "report",
    "signatures",
    "contract",
)
"""Links for which a report's signers answer."""

Fetch = Callable[[bytes], bytes]


class OneOutcome:
    """An `EvidenceSource` with one evaluator's outcome, and nothing but bytes that have their digest.

    Args:
        network: What the network file says.
        chain: The chain.
        fetch: Digest -> bytes, unchecked.
        manifests: The committed ones.
        outcome: The outcome's digest; None: nobody publishes one.
        report_hash: Of the accepted report.
    """

    def __init__(
        self,
        network: Network,
        chain: PlainChain,
        fetch: Fetch,
        manifests: Sequence[bytes],
        outcome: bytes | None,
        report_hash: bytes,
    ) -> None:
        self._network, self._chain, self._fetch = network, chain, fetch
        self._manifests, self._outcome, self._report_hash = manifests, outcome, report_hash

    @property
    def network(self) -> Network:
        """What the network file says."""
        return self._network

    @property
    def chain(self) -> PlainChain:
        """The chain."""
        return self._chain

    @property
    def run_python(self) -> RunPython | None:
        """The sandbox for functions in Python."""
        return PythonSandbox()

    def object(self, digest: bytes) -> Sequence[Copy]:
        """Return the object, if anybody publishes its bytes."""
        try:
            data = self._fetch(digest)
        except RemoteFault:
            return []
        return [Copy(cid_text(digest), data)] if digest_of(data) == digest else []

    def manifests(self, epoch: int) -> Sequence[Pointer]:  # noqa: ARG002 - of the protocol
        """Return the manifests that the chain names."""
        return [Pointer("the chain", manifest) for manifest in self._manifests]

    def job_store(self, columns: pa.Schema) -> JobStore:
        """Return an empty store for jobs."""
        return JobStore(columns)

    def outcomes(self, epoch: int) -> Sequence[Pointer]:  # noqa: ARG002 - of the protocol
        """Return the one outcome."""
        if self._outcome is None:
            return []
        return [Pointer(cid_text(self._outcome), self._outcome, self._report_hash)]

    def results(self, epoch: int) -> Sequence[Copy]:  # noqa: ARG002 - of the protocol
        """Return nothing: a result file beside the publications is nobody's evidence."""
        return []

    def logs(self) -> Sequence[LogCopy]:
        """Return nothing: the epoch log is the aggregator's."""
        return []


@dataclass(slots=True)
class _Waiting:
    """A report that nobody has shown to follow."""

    report: AcceptedReport
    due_s: float
    """When it is looked at for the last time, seconds since the Unix epoch."""
    audited: set[bytes] = field(default_factory=set)


class Escalation:
    """Follows all reports until their windows end.

    Args:
        network: The network.
        client: The chain.
        places: The publications.
        fetch: Digest -> bytes, unchecked.
        state_dir: The watcher's own directory.
        patience_s: How long nobody may show how a report follows.
        case_url: Where the folder of cases is served; empty: a case is named by its content alone.
    """

    def __init__(
        self,
        network: NetworkFile,
        client: ChainClient,
        places: Sequence[Place],
        fetch: Fetch,
        state_dir: Path,
        *,
        patience_s: float,
        case_url: str,
    ) -> None:
        self._network, self._client, self._fetch = network, client, fetch
        self._view = ChainView(client, network.contracts, network.deploy_block)
        self._places, self._folder = places, state_dir / FOLDER
        self._patience_s, self._case_url = patience_s, case_url
        self._waiting: dict[bytes, _Waiting] = {}
        self._done: set[bytes] = set()

    def new(self, news: ChainNews, now_s: float) -> Iterator[Accusation]:
        """Yield the cases that are due, each once.

        Args:
            news: What is on chain.
            now_s: Seconds since the Unix epoch.

        Raises:
            RemoteFault: If the chain cannot be reached.
        """
        standing = {report.report_hash: report for report in news.reports}
        for gone in self._waiting.keys() - standing.keys():
            del self._waiting[gone]
        for report_hash, report in standing.items():
            if report_hash not in self._done and report_hash not in self._waiting:
                due_s = min(now_s + self._patience_s, (now_s + report.unlock_at) / 2)
                self._waiting[report_hash] = _Waiting(report, due_s)
        for one in list(self._waiting.values()):
            accusation = self._look(one, now_s)
            if accusation is not None:
                yield accusation

    def _look(self, one: _Waiting, now_s: float) -> Accusation | None:
        report = one.report
        is_due = now_s >= one.due_s
        if is_due:
            one.audited.clear()  # what was not published then may be now
        elif self.outcomes(report) <= one.audited:
            return None
        # What has just been voided or paid out is nobody's case.
        if not self._stands(report) or self._view.is_unlocked(report.epoch):
            self._settle(report)
            return None
        found: list[tuple[Case, Link]] = []
        outcomes: Sequence[bytes | None] = sorted(self.outcomes(report) - one.audited)
        for outcome in outcomes[: OUTCOMES_MAX - len(one.audited)] or ([None] if is_due else []):
            case, links = self.audit(report, outcome)
            if outcome is not None:
                one.audited.add(outcome)
            if any(link.name in NEEDED and not _holds(link) for link in links):
                one.due_s = max(one.due_s, now_s + AGAIN_S) if is_due else one.due_s
                return None
            broken = next((link for link in links if _accuses(link)), None)
            if broken is None:
                self._settle(report)
                return None
            found.append((case, broken))
        if not is_due or not found:
            return None
        self._settle(report)
        return self._case(report, *found[0], [one for one in outcomes if one is not None])

    def _settle(self, report: AcceptedReport) -> None:
        self._done.add(report.report_hash)
        self._waiting.pop(report.report_hash, None)

    def _stands(self, report: AcceptedReport) -> bool:
        stored, *_ = self._view.evaluations.read("report", report.epoch)
        return bytes(stored) == report.report_hash

    def outcomes(self, report: AcceptedReport) -> set[bytes]:
        """Return the digests of the outcomes that are published for a report."""
        found = set()
        for place in self._places:
            data = place.read(f"epochs/{report.epoch:06d}.outcome.json", INDEX_BYTES_MAX)
            try:
                index = msgspec.json.decode(data or b"{}", type=dict[str, Any])
                if index.get("report_hash") == report.report_hash.hex():
                    found.add(parse_cid(index["outcome"])[1])
            except (ValueError, KeyError, TypeError, InvalidInput):
                continue
        return found

    def audit(self, report: AcceptedReport, outcome: bytes | None) -> tuple[Case, list[Link]]:
        """Return what was recomputed and the evidence of a report's epoch, with one outcome; None: without any."""
        chain = ContractChain(self._client, self._network)
        manifests = [one.manifest for one in standing_commitments(chain.history(report.epoch))]
        source = OneOutcome(
            network_values(self._network),
            chain,
            self._fetch,
            manifests,
            outcome,
            report.report_hash,
        )
        return audit_epoch(source, report.epoch)

    def _case(
        self, report: AcceptedReport, audited: Case, link: Link, outcomes: Sequence[bytes]
    ) -> Accusation:
        """Write a case down, and return the call that opens it; what was written before a crash counts."""
        signers = self._signers(report)
        # Who gave a right row signs what the rows give, also where a quorum of others made them up.
        accused = _deviating(audited) if link.name == "evaluation" else signers
        value = {
            "version": 1,
            "network": self._network.network,
            "chain_id": self._network.chain_id,
            "disputes": address_text(self._network.contracts.disputes),
            "epoch": report.epoch,
            "report": report.report_hash.hex(),
            "transaction": "0x" + report.tx_hash.hex(),
            "signers": [address_text(one) for one in signers],
            "accused": [address_text(one) for one in accused],
            "link": link.name,
            "finding": link.detail,
            "items": list(link.items),
            "outcomes": [cid_text(one) for one in outcomes],
        }
        name = f"{report.epoch:06d}-{report.report_hash.hex()[:16]}.json"
        path = self._folder / name
        self._folder.mkdir(exist_ok=True)
        if not path.exists():
            write_durably(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
        digest = sha256(read_whole(path))
        url = self._case_url.rstrip("/")
        uri = f"{url}/{name}" if url else f"ipfs://{cid_text(digest)}"
        reason = f"{link.name}: {link.detail}; the case is written in {path}"
        arguments = (report.epoch, digest, uri)
        return Accusation("Disputes", "escalate", arguments, report.epoch, accused, reason)

    def _signers(self, report: AcceptedReport) -> tuple[Address, ...]:
        try:
            return tuple(sorted(signer for signer, _ in self._view.signatures(report)))
        except InvalidInput:  # sent by a contract of somebody's own
            return ()


def _holds(link: Link) -> bool:
    return link.state in {State.HOLDS, State.SEALED}


def _accuses(link: Link) -> bool:
    return link.name in SIGNED and link.state is State.BROKEN


def _deviating(case: Case) -> tuple[Address, ...]:
    """Return the members whose rows are not what the jobs give; nobody where that is sealed."""
    if not hasattr(case, "evaluation"):
        return ()
    own = Row.of(case.header, case.input, case.evaluation).encode()
    return tuple(sorted(Address(member) for member, row in case.rows if row != own))
