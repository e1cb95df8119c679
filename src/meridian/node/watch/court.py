"""Accusations become transactions: each is sent once, whatever crashes, and bonds stay below a limit.

The journal of the sender knows what was sent: an accusation is named by the digest of its call, so a watcher that is
started again sends nothing twice. What is not sent becomes a file, which a person may look at and send.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from meridian.contracts.artefact import load
from meridian.disputes.accusation import Accusation
from meridian.errors import Reverted
from meridian.node.accusation_file import file_of
from meridian.node.bonds import Bonds
from meridian.node.chain.contract import Contract
from meridian.node.chain.rpc import ChainClient, RpcError
from meridian.node.chain.sender import Sender
from meridian.node.durable_file import write_durably
from meridian.node.network_file import NetworkFile
from meridian.node.watch.options import WatchOptions
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import Address, address_text
from meridian.primitives.keys import PrivateKey

PROVEN: Final = "proven"
CHALLENGED: Final = "challenged"
ESCALATED: Final = "escalated"
REFUSED: Final = "refused"
DRY: Final = "not sent"
TOO_DEAR: Final = "bond too high"
FULL: Final = "bonds at stake"
UNSENT: Final = "cannot be sent"
ACCEPTED: Final = frozenset({PROVEN, CHALLENGED, ESCALATED})
LATER: Final = frozenset({FULL, UNSENT})
"""What the next round may bring."""
EQUIVOCATION: Final = 5
"""A verdict's kind: two statements where one was allowed (`CommitmentProofs`, `ReportProofs`)."""
WITH_BOND: Final = ("challenge/", "escalate/")
"""How the purposes begin of calls that lock a bond."""
FOLDER: Final = "accusations"
"""Where files of accusations stand in the watcher's directory."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of an accusation."""

    what: str
    """One of the constants of this module."""
    detail: str = ""
    gas: int = 0
    stake_atto: int = 0
    """What was taken from the guilty."""
    file: Path | None = None
    """Where it stands if it was not sent."""
    advice: str = ""
    """What a person can do then."""


