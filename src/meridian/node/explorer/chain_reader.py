"""Reads a network's events as `meridian.explorer.chain_history` wants them; what was read is not read again.

A chain that has forgotten the last block that was read is read from the beginning.
"""

import contextlib
import time
from collections.abc import Iterable
from typing import Any, Final

from meridian.contracts.artefact import load
from meridian.errors import InvalidInput, MeridianError
from meridian.explorer.chain_history import ChainFacts, EpochChain, Happened
from meridian.explorer.epoch_page import Asked
from meridian.node.chain.contract import Contract, Event
from meridian.node.chain.rpc import Rpc, RpcError
from meridian.node.chain_view import AcceptedReport, ChainView
from meridian.node.network_file import NetworkFile
from meridian.primitives.ids import ZERO_ADDRESS, Address, address_text, parse_address

CLAIM_TRANSACTIONS_MAX: Final = 256
"""Of an epoch with more claims than that, the gas of the claims is not summed up."""
STILL_S: Final = 24 * 3600
"""A chain without blocks for so long does not run any more: its time is that of its last block."""
HELD_MAX: Final = 64
"""So many of the newest reports are asked for a longer window, where anything was ever held back."""

_NAMES: Final = {
    "registry": (
        "EpochOpened",
        "NodeRegistered",
        "EvaluatorRegistered",
        "EvaluatorLeft",
        "Slashed",
    ),
    "commitments": ("Committed", "Voided", "SelfCommitted"),
    "evaluations": ("Reported", "ReportVoided", "Abandoned"),
    "rewards": ("Funded", "Claimed", "Held"),
    "disputes": ("Verdict", "Opened", "Answered", "Resolved", "Escalated", "Ruled"),
}


class ChainReader:
    """One network's chain through one endpoint.

    Args:
        rpc: The endpoint.
        network: Where the contracts are.
    """

    def __init__(self, rpc: Rpc, network: NetworkFile) -> None:
        self._rpc, self._network = rpc, network
        self._view = ChainView(rpc, network.contracts, network.deploy_block)
        self._contracts = {
            "registry": self._view.registry,
            "commitments": self._view.commitments,
            "evaluations": self._view.evaluations,
            "rewards": self._view.rewards,
        }
        if network.contracts.disputes != ZERO_ADDRESS:
            place = network.contracts.disputes
            self._contracts["disputes"] = Contract(rpc, place, load("Disputes"))
        self._forget()

    def _forget(self) -> None:
        self._events: dict[str, list[Happened]] = {}
        self._read_through = self._network.deploy_block - 1
        self._last_hash: str | None = None
        self._held: dict[int, int] = {}
        self._stakes: dict[Address, int] = {}

    def read(self) -> ChainFacts:
        """Return the chain as it is now.

        Raises:
            RemoteFault: If the endpoint fails.
        """
        if self._last_hash is not None:
            block = self._rpc.call("eth_getBlockByNumber", hex(self._read_through), False)
            if block is None or block["hash"] != self._last_hash:
                self._forget()
        head = self._rpc.call("eth_getBlockByNumber", "latest", False)
        number = int(head["number"], 16)
        if number > self._read_through:
            for name, contract in self._contracts.items():
                for kind in _NAMES[name]:
                    found = contract.events(kind, self._read_through + 1, number)
                    self._events.setdefault(kind, []).extend(_happened(one) for one in found)
            self._read_through, self._last_hash = number, head["hash"]
            self._held, self._stakes = self._read_held(), self._read_stakes()
        return ChainFacts(
            now_s=_now_s(int(head["timestamp"], 16)),
            block=number,
            events={name: tuple(events) for name, events in self._events.items()},
            unlock_at_s=self._held,
            stakes=self._stakes,
        )

    def _read_held(self) -> dict[int, int]:
        if not self._events.get("Held"):
            return {}
        newest = self._events.get("Reported", [])[-HELD_MAX:]
        epochs = {event.args["epoch"] for event in newest}
        read = self._view.evaluations.read
        return {epoch: int(read("report", epoch)[3]) for epoch in sorted(epochs)}

    def _read_stakes(self) -> dict[Address, int]:
        known = {event.args["evaluator"] for event in self._events.get("EvaluatorRegistered", [])}
        read = self._view.registry.read
        return {address: int(read("evaluator", address)[0]) for address in sorted(known)}

    def asked(self, chain: EpochChain) -> Asked:
        """Return what an epoch's page wants to know of transactions.

        Raises:
            RemoteFault: If the endpoint fails.
        """
        events = [event for event, _ in (*chain.committed, *chain.reports)]
        events += [*chain.own, *chain.disputes]
        if chain.opened is not None:
            events.append(chain.opened)
        claims = {event.tx_hash for event in chain.claims}
        wanted = {event.tx_hash for event in events}
        if len(claims) <= CLAIM_TRANSACTIONS_MAX:
            wanted |= claims
        signers = {event.args["report_hash"]: self._signers(event) for event, _ in chain.reports}
        return Asked(transactions=self._transactions(sorted(wanted)), signers=signers)

    def _signers(self, event: Happened) -> list[Address]:
        names = AcceptedReport.__dataclass_fields__
        values = {name: event.args[name] for name in names if name in event.args}
        report = AcceptedReport(tx_hash=event.tx_hash, block=event.block, **values)
        with contextlib.suppress(InvalidInput):  # sent through a contract of somebody's own
            return [signer for signer, _ in self._view.signatures(report)]
        return []

    def _transactions(self, hashes: Iterable[bytes]) -> dict[bytes, dict[str, Any]]:
        wanted = list(hashes)
        texts = ["0x" + one.hex() for one in wanted]
        receipts = self._rpc.batch([("eth_getTransactionReceipt", [text]) for text in texts])
        shown = [one for one in receipts if isinstance(one, dict)]
        numbers = sorted({one["blockNumber"] for one in shown})
        blocks = self._rpc.batch([("eth_getBlockByNumber", [one, False]) for one in numbers])
        times = {
            number: int(block["timestamp"], 16)
            for number, block in zip(numbers, blocks, strict=True)
            if isinstance(block, dict)
        }
        found = {}
        for digest, receipt in zip(wanted, receipts, strict=True):
            if isinstance(receipt, RpcError) or not receipt or receipt["blockNumber"] not in times:
                continue  # an endpoint that has forgotten old transactions: the page does without
            found[digest] = {
                "hash": digest.hex(),
                "block": int(receipt["blockNumber"], 16),
                "gas": int(receipt["gasUsed"], 16),
                "atS": times[receipt["blockNumber"]],
                "from": address_text(parse_address(receipt["from"])),
            }
        return found

    def committee(self, epoch: int) -> tuple[Address, ...]:
        """Return the members of an epoch, ascending; empty while it is not open."""
        with contextlib.suppress(MeridianError):
            return self._view.committee(epoch)
        return ()

    def schedule(self, epoch: int) -> tuple[bytes, bytes]:
        """Return the digests of an epoch's function and parameters."""
        return self._view.schedule(epoch)


def _now_s(block_s: int) -> int:
    """Return the second in which the next block would stand; a chain that has been still for long has its own time."""
    clock_s = int(time.time())
    return clock_s if block_s <= clock_s <= block_s + STILL_S else block_s


def _happened(event: Event) -> Happened:
    return Happened(event.name, event.args, event.block, event.tx_hash, event.log_index)
