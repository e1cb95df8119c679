"""Accusations become transactions: each is sent once, whatever crashes, and bonds stay below a limit.

The journal of the sender knows what was sent: an accusation is named by the digest of its call, so a watcher that is
started again sends nothing twice.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from meridian.contracts.artefact import load
from meridian.disputes.accusation import Accusation
from meridian.errors import Reverted
from meridian.node.chain.contract import Contract, Event
from meridian.node.chain.rpc import Rpc
from meridian.node.chain.sender import Sender
from meridian.node.network_file import NetworkFile
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey

PROVEN: Final = "proven"
CHALLENGED: Final = "challenged"
REFUSED: Final = "refused"
DRY: Final = "not sent"
TOO_DEAR: Final = "bond too high"
EQUIVOCATION: Final = 5
"""A verdict's kind: two statements where one was allowed (`CommitmentProofs`, `ReportProofs`)."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of an accusation."""

    what: str
    """One of the constants of this module."""
    detail: str = ""
    gas: int = 0
    stake_atto: int = 0
    """What was taken from the guilty."""


class Court:
    """One watcher's way to the contracts that judge.

    Args:
        network: Where they are.
        rpc: The chain.
        key: Signs, pays and is paid.
        journal: What was sent.
        bond_max_atto: The most that all open bonds may sum up to.
        dry_run: Send nothing.
    """

    def __init__(
        self,
        network: NetworkFile,
        rpc: Rpc,
        key: PrivateKey,
        journal: Path,
        *,
        bond_max_atto: int,
        dry_run: bool,
    ) -> None:
        at = network.contracts
        self.disputes = Contract(rpc, at.disputes, load("Disputes"))
        self._contracts = {
            "Disputes": self.disputes,
            "CommitmentProofs": Contract(rpc, at.commitment_proofs, load("CommitmentProofs")),
            "ReportProofs": Contract(rpc, at.report_proofs, load("ReportProofs")),
            "Evaluations": Contract(rpc, at.evaluations, load("Evaluations")),
        }
        self._sender = Sender(rpc, key, journal)
        self._bond_max_atto, self._dry_run = bond_max_atto, dry_run
        self._first_block = network.deploy_block

    @property
    def address(self) -> Address:
        """The watcher's account."""
        return self._sender.address

    def close(self) -> None:
        """Close the journal."""
        self._sender.close()

    def bring(self, accusation: Accusation) -> Verdict:
        """Send an accusation, or say why not.

        Raises:
            RemoteFault: If the chain cannot be reached; the same accusation may be brought again.
        """
        value = int(self.disputes.read("bond")) if accusation.takes_bond else 0
        at_stake = value * len(self.open_challenges()) if value else 0
        if value and at_stake + value > self._bond_max_atto:
            return Verdict(TOO_DEAR, f"the bond is {value} atto, {at_stake} are at stake already")
        verdict = self.call(
            accusation.contract, accusation.function, accusation.arguments, value=value
        )
        if accusation.takes_bond and verdict.what == PROVEN:
            return Verdict(CHALLENGED, verdict.detail, verdict.gas)
        return verdict

    def has_slashed(self, aggregator: Address) -> bool:
        """Whether an aggregator's stake was taken for its signatures already; it is taken once."""
        found = self.disputes.events("Verdict", self._first_block, where={"guilty": aggregator})
        return any(event.args["kind"] == EQUIVOCATION for event in found)

    def open_challenges(self) -> list[Event]:
        """Return the events of our challenges that are neither answered nor resolved."""
        first = self._first_block
        opened = self.disputes.events("Opened", first, where={"challenger": self.address})
        if not opened:
            return []
        ended = self.disputes.events("Answered", first) + self.disputes.events("Resolved", first)
        gone = {event.args["challenge_id"] for event in ended}
        return [event for event in opened if event.args["challenge_id"] not in gone]

    def call(
        self, contract: str, function: str, arguments: tuple[object, ...], *, value: int = 0
    ) -> Verdict:
        """Call one of the contracts that judge."""
        target = self._contracts[contract]
        data = target.encode(function, *arguments)
        if self._dry_run:
            return Verdict(DRY, f"{contract}.{function}, {len(data)} bytes")
        purpose = f"{function}/{sha256(target.address, data).hex()}"
        try:
            receipt = self._sender.transact(target.address, data, value, purpose=purpose)
        except Reverted as refusal:
            return Verdict(REFUSED, refusal.reason)
        verdicts = self.disputes.decode("Verdict", receipt.logs)
        stake = sum(event.args["stake"] for event in verdicts)
        return Verdict(PROVEN, receipt.tx_hash.hex(), receipt.gas_used, stake)
