"""The chain as an auditor sees it: the contracts' state and events as the plain values of `audit.source`."""

from collections.abc import Mapping
from typing import Any, Final

from meridian.audit import source as plain
from meridian.contracts.artefact import JUDGES
from meridian.contracts.events import (
    Claimed,
    Committed,
    EpochOpened,
    Reported,
    SelfCommitted,
    Voided,
)
from meridian.errors import Reverted
from meridian.node.chain.contract import Contract, Event
from meridian.node.chain.rpc import ChainClient
from meridian.node.chain_status import read_status
from meridian.node.chain_view import ChainView, event_value
from meridian.node.deployment_file import Deployment
from meridian.node.network_file import NetworkFile
from meridian.primitives.ids import ZERO_ADDRESS, Address, NodeKey
from meridian.reward.members import PayTerms

CHANGES: Final[Mapping[str, type[Committed | Voided | SelfCommitted]]] = {
    kind.__name__: kind for kind in (Committed, Voided, SelfCommitted)
}
"""What changes an epoch's commitments, by the event's name."""


class ContractChain:
    """The chain through its contracts, as plain values; events are read once."""

    def __init__(self, client: ChainClient, network: NetworkFile) -> None:
        self._client = client
        self._network = network
        self._view = ChainView(client, network.contracts, network.deploy_block)
        self._reported: list[Reported] | None = None
        self._claims: list[Claimed] | None = None

    def status(self, last_epochs: int) -> dict[str, Any]:
        """Return what stands there now, with the newest epochs (`chain_status.read_status`)."""
        known = self._network
        deployment = Deployment(
            network=known.network,
            chain_id=known.chain_id,
            rpc_url=known.rpc_url,
            contracts=known.contracts,
            deploy_block=known.deploy_block,
        )
        return read_status(self._client, deployment, last_epochs)

    def deployment(self) -> plain.Deployment:
        """Return what the contracts say about themselves."""
        view = self._view
        contracts = {
            "Registry": view.registry,
            "Commitments": view.commitments,
            "Evaluations": view.evaluations,
            "Rewards": view.rewards,
        }
        code = {name: self._code(contract.address) for name, contract in contracts.items()}
        at = self._network.contracts
        judges = (at.disputes, at.commitment_proofs, at.report_proofs, at.referees)
        for name, address in zip(JUDGES, judges, strict=True):
            if address != ZERO_ADDRESS:
                code[name] = self._code(address)
        if not all(code.values()):  # no contract, no answers: the audit says which is missing
            return plain.Deployment(
                chain_id=int(self._client.call("eth_chainId"), 16),
                code=code,
                wiring={},
                network_id=b"",
                genesis_s=0,
                epoch_seconds=0,
                first_epoch=0,
                aggregators=(),
            )
        return plain.Deployment(
            chain_id=int(self._client.call("eth_chainId"), 16),
            code=code,
            wiring=_wiring(contracts),
            network_id=bytes(view.registry.read("network")),
            genesis_s=view.registry.read("genesis"),
            epoch_seconds=view.registry.read("epoch_seconds"),
            first_epoch=view.registry.read("first_epoch"),
            aggregators=tuple(view.commitments.read("aggregators")),
        )

    def _code(self, address: Address) -> bytes:
        return bytes.fromhex(self._client.call("eth_getCode", "0x" + address.hex(), "latest")[2:])

    def opened(self, epoch: int) -> EpochOpened | None:
        """Return the event that fixed the epoch's members, the last one where they were renewed, or None."""
        contract, first = self._view.registry, self._network.deploy_block
        found = contract.events("EpochOpened", first, where={"epoch": epoch})
        if not found:
            return None
        return event_value(EpochOpened, found[-1])

    def committee(self, epoch: int) -> tuple[Address, ...]:
        """Return the members in the Registry's order; empty while the epoch is not open."""
        try:
            return tuple(self._view.registry.read("committee", epoch))
        except Reverted:
            return ()

    def term(self, epoch: int) -> int:
        """Return the term in which the epoch's report was accepted; the present one without a report."""
        reports = [item for item in self._view.reported() if item.epoch == epoch]
        return self._view.term(reports[-1].block - 1 if reports else None)

    def history(self, epoch: int) -> list[Committed | Voided | SelfCommitted]:
        """Return everything that was committed and voided of the epoch, in its order."""
        return [event_value(CHANGES[event.name], event) for event in self._view.history(epoch)]

    def voided_reports(self, epoch: int) -> list[bytes]:
        """Return the hashes of reports of the epoch that were accepted and voided."""
        return self._view.voided_reports(epoch)

    def payees(self, epoch: int) -> dict[NodeKey, list[Address]]:
        """Return the accounts that each node had registered when last anything was committed to the epoch."""
        history = self._view.history(epoch)
        gone = {
            (event.args["aggregator"], event.args["root"])
            for event in history
            if event.name == "Voided"
        }
        blocks = [
            event.block
            for event in history
            if event.name == "SelfCommitted"
            or (
                event.name == "Committed"
                and (event.args["aggregator"], event.args["root"]) not in gone
            )
        ]
        found: dict[NodeKey, list[Address]] = {}
        for node in self._view.until(max(blocks, default=0)).registrations():
            found.setdefault(node.key, []).append(node.payee)
        return found

    def commitments(self, epoch: int) -> list[Committed]:
        """Return the epoch's commitments."""
        return [event_value(Committed, event) for event in self._committed(epoch)]

    def _committed(self, epoch: int) -> list[Event]:
        contract, first = self._view.commitments, self._network.deploy_block
        return contract.events("Committed", first, where={"epoch": epoch})

    def epoch_digest(self, epoch: int) -> bytes:
        """Return the digest over the epoch's commitments."""
        return bytes(self._view.commitments.read("epoch_digest", epoch))

    def schedule(self, epoch: int) -> plain.Schedule:
        """Return the function and parameters of an epoch."""
        version, function, parameters = self._view.evaluations.read("schedule", epoch)
        return plain.Schedule(version, bytes(function), bytes(parameters))

    def reports(self) -> list[Reported]:
        """Return all accepted reports, oldest first."""
        if self._reported is None:
            self._reported = list(self._view.reported())
        return self._reported

    def report(self, epoch: int) -> plain.StoredReport | None:
        """Return the stored report of an epoch, or None."""
        digest, reward_root, total, unlock_at, transmitter = self._view.evaluations.read(
            "report", epoch
        )
        if not any(digest):
            return None
        return plain.StoredReport(digest, reward_root, total, unlock_at, transmitter)

    def unlocked(self, epoch: int) -> bool:
        """Return whether claims against the epoch's report are payable now."""
        return bool(self._view.evaluations.read("unlocked", epoch))

    def budget(self, epoch: int) -> int:
        """Return what sponsors had given for the epoch when it was committed, in atto; that is what is split."""
        blocks = [event.block for event in self._committed(epoch)]
        return self._view.budget_atto(epoch, max(blocks)) if blocks else 0

    def pay(self, epoch: int) -> PayTerms:
        """Return the shares of the epoch's budget that evaluators and aggregators get themselves."""
        return PayTerms(*self._view.pay_terms(epoch)[1:])

    def claims(self) -> list[Claimed]:
        """Return all paid claims, oldest first."""
        if self._claims is None:
            found = self._view.rewards.events("Claimed", self._network.deploy_block)
            self._claims = [event_value(Claimed, event) for event in found]
        return self._claims

    def claimed(self, node_key: bytes) -> int:
        """Return the sum paid to a node so far, in atto."""
        return int(self._view.rewards.read("claimed", node_key))

    def total_funded(self) -> int:
        """Return the sum of all funds given, in atto."""
        return int(self._view.rewards.read("total_funded"))

    def total_claimed(self) -> int:
        """Return the sum of all paid claims, in atto."""
        return int(self._view.rewards.read("total_claimed"))


def _wiring(contracts: Mapping[str, Contract]) -> dict[str, Address]:
    names = (
        ("Registry", "evaluations"),
        ("Registry", "disputes"),
        ("Commitments", "registry"),
        ("Commitments", "disputes"),
        ("Evaluations", "registry"),
        ("Evaluations", "commitments"),
        ("Evaluations", "rewards"),
        ("Evaluations", "disputes"),
        ("Rewards", "registry"),
        ("Rewards", "evaluations"),
        ("Rewards", "disputes"),
    )
    return {f"{name}.{field}": contracts[name].read(field) for name, field in names}
