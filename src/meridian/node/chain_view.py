"""The contracts of one network as typed values: what a process reads from the chain, in one place."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, TypeVar

from meridian.contracts.artefact import load
from meridian.contracts.deployment import Addresses
from meridian.contracts.events import (
    Claimed,
    Committed,
    EpochOpened,
    NodeRegistered,
    Reported,
    SelfCommitted,
    Voided,
)
from meridian.errors import InvalidInput, RemoteFault
from meridian.node.chain.contract import Contract, Event
from meridian.node.chain.rpc import ChainClient
from meridian.primitives.ids import ZERO_ADDRESS, Address, NodeKey, parse_address
from meridian.primitives.keys import recover

NO_REPORT: Final = bytes(32)
"""What stands for the report before the first."""

E = TypeVar(
    "E",
    bound=Committed | Voided | SelfCommitted | Reported | Claimed | EpochOpened | NodeRegistered,
)


@dataclass(frozen=True, slots=True)
class Commitment(Committed):
    """A commitment and where it stands."""

    tx_hash: bytes
    block: int


@dataclass(frozen=True, slots=True)
class AcceptedReport(Reported):
    """A report and where it stands."""

    tx_hash: bytes
    block: int


@dataclass(frozen=True, slots=True)
class PaidClaim(Claimed):
    """A payment and where it stands."""

    tx_hash: bytes


@dataclass(frozen=True, slots=True)
class OwnCommitment(SelfCommitted):
    """A node's commitment to its own jobs, and where it stands."""

    tx_hash: bytes
    block: int


@dataclass(frozen=True, slots=True)
class EpochCommitments:
    """What stands committed for an epoch."""

    contributions: tuple[Commitment | OwnCommitment, ...] = ()
    """The aggregators' commitments that were not voided and the nodes' own, in the order of their events."""
    digest: bytes = bytes(32)
    """The epoch's digest after everything that happened: what a report must name."""

    @property
    def standing(self) -> tuple[Commitment, ...]:
        """The aggregators' commitments that were not voided, oldest first."""
        return tuple(one for one in self.contributions if isinstance(one, Commitment))

    @property
    def own(self) -> tuple[OwnCommitment, ...]:
        """The nodes' own commitments, oldest first."""
        return tuple(one for one in self.contributions if isinstance(one, OwnCommitment))

    @property
    def evaluated(self) -> Commitment | None:
        """The newest commitment, with the digest that reports name; None: the epoch waits.

        It stands for the epoch; what is evaluated is all of `contributions`.
        """
        return replace(self.standing[-1], digest=self.digest) if self.standing else None


@dataclass(frozen=True, slots=True)
class RegisteredNode:
    """One `NodeRegistered` event."""

    key: NodeKey
    operator: Address
    payee: Address


@dataclass(frozen=True, slots=True)
class RegisteredEvaluator:
    """An evaluator's latest registration: one `EvaluatorRegistered` event, and whether it has left since."""

    address: Address
    link_key: bytes
    endpoint: str
    """Where its peers reach it: ``host:port``, as it registered it."""
    is_active: bool
    is_slashed: bool = False
    """Its stake is gone and it is a member of nothing to come, for good."""

    @property
    def place(self) -> tuple[str, int]:
        """Host and port; port 0, which nobody listens on, where the endpoint names none."""
        host, _, port = self.endpoint.rpartition(":")
        number = int(port) if port.isascii() and port.isdigit() else 0
        return host.strip("[]"), number if number < 1 << 16 else 0


def _address(value: Any) -> Address:
    return parse_address(value) if isinstance(value, str) else Address(bytes(value))


def event_value(kind: type[E], event: Event) -> E:
    """Return an event as a value whose fields are named as in the contract; ``tx_hash`` and ``block`` are its place."""
    known = {**event.args, "tx_hash": event.tx_hash, "block": event.block}
    return kind(**{field.name: known[field.name] for field in fields(kind)})


