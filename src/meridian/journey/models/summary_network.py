"""The summary model's contract as its parties use it: every step looks at the chain and sends only what is missing."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from meridian.contracts.artefact import load
from meridian.contracts.calldata import NodeRegistration
from meridian.contracts.statements import RegisterNode
from meridian.errors import Reverted
from meridian.journey.claiming import succeeded
from meridian.models.summary import PAID, PER_CALL, VOIDED, SignedSummary, Summary, Terms
from meridian.models.summary_sampling import chosen
from meridian.node.chain.contract import Contract
from meridian.node.chain.rpc import ChainClient
from meridian.node.chain.sender import Sender
from meridian.node.chain.signing import Call
from meridian.primitives.eip712 import Domain
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import ZERO_ADDRESS, Address, NodeKey, node_key
from meridian.primitives.keys import PrivateKey

_NEVER: Final = (1 << 64) - 1
_NO_RECORD: Final = bytes(32)

Progress = Callable[[int, int], None]
Purpose = tuple[str, Call]


class EpochState(NamedTuple):
    """What ``epoch_state`` says."""

    opened_at: int
    closed_at: int
    """When it takes no more summaries, Unix seconds; 0 where there is none yet."""
    summaries: int
    challenges: int
    """Those that are open."""
    weight: int
    funds_atto: int


class ChallengeState(NamedTuple):
    """What ``challenge_state`` says."""

    over: bool
    block: int
    deadline_s: int
    seed: bytes


class SummaryNetwork:
    """One deployed contract.

    Args:
        client: The chain.
        chain_id: Its id.
        address: The contract.
        name: Of its artefact.
        terms: What it is deployed with.
    """

    def __init__(
        self, client: ChainClient, chain_id: int, address: Address, name: str, terms: Terms
    ) -> None:
        self.client = client
        self.name = name
        self.terms = terms
        self.contract = Contract(client, address, load(name))
        self.domain = Domain(chain_id, address)

    @property
    def address(self) -> Address:
        """The contract's."""
        return self.contract.address

    # -- what stands on the chain -------------------------------------------------------------------------------------

    def epoch(self, epoch: int) -> EpochState:
        """Return how far an epoch is."""
        return EpochState(*self.contract.read("epoch_state", epoch))

    def challenge_of(self, epoch: int, node: NodeKey, challenger: Address) -> ChallengeState:
        """Return how far a challenge is."""
        return ChallengeState(*self.contract.read("challenge_state", epoch, node, challenger))

    def record(self, epoch: int, node: NodeKey) -> bytes:
        """Return what the contract keeps of a node's summary, 32 bytes; zeros where there is none."""
        return bytes(self.contract.read("record", epoch, node))

    def stands(self, epoch: int, node: NodeKey) -> bool:
        """Whether a node has a summary that counts, paid or not."""
        return self.record(epoch, node) not in {_NO_RECORD, VOIDED}

    # -- nodes and money ----------------------------------------------------------------------------------------------

    def register(
        self,
        relayer: Sender,
        nodes: Mapping[str, tuple[PrivateKey, Address]],
        progress: Progress,
    ) -> None:
        """Register the nodes that are not registered yet, each with the least stake, which the relayer advances.

        Args:
            relayer: Pays.
            nodes: Node id -> its operator's key, and its payee.
            progress: Called with (registered, all).
        """
        missing = [
            node_id
            for node_id in nodes
            if self.contract.read("node", node_key(node_id))[0] == ZERO_ADDRESS
        ]
        calls: list[Purpose] = []
        stake = self.terms.stake_min_atto
        for group in _groups(missing):
            entries = [self._registration(node_id, *nodes[node_id]).arguments for node_id in group]
            data = self.contract.encode("register_nodes", entries)
            tag = sha256("\n".join(group).encode()).hex()[:16]
            calls.append((f"register/{tag}", Call(self.address, data, stake * len(group))))
        self._send(relayer, calls)
        progress(len(nodes), len(nodes))

    def _registration(self, node_id: str, key: PrivateKey, payee: Address) -> NodeRegistration:
        says = RegisterNode(self.terms.network, node_key(node_id), key.address, payee, 0, _NEVER)
        return NodeRegistration(says, key.sign(says.digest(self.domain)))

    def fund(self, sponsor: Sender, epoch: int, atto: int) -> None:
        """Fund an epoch, once."""
        if atto:
            data = self.contract.encode("fund", epoch)
            sponsor.transact(self.address, data, atto, purpose=f"fund/{epoch}")

    # -- summaries ----------------------------------------------------------------------------------------------------

    def sign(self, key: PrivateKey, epoch: int, node: NodeKey, summary: Summary) -> SignedSummary:
        """Return a summary that a node's operator has signed for a relay."""
        return SignedSummary.sign(key, self.domain, self.terms.network, epoch, node, summary)

    def relay(self, relayer: Sender, epoch: int, entries: Sequence[SignedSummary]) -> None:
        """Send signed summaries, many in a transaction."""
        missing = [one for one in entries if self.record(epoch, one.node_key) == _NO_RECORD]
        calls: list[Purpose] = []
        for group in _groups(missing):
            data = self.contract.encode("commit_many", epoch, [one.words for one in group])
            tag = sha256(*(one.node_key for one in group)).hex()[:16]
            calls.append((f"commit-many/{epoch}/{tag}", Call(self.address, data, 0)))
        self._send(relayer, calls)

    def commit(self, sender: Sender, epoch: int, node: NodeKey, summary: Summary) -> bytes | None:
        """Send a node's summary by its own account; returns the transaction's hash, None if it stands already."""
        if self.record(epoch, node) != _NO_RECORD:
            return None
        data = self.contract.encode("commit", epoch, node, summary.words)
        return sender.submit(self.address, data, purpose=f"commit/{epoch}")

    # -- challenges ---------------------------------------------------------------------------------------------------

    def choose(self, epoch: int, summaries: Mapping[NodeKey, Summary], count: int) -> list[NodeKey]:
        """Return the nodes that are to be challenged: the hash of the block of the last summary picks them."""
        events = self.contract.events("Summarised", where={"epoch": epoch})
        block = self.client.call("eth_getBlockByNumber", hex(events[-1].block), False)
        weighty = [node for node, one in summaries.items() if one.weight]
        return chosen(bytes.fromhex(block["hash"][2:]), list(weighty), count)

    def challenge(
        self, challenger: Sender, epoch: int, summaries: Mapping[NodeKey, Summary]
    ) -> list[NodeKey]:
        """Challenge some nodes, unless that was done, or it is too late; returns those that are challenged."""
        calls: dict[NodeKey, Purpose] = {}
        asked: list[NodeKey] = []
        for node, summary in summaries.items():
            state = self.challenge_of(epoch, node, challenger.address)
            if state.over or state.block:
                asked.append(node)
                continue
            data = self.contract.encode("challenge", epoch, node, summary.words)
            purpose = f"challenge/{epoch}/{node.hex()}"
            calls[node] = (purpose, Call(self.address, data, self.terms.bond_atto))
        answers = challenger.submit_many(list(calls.values()))
        sent = {
            node: answer
            for node, answer in zip(calls, answers, strict=True)
            if not isinstance(answer, Reverted)
        }
        for node, receipt in zip(sent, challenger.wait_all(list(sent.values())), strict=True):
            if receipt.status:
                asked.append(node)
        return asked

    def draw(
        self, sender: Sender, epoch: int, nodes: Sequence[NodeKey], challenger: Address
    ) -> None:
        """Fetch the points of challenges that have none yet."""
        calls: list[Purpose] = []
        for node in nodes:
            state = self.challenge_of(epoch, node, challenger)
            if state.over or state.seed != bytes(32):
                continue
            data = self.contract.encode("draw", epoch, node, challenger)
            purpose = f"draw/{epoch}/{node.hex()}/{challenger.hex()}/{state.block}"
            calls.append((purpose, Call(self.address, data, 0)))
        self._send(sender, calls)

    def answer(
        self,
        sender: Sender,
        epoch: int,
        node: NodeKey,
        challenger: Address,
        summary: Summary,
        shown: Sequence[Any],
    ) -> None:
        """Answer a challenge.

        Raises:
            Reverted: If the contract does not take what is shown.
        """
        words = [one.words for one in shown]
        data = self.contract.encode("answer", epoch, node, challenger, summary.words, words)
        purpose = f"answer/{epoch}/{node.hex()}/{challenger.hex()}"
        sender.transact(self.address, data, purpose=purpose)

    def expire(
        self, sender: Sender, epoch: int, node: NodeKey, challenger: Address, summary: Summary
    ) -> None:
        """End a challenge that was not answered in time.

        Raises:
            Reverted: If there is none, or its time is not up.
        """
        data = self.contract.encode("expire", epoch, node, challenger, summary.words)
        purpose = f"expire/{epoch}/{node.hex()}/{challenger.hex()}"
        sender.transact(self.address, data, purpose=purpose)

    # -- shares -------------------------------------------------------------------------------------------------------

    def claim(
        self, relayer: Sender, epoch: int, summaries: Mapping[NodeKey, Summary], limit: int | None
    ) -> None:
        """Have shares paid, to the same first `limit` nodes every time.

        Args:
            relayer: Pays the gas.
            epoch: The epoch, which is settled.
            summaries: Those that stand.
            limit: Greatest number of nodes; None means all.
        """
        weighty = [node for node, one in sorted(summaries.items()) if one.weight][:limit]
        due = [node for node in weighty if self.record(epoch, node) != PAID]
        calls: list[Purpose] = []
        for group in _groups(due):
            entries = [(node, summaries[node].words) for node in group]
            data = self.contract.encode("claim_many", epoch, entries)
            tag = sha256(*group).hex()[:16]
            calls.append((f"claim/{epoch}/{tag}", Call(self.address, data, 0)))
        self._send(relayer, calls)

    def _send(self, sender: Sender, calls: Sequence[Purpose]) -> None:
        """Send calls and wait; raises `Reverted` if the contract refused one."""
        for receipt in sender.wait_all(succeeded(sender.submit_many(calls))):
            if not receipt.status:
                raise Reverted(receipt.reason)


def _groups(items: Sequence[Any]) -> list[Sequence[Any]]:
    return [items[at : at + PER_CALL] for at in range(0, len(items), PER_CALL)]
