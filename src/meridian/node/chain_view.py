"""The contracts of one network as typed values: what a process reads from the chain, in one place."""

from dataclasses import dataclass, replace
from typing import Any, Final

from meridian.contracts.artefact import load
from meridian.contracts.deployment import Addresses
from meridian.node.chain.contract import Contract, Event
from meridian.node.chain.rpc import ChainClient
from meridian.primitives.ids import ZERO_ADDRESS, Address, NodeKey, parse_address

NO_REPORT: Final = bytes(32)
"""What stands for the report before the first."""


@dataclass(frozen=True, slots=True)
class Commitment:
    """One `Committed` event."""

    epoch: int
    aggregator: Address
    root: bytes
    n_nodes: int
    annotation: bytes
    manifest: bytes
    digest: bytes
    """The epoch's digest after this commitment."""
    tx_hash: bytes
    block: int


@dataclass(frozen=True, slots=True)
class AcceptedReport:
    """One `Reported` event."""

    epoch: int
    report_hash: bytes
    transmitter: Address
    reward_root: bytes
    total_atto: int
    unlock_at_s: int
    previous: bytes
    tx_hash: bytes
    block: int


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

    @property
    def place(self) -> tuple[str, int]:
        """Host and port; port 0, which nobody listens on, where the endpoint names none."""
        host, _, port = self.endpoint.rpartition(":")
        number = int(port) if port.isascii() and port.isdigit() else 0
        return host.strip("[]"), number if number < 1 << 16 else 0


@dataclass(frozen=True, slots=True)
class Claimed:
    """One `Claimed` event."""

    key: NodeKey
    payee: Address
    epoch: int
    amount_atto: int
    cumulative_atto: int
    tx_hash: bytes


def _address(value: Any) -> Address:
    return parse_address(value) if isinstance(value, str) else Address(bytes(value))


class ChainView:
    """Reads of the four contracts; one instance for each thread."""

    def __init__(self, client: ChainClient, contracts: Addresses, from_block: int = 0) -> None:
        self._from_block = from_block
        self.registry = Contract(client, contracts.registry, load("Registry"))
        self.commitments = Contract(client, contracts.commitments, load("Commitments"))
        self.evaluations = Contract(client, contracts.evaluations, load("Evaluations"))
        self.rewards = Contract(client, contracts.rewards, load("Rewards"))

    def _events(self, contract: Contract, name: str, from_block: int | None) -> list[Event]:
        return contract.events(name, self._from_block if from_block is None else from_block)

    def committed(self, from_block: int | None = None) -> list[Commitment]:
        """Return the commitments, oldest first."""
        return [
            Commitment(
                epoch=event.args["epoch"],
                aggregator=_address(event.args["aggregator"]),
                root=bytes(event.args["root"]),
                n_nodes=event.args["n_nodes"],
                annotation=bytes(event.args["annotation"]),
                manifest=bytes(event.args["manifest"]),
                digest=bytes(event.args["digest"]),
                tx_hash=event.tx_hash,
                block=event.block,
            )
            for event in self._events(self.commitments, "Committed", from_block)
        ]

    def reported(self, from_block: int | None = None) -> list[AcceptedReport]:
        """Return the accepted reports in the order of their chain, oldest first."""
        return [
            AcceptedReport(
                epoch=event.args["epoch"],
                report_hash=bytes(event.args["report_hash"]),
                transmitter=_address(event.args["transmitter"]),
                reward_root=bytes(event.args["reward_root"]),
                total_atto=event.args["total"],
                unlock_at_s=event.args["unlock_at"],
                previous=bytes(event.args["previous"]),
                tx_hash=event.tx_hash,
                block=event.block,
            )
            for event in self._events(self.evaluations, "Reported", from_block)
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
        events = self._events(self.registry, "EvaluatorRegistered", from_block)
        events += self._events(self.registry, "EvaluatorLeft", from_block)
        for event in sorted(events, key=lambda event: (event.block, event.log_index)):
            address = _address(event.args["evaluator"])
            if event.name == "EvaluatorRegistered":
                key, endpoint = bytes(event.args["link_key"]), str(event.args["endpoint"])
                known[address] = RegisteredEvaluator(address, key, endpoint, is_active=True)
            elif address in known:
                known[address] = replace(known[address], is_active=False)

    def claims(self, from_block: int | None = None) -> list[Claimed]:
        """Return the payments made, oldest first."""
        return [
            Claimed(
                key=NodeKey(bytes(event.args["node_key"])),
                payee=_address(event.args["payee"]),
                epoch=event.args["epoch"],
                amount_atto=event.args["amount"],
                cumulative_atto=event.args["cumulative"],
                tx_hash=event.tx_hash,
            )
            for event in self._events(self.rewards, "Claimed", from_block)
        ]

    def committee(self, epoch: int) -> tuple[Address, ...]:
        """Return the members of an epoch, ascending; empty while it is not open."""
        return tuple(sorted(_address(item) for item in self.registry.read("committee", epoch)))

    def schedule(self, epoch: int) -> tuple[bytes, bytes]:
        """Return the digests of an epoch's function and parameters."""
        _, function, parameters = self.evaluations.read("schedule", epoch)
        return bytes(function), bytes(parameters)

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