class Court:
    """One watcher's way to the contracts that judge.

    Args:
        network: Where they are.
        client: The chain.
        key: Signs, pays and is paid.
        options: The directories, the limit of bonds, and whether anything is sent.
    """

    def __init__(
        self, network: NetworkFile, client: ChainClient, key: PrivateKey, options: WatchOptions
    ) -> None:
        at = network.contracts
        self.disputes = Contract(client, at.disputes, load("Disputes"))
        self._contracts = {
            "Disputes": self.disputes,
            "CommitmentProofs": Contract(client, at.commitment_proofs, load("CommitmentProofs")),
            "ReportProofs": Contract(client, at.report_proofs, load("ReportProofs")),
            "Evaluations": Contract(client, at.evaluations, load("Evaluations")),
        }
        self._network, self._client, self._options = network, client, options
        done = network.finality
        self._sender = Sender(
            client,
            key,
            options.state_dir / "transactions.sqlite",
            confirmations=done.confirmations,
            wait_s=done.wait_s,
        )
        self.bonds = Bonds(self.disputes, network.deploy_block)
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
            Overloaded: The same, if its pool is full.
        """
        call = (accusation.contract, accusation.function, accusation.arguments)
        if self._options.dry_run:
            size = len(self._contracts[call[0]].encode(call[1], *call[2]))
            detail = f"{accusation.contract}.{accusation.function}, {size} bytes"
            return self._filed(accusation, DRY, detail, "it can be sent by hand:")
        value = 0
        if accusation.takes_bond:
            value = int(self.disputes.read("bond"))
            refusal = self._beyond_limit(accusation, value)
            if refusal is not None:
                return refusal
        verdict = self._try(accusation, value)
        if accusation.takes_bond and verdict.what == PROVEN:
            what = ESCALATED if accusation.function == "escalate" else CHALLENGED
            return Verdict(what, verdict.detail, verdict.gas)
        return verdict

    def _try(self, accusation: Accusation, value: int) -> Verdict:
        try:
            return self.call(
                accusation.contract, accusation.function, accusation.arguments, value=value
            )
        except RpcError as refusal:
            # The endpoint has understood and refused: too few coins, mostly. Others may still be accused.
            account = address_text(self.address)
            advice = f"it is sent when {account} has coins; or with another account:"
            return self._filed(accusation, UNSENT, str(refusal), advice)

    def _beyond_limit(self, accusation: Accusation, value: int) -> Verdict | None:
        """Say why an accusation's bond is not put at stake; None if it may be, or is already."""
        limit = self._options.bond_max_atto
        if self._sender.under_way(self._purpose(accusation)) is not None:
            return None
        self.bonds.read()
        if self._is_challenged(accusation) or self._is_escalated(accusation):
            return Verdict(REFUSED, "somebody has brought it already")
        if value > limit:
            detail = f"the bond is {value} atto, --bond-max-atto is {limit}"
            advice = "whoever wants to put the bond at stake sends it:"
            return self._filed(accusation, TOO_DEAR, detail, advice)
        # What was signed and is in no block yet is as good as at stake: a crash may have come between.
        signed = [one for one in self._sender.unsettled() if one.startswith(WITH_BOND)]
        at_stake = value * (self.bonds.count_of(self.address) + len(signed))
        if at_stake + value > limit:
            detail = f"the bond is {value} atto, {at_stake} of at most {limit} are at stake"
            advice = "it is sent when a bond has come back; or sooner:"
            return self._filed(accusation, FULL, detail, advice)
        return None

    def _is_challenged(self, accusation: Accusation) -> bool:
        """Whether somebody has asked for the same row and waits for it."""
        if accusation.function != "challenge":
            return False
        commitment, node, row, _, job = accusation.arguments
        assert isinstance(commitment, tuple)
        wanted = accusation.epoch, commitment[1], node, job, bool(row)
        names = ("node_index", "job_index", "of_job")
        return any(
            (args["epoch"], args["aggregator"], *(args[name] for name in names)) == wanted
            for args in (event.args for event in self.bonds.challenges.values())
        )

    def _is_escalated(self, accusation: Accusation) -> bool:
        """Whether somebody has brought the same case, and it is open or was ruled on."""
        if accusation.function != "escalate":
            return False
        _, digest, _ = accusation.arguments
        cases = [*self.bonds.cases.values(), *(event for event, _ in self.bonds.closed.values())]
        return any(
            (event.args["epoch"], event.args["accusation"]) == (accusation.epoch, digest)
            for event in cases
        )

    def _filed(self, accusation: Accusation, what: str, detail: str, advice: str) -> Verdict:
        """Write the file of an accusation that is not sent, and say how a person sends it."""
        file = file_of(self._client, self._network.network, accusation)
        name = f"{file.epoch:06d}-{file.function}-{sha256(file.calldata).hex()[:16]}.json"
        path = self._options.state_dir / FOLDER / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            write_durably(path, file.encode())
        places = shlex.join(["--data-dir", str(self._options.data_dir), "--file", str(path)])
        command = f"meridian chain dispute send {places} --key KEY"
        return Verdict(what, detail, file=path, advice=f"{advice} {command}")

    def has_slashed(self, aggregator: Address) -> bool:
        """Whether an aggregator's stake was taken for its signatures already; it is taken once."""
        found = self.disputes.events("Verdict", self._first_block, where={"guilty": aggregator})
        return any(event.args["kind"] == EQUIVOCATION for event in found)

    def _purpose(self, accusation: Accusation) -> str:
        target = self._contracts[accusation.contract]
        data = target.encode(accusation.function, *accusation.arguments)
        return _purpose(accusation.function, target.address, data)

    def call(
        self,
        contract: str,
        function: str,
        arguments: tuple[object, ...],
        *,
        value: int = 0,
        again: str = "",
    ) -> Verdict:
        """Call one of the contracts that judge, once.

        Args:
            contract: Its name.
            function: The function's.
            arguments: In the order of the ABI.
            value: The bond, atto.
            again: What makes this wish another than the same call before.
        """
        target = self._contracts[contract]
        data = target.encode(function, *arguments)
        if self._options.dry_run:
            return Verdict(DRY, f"{contract}.{function}, {len(data)} bytes")
        purpose = _purpose(function, target.address, data) + again
        try:
            receipt = self._sender.transact(target.address, data, value, purpose=purpose)
        except Reverted as refusal:
            return Verdict(REFUSED, refusal.reason)
        verdicts = self.disputes.decode("Verdict", receipt.logs)
        stake = sum(event.args["stake"] for event in verdicts)
        return Verdict(PROVEN, receipt.tx_hash.hex(), receipt.gas_used, stake)


def _purpose(function: str, target: Address, data: bytes) -> str:
    return f"{function}/{sha256(target, data).hex()}"
