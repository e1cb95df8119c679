"""What a verdict of the court proves about complaints: of which epochs, and of which node, the measurement or outcome was wrong.

The event Verdict names an epoch and who is guilty, and no node. The node stands in the accusation, which is the call data
of the verdict's transaction (of a challenge: of the transaction that opened it).

Law: where it cannot be told what an accusation is about, nothing is proved. So equivocation, rulings of the referees and
accusations that came through another contract prove no complaint; all of them are shown as disputes of the epoch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from meridian.contracts.artefact import load
from meridian.errors import InvalidInput, RemoteFault
from meridian.node.chain.contract import Contract, Event
from meridian.node.chain.rpc import ChainClient
from meridian.node.network_file import NetworkFile
from meridian.primitives.ids import ZERO_ADDRESS, NodeKey, parse_address

REORGANISED_MAX: Final = 900
"""Blocks that are read again for verdicts: the longest reorganisation (Filecoin's finality)."""
WITHHELD: Final = 6
MEASURED_OR_PAID: Final = frozenset({1, 2, 3, 4, WITHHELD})
"""Kinds of Verdict that say that an epoch's measurement (1, 2, 3, 6) or outcome (4) was wrong."""
_PAIR: Final = 112
"""Bytes of two inner nodes of a tree, where a leaf's row could stand."""


@dataclass(frozen=True, slots=True)
class Proven:
    """What is proved to have been wrong."""

    epoch: int
    node: NodeKey | None
    """None: what the whole epoch rests on."""


def proven_by(function: str, arguments: Sequence[Any], epoch: int) -> frozenset[Proven]:
    """Return what an accusation that was upheld proves.

    Args:
        function: Of CommitmentProofs, ReportProofs or Disputes.
        arguments: As the ABI orders them.
        epoch: Of the verdict.
    """
    if function == "omission":
        promise, absences = arguments
        return frozenset(Proven(absence[0][0], NodeKey(promise[2])) for absence in absences)
    nodes = _nodes(function, arguments)
    return frozenset(Proven(epoch, node) for node in nodes)


def _nodes(function: str, arguments: Sequence[Any]) -> set[NodeKey | None]:
    if function == "bad_sum":
        content, row = arguments[1], arguments[5][0]
        return {_of_row(row) if row else None if len(content) == _PAIR else _of_row(content)}
    if function == "disorder":
        gap, row = arguments[1], arguments[2][0]
        return {_of_row(row)} if row else {_of_row(gap[0]), _of_row(gap[1])}
    if function == "duplicate":
        return {_of_row(arguments[1][0])}
    if function in {"wrong_reward", "decreased"}:
        return {NodeKey(arguments[3])}
    if function == "bad_claims":
        content = arguments[3]
        return {None if len(content) == _PAIR else NodeKey(content[:32])}
    if function == "disordered_claims":
        gap = arguments[2][1]
        return {NodeKey(gap[0][:32]), NodeKey(gap[1][:32])}
    if (
        function == "challenge" and arguments[2]
    ):  # else it names a place, and nobody has shown whose
        return {_of_row(arguments[2])}
    return set()


def _of_row(row: bytes) -> NodeKey:
    return NodeKey(row[8:40])


class Verdicts:
    """What disputes have proved: the events Verdict of the contract Disputes, and the accusations behind them."""

    def __init__(self, client: ChainClient, network: NetworkFile) -> None:
        at = network.contracts
        self._judges = {
            place: Contract(client, place, load(name))
            for place, name in (
                (at.disputes, "Disputes"),
                (at.commitment_proofs, "CommitmentProofs"),
                (at.report_proofs, "ReportProofs"),
            )
            if place != ZERO_ADDRESS
        }
        self._court = self._judges.get(at.disputes)
        self._next = self._first = network.deploy_block
        self._known: dict[tuple[bytes, int], frozenset[Proven]] = {}

    def new(self) -> frozenset[Proven]:
        """Return what was proved since the last call, and some of what was before; nothing without a court.

        Raises:
            RemoteFault: If the chain does not answer.
        """
        if self._court is None:
            return frozenset()
        head = int(self._court.rpc.call("eth_blockNumber"), 16)
        events = self._court.events("Verdict", min(self._next, head), head)
        self._known = {
            place: self._known[place] if place in self._known else self._proven(event)
            for event in events
            for place in [(event.tx_hash, event.log_index)]
        }
        self._next = max(self._first, head + 1 - REORGANISED_MAX)
        return frozenset().union(*self._known.values())

    def _proven(self, verdict: Event) -> frozenset[Proven]:
        epoch, kind = verdict.args["epoch"], verdict.args["kind"]
        if kind not in MEASURED_OR_PAID:
            return frozenset()
        found: set[Proven] = set()
        for accusation in self._challenges(verdict) if kind == WITHHELD else [verdict]:
            function, arguments = self._call(accusation.tx_hash)
            found |= proven_by(function, arguments, epoch)
        return frozenset(found)

    def _challenges(self, verdict: Event) -> list[Event]:
        """Return where the challenges were opened that this verdict's transaction resolved."""
        court = self._court
        assert court is not None, "a verdict has a court"
        return [
            opened
            for resolved in court.events("Resolved", verdict.block, verdict.block)
            if resolved.tx_hash == verdict.tx_hash and resolved.args["guilty"]
            for opened in court.events(
                "Opened",
                self._first,
                verdict.block,
                where={"challenge_id": resolved.args["challenge_id"]},
            )
        ]

    def _call(self, tx_hash: bytes) -> tuple[str, tuple[Any, ...]]:
        """Return function and arguments of a call of a judge; none where it was called by another contract."""
        assert self._court is not None, "a verdict has a court"
        sent = self._court.rpc.call("eth_getTransactionByHash", "0x" + tx_hash.hex())
        if sent is None:
            raise RemoteFault(f"transaction {tx_hash.hex()} of a dispute is not shown")
        judge = self._judges.get(parse_address(sent["to"])) if sent["to"] else None
        if judge is None:
            return "", ()
        try:
            return judge.decode_call(bytes.fromhex(sent["input"][2:]))
        except InvalidInput:  # bytes behind the arguments, say: the contract took it, we cannot
            return "", ()