class ChainView:
    """Reads of the four core contracts; one instance for each thread."""

    def __init__(self, client: ChainClient, contracts: Addresses, from_block: int = 0) -> None:
        self._from_block = from_block
        self.to_block: int | str = "latest"
        """The last block whose events are read."""
        self.registry = Contract(client, contracts.registry, load("Registry"))
        self.commitments = Contract(client, contracts.commitments, load("Commitments"))
        self.evaluations = Contract(client, contracts.evaluations, load("Evaluations"))
        self.rewards = Contract(client, contracts.rewards, load("Rewards"))

    def _events(self, contract: Contract, name: str, from_block: int | None) -> list[Event]:
        first = self._from_block if from_block is None else from_block
        return contract.events(name, first, self.to_block)

    def until(self, block: int) -> "ChainView":
        """Return the same view with the events up to a block only."""
        bounded = copy.copy(self)
        bounded.to_block = block
        return bounded

    def _in_order(
        self, contract: Contract, names: Sequence[str], from_block: int | None
    ) -> list[Event]:
        """Return events of several kinds in the order in which they happened."""
        found = [event for name in names for event in self._events(contract, name, from_block)]
        return sorted(found, key=lambda event: (event.block, event.log_index))

    def committed(self, from_block: int | None = None) -> list[Commitment]:
        """Return all commitments, oldest first, also those that were voided."""
        return [
            event_value(Commitment, event)
            for event in self._events(self.commitments, "Committed", from_block)
        ]

    def follow_commitments(
        self, known: dict[int, EpochCommitments], from_block: int | None = None
    ) -> None:
        """Bring what is known of each epoch's commitments up to date with what happened since a block.

        Blocks that were read before may be read again.
        """
        names = ("Committed", "Voided", "SelfCommitted")
        for event in self._in_order(self.commitments, names, from_block):
            number, digest = event.args["epoch"], bytes(event.args["digest"])
            standing = known.get(number, EpochCommitments()).contributions
            if event.name == "Voided":
                gone = _address(event.args["aggregator"]), bytes(event.args["root"])
                standing = tuple(
                    one
                    for one in standing
                    if isinstance(one, OwnCommitment) or (one.aggregator, one.root) != gone
                )
            else:
                made: Commitment | OwnCommitment = (
                    event_value(Commitment, event)
                    if event.name == "Committed"
                    else event_value(OwnCommitment, event)
                )
                if made not in standing:
                    standing = (*standing, made)
            known[number] = EpochCommitments(standing, digest)

    def standing(self, from_block: int | None = None) -> dict[int, Commitment]:
        """Return, for each epoch that has one, the commitment that evaluators work on."""
        known: dict[int, EpochCommitments] = {}
        self.follow_commitments(known, from_block)
        return {
            epoch: one.evaluated
            for epoch, one in sorted(known.items())
            if one.evaluated is not None
        }

    def reported(self, from_block: int | None = None) -> list[AcceptedReport]:
        """Return the accepted reports that were not voided, in the order of their chain, oldest first."""
        known: list[AcceptedReport] = []
        self.follow_reports(known, from_block)
        return known

    def follow_reports(self, known: list[AcceptedReport], from_block: int | None = None) -> None:
        """Bring the chain of reports up to date with what happened since a block.

        Blocks that were read before may be read again.
        """
        for event in self._in_order(self.evaluations, ("Reported", "ReportVoided"), from_block):
            if event.name == "Reported":
                report = event_value(AcceptedReport, event)
                if report not in known:
                    known.append(report)
            else:
                gone = event.args["epoch"], bytes(event.args["report_hash"])
                known[:] = [one for one in known if (one.epoch, one.report_hash) != gone]

    def abandoned(self, from_block: int | None = None) -> set[int]:
        """Return the epochs that were closed without a report, for good."""
        events = self._in_order(self.evaluations, ("Abandoned",), from_block)
        return {event.args["epoch"] for event in events}

    def term(self, block: int | None = None) -> int:
        """Return how many times anything was voided or renewed, when `block` had been mined or now."""
        return int(self.evaluations.read("term", block="latest" if block is None else block))

    def history(self, epoch: int) -> list[Event]:
        """Return the events Committed, Voided and SelfCommitted of an epoch, in their order."""
        names = ("Committed", "Voided", "SelfCommitted")
        found = [
            event
            for name in names
            for event in self.commitments.events(name, self._from_block, where={"epoch": epoch})
        ]
        return sorted(found, key=lambda event: (event.block, event.log_index))

    def voided_reports(self, epoch: int) -> list[bytes]:
        """Return the hashes of reports of an epoch that were accepted and voided."""
        return [
            bytes(event.args["report_hash"])
            for event in self._in_order(self.evaluations, ("ReportVoided",), None)
            if event.args["epoch"] == epoch
        ]

    def registrations(self, from_block: int | None = None) -> list[RegisteredNode]:
        """Return all registrations of nodes, oldest first; a node that left may register again."""
        return [
            RegisteredNode(
                NodeKey(bytes(event.args["node_key"])),
                _address(event.args["operator"]),
                _address(event.args["payee"]),
            )
            for event in self._events(self.registry, "NodeRegistered", from_block)
        ]

    def nodes(self, from_block: int | None = None) -> dict[NodeKey, RegisteredNode]:
        """Return every node that ever registered, by key, with its latest registration."""
        return {node.key: node for node in self.registrations(from_block)}

    def follow_evaluators(
        self, known: dict[Address, RegisteredEvaluator], from_block: int | None = None
    ) -> None:
        """Bring what is known of evaluators up to date with what happened since a block."""
        names = ("EvaluatorRegistered", "EvaluatorLeft", "Slashed")
        for event in self._in_order(self.registry, names, from_block):
            slashed = event.name == "Slashed"
            address = _address(event.args["account" if slashed else "evaluator"])
            if event.name == "EvaluatorRegistered":
                key, endpoint = bytes(event.args["link_key"]), str(event.args["endpoint"])
                known[address] = RegisteredEvaluator(address, key, endpoint, is_active=True)
            elif address in known:
                was_slashed = known[address].is_slashed
                known[address] = replace(
                    known[address], is_active=False, is_slashed=slashed or was_slashed
                )

    def claims(self, from_block: int | None = None) -> list[PaidClaim]:
        """Return the payments made, oldest first."""
        found = self._events(self.rewards, "Claimed", from_block)
        return [event_value(PaidClaim, event) for event in found]

    def committee(self, epoch: int) -> tuple[Address, ...]:
        """Return the members of an epoch, ascending; empty while it is not open."""
        return tuple(sorted(_address(item) for item in self.registry.read("committee", epoch)))

    def schedule(self, epoch: int) -> tuple[bytes, bytes]:
        """Return the digests of an epoch's function and parameters."""
        _, function, parameters = self.evaluations.read("schedule", epoch)
        return bytes(function), bytes(parameters)

    def rule(self, epoch: int) -> int:
        """Return how the contracts recompute a node's weight in an epoch; 0: not at all."""
        return self.pay_terms(epoch)[0]

    def pay_terms(self, epoch: int) -> tuple[int, int, int]:
        """Return an epoch's rule, and the evaluators' and the aggregators' shares of its budget in millionths."""
        rule, evaluators_ppm, aggregators_ppm, *_ = self.evaluations.read("terms", epoch)
        return int(rule), int(evaluators_ppm), int(aggregators_ppm)

    def aggregators(self) -> tuple[Address, ...]:
        """Return the accounts that may commit."""
        return tuple(_address(item) for item in self.commitments.read("aggregators"))

    def head(self) -> int:
        """Return the number of the newest block."""
        return int(self.registry.rpc.call("eth_blockNumber"), 16)

    def signatures(self, report: AcceptedReport) -> list[tuple[Address, bytes]]:
        """Return the signatures in the transaction that brought a report, ascending by signer.

        Raises:
            InvalidInput: If the report did not come by a plain call of ``submit``: anybody may have it sent by a
                contract of his own, and what that was called with says nothing of the signatures.
            RemoteFault: If the endpoint does not show the transaction (now).
        """
        transaction = self.evaluations.rpc.call(
            "eth_getTransactionByHash", "0x" + report.tx_hash.hex()
        )
        if transaction is None:
            raise RemoteFault(f"transaction {report.tx_hash.hex()} of a report is not shown")
        target = transaction["to"]
        if target is None or parse_address(target) != self.evaluations.address:
            raise InvalidInput("transaction", "does not call Evaluations itself")
        name, arguments = self.evaluations.decode_call(bytes.fromhex(transaction["input"][2:]))
        if name != "submit":
            raise InvalidInput("transaction", f"calls {name}, not submit")
        signatures = [r.to_bytes(32, "big") + vs.to_bytes(32, "big") for r, vs in arguments[2]]
        return [(recover(report.report_hash, signature), signature) for signature in signatures]

    def ready_at_s(self, epoch: int) -> int:
        """Return when an epoch's commitments are complete: no report is accepted before."""
        return int(self.evaluations.read("ready_at", epoch))

    def budget_atto(self, epoch: int, block: int) -> int:
        """Return what was funded for an epoch when `block` had been mined.

        Evaluators read it at the block of the commitment: funds that come later must not make two of them, who look
        at different moments, sign different reports.
        """
        return int(self.rewards.read("budget", epoch, block=block))

    def last_report(self) -> bytes:
        """Return the digest of the report accepted last, or `NO_REPORT`."""
        return bytes(self.evaluations.read("last_report"))

    def is_reported(self, epoch: int) -> bool:
        """Tell whether a report of the epoch was accepted."""
        return _address(self.evaluations.read("report", epoch)[4]) != ZERO_ADDRESS

    def is_unlocked(self, epoch: int) -> bool:
        """Tell whether the window of the epoch's report is over, so that claims against it are paid."""
        return bool(self.evaluations.read("unlocked", epoch))
