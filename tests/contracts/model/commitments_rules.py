"""Commitments: what was measured, fixed before anybody evaluates it."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from model.rule_state import NO_DIGEST, U96_END, Transaction, must, signer_of

from meridian.contracts.statements import SelfCommit
from meridian.primitives.hashing import (
    COMMITMENT_RECORD,
    COMMITTED_ROOT,
    EPOCH_DIGEST,
    SELF_DIGEST,
    VOID_DIGEST,
    sha256,
    tagged,
)
from meridian.primitives.ids import Address, NodeKey

if TYPE_CHECKING:
    from model.network_rules import NetworkRules

EMPTY_TREE = sha256(b"")
VOIDED = (1).to_bytes(32, "big")
REPLACED = (2).to_bytes(32, "big")


@dataclass(frozen=True, slots=True)
class Commitment:
    """What an aggregator posted for an epoch, and what became of it."""

    root: bytes
    n_nodes: int
    annotation: bytes
    manifest: bytes
    fate: str = "stands"

    @property
    def content(self) -> bytes:
        """The bytes that digest and record are over."""
        return self.root + self.n_nodes.to_bytes(8, "big") + self.annotation + self.manifest

    @property
    def record(self) -> bytes:
        """The word that stands for it."""
        if self.fate == "stands":
            return tagged(COMMITMENT_RECORD, self.content)
        return VOIDED if self.fate == "voided" else REPLACED


@dataclass(frozen=True, slots=True)
class Aggregator:
    """A listed account; `turn` is its next epoch, None while it is not active."""

    turn: int | None = None
    stake: int = 0
    exit_at: int = 0
    slashed: bool = False


@dataclass
class CommitmentsState:
    """What Commitments remembers."""

    aggregators: dict[Address, Aggregator] = field(default_factory=dict)
    digests: dict[int, bytes] = field(default_factory=dict)
    made: dict[tuple[int, Address], Commitment] = field(default_factory=dict)
    alone: frozenset[tuple[int, NodeKey]] = frozenset()
    """Nodes that committed themselves, by epoch."""


class CommitmentsRules:
    """The calls and views of Commitments."""

    def __init__(self, network: "NetworkRules") -> None:
        self.network = network
        p = network.parameters
        turn = None if p.aggregator_stake_min_atto else p.first_epoch
        self.state = CommitmentsState({account: Aggregator(turn) for account in p.aggregators})

    # ---- aggregators

    def _listed(self, account: Address) -> Aggregator:
        must(account in self.state.aggregators, "commitments: aggregator")
        return self.state.aggregators[account]

    def _active(self, account: Address) -> tuple[Aggregator, int]:
        known = self._listed(account)
        must(known.turn is not None, "commitments: aggregator")
        assert known.turn is not None
        return known, known.turn

    def join(self, tx: Transaction) -> None:
        known = self._listed(tx.sender)
        must(not known.slashed, "commitments: slashed")
        must(known.turn is None, "commitments: joined")
        least = self.network.parameters.aggregator_stake_min_atto
        must(least <= tx.value < U96_END, "commitments: stake")
        first = self.network.running_epoch()
        self.state.aggregators[tx.sender] = Aggregator(first, tx.value)
        self.network.tell("AggregatorJoined", aggregator=tx.sender, first=first, stake=tx.value)

    def leave(self, tx: Transaction) -> None:
        known, _ = self._active(tx.sender)
        must(not known.exit_at, "commitments: left")
        exit_at = self.network.now_s + self.network.parameters.exit_delay_s
        self.state.aggregators[tx.sender] = replace(known, exit_at=exit_at)
        self.network.tell("AggregatorLeft", aggregator=tx.sender, exit_at=exit_at)

    def withdraw(self, tx: Transaction) -> None:
        known = self.state.aggregators.get(tx.sender)
        free = known is not None and known.exit_at and self.network.now_s >= known.exit_at
        must(free, "commitments: locked")
        assert known
        self.state.aggregators[tx.sender] = Aggregator()
        self.network.tell("Withdrawn", account=tx.sender, amount=known.stake)
        must(self.network.pay("commitments", tx.sender, known.stake), "commitments: payment")

    def slash(self, tx: Transaction, account: Address) -> int:
        must(tx.sender == self.network.address("disputes"), "commitments: sender")
        known = self._listed(account)
        self.state.aggregators[account] = Aggregator(slashed=True)
        if not known.slashed:
            self.network.tell("Slashed", aggregator=account, amount=known.stake)
        if known.stake:
            must(self.network.pay("commitments", tx.sender, known.stake), "")
        return known.stake

    # ---- commitments

    def commit(
        self,
        tx: Transaction,
        epoch: int,
        tree_hash: bytes,
        n_nodes: int,
        annotation: bytes,
        manifest: bytes,
    ) -> None:
        known, turn = self._active(tx.sender)
        must(epoch == turn, "commitments: order")
        end = self._end(epoch)
        must(self.network.now_s >= end, "commitments: early")
        p = self.network.parameters
        left_at = known.exit_at - p.exit_delay_s
        started_before = end - p.epoch_seconds <= left_at
        must(not known.exit_at or started_before, "commitments: left")
        self.state.aggregators[tx.sender] = replace(known, turn=turn + 1)
        self._commit(tx.sender, epoch, tree_hash, n_nodes, annotation, manifest)

    def replace(
        self,
        tx: Transaction,
        epoch: int,
        voided: Address,
        tree_hash: bytes,
        n_nodes: int,
        annotation: bytes,
        manifest: bytes,
    ) -> None:
        known, _ = self._active(tx.sender)
        must(not known.exit_at, "commitments: left")
        before = self.state.made.get((epoch, voided))
        must(before is not None and before.fate == "voided", "commitments: not void")
        assert before
        must(self.network.evaluations.report_hash(epoch) == NO_DIGEST, "commitments: reported")
        self.state.made[epoch, voided] = replace(before, fate="replaced")
        self._commit(tx.sender, epoch, tree_hash, n_nodes, annotation, manifest)
        self.network.tell("Replaced", epoch=epoch, voided=voided, aggregator=tx.sender)

    def skip(self, tx: Transaction) -> None:
        known, turn = self._active(tx.sender)
        must((turn, tx.sender) in self.state.made, "commitments: order")
        self.state.aggregators[tx.sender] = replace(known, turn=turn + 1)

    def _commit(
        self,
        by: Address,
        epoch: int,
        tree_hash: bytes,
        n_nodes: int,
        annotation: bytes,
        manifest: bytes,
    ) -> None:
        must((epoch, by) not in self.state.made, "commitments: committed")
        empty = tree_hash == EMPTY_TREE and annotation == bytes(24)
        must(n_nodes or empty, "commitments: empty")
        number = epoch.to_bytes(8, "big"), n_nodes.to_bytes(8, "big")
        root = tagged(COMMITTED_ROOT, *number, tree_hash, annotation)
        made = Commitment(root, n_nodes, annotation, manifest)
        digest = tagged(EPOCH_DIGEST, self.epoch_digest(epoch), by, made.content)
        self.state.made[epoch, by] = made
        self.state.digests[epoch] = digest
        self.network.tell(
            "Committed",
            epoch=epoch,
            aggregator=by,
            root=root,
            n_nodes=n_nodes,
            annotation=annotation,
            manifest=manifest,
            digest=digest,
        )

    def void(self, tx: Transaction, epoch: int, by: Address, *content: object) -> None:
        must(tx.sender == self.network.address("disputes"), "commitments: sender")
        must(self.is_commitment(epoch, by, *content), "commitments: record")
        was = self.state.made[epoch, by]
        self.state.made[epoch, by] = replace(was, fate="voided")
        digest = tagged(VOID_DIGEST, self.epoch_digest(epoch), by, was.root)
        self.state.digests[epoch] = digest
        self.network.tell("Voided", epoch=epoch, aggregator=by, root=was.root, digest=digest)

    def self_commit(
        self,
        tx: Transaction,
        epoch: int,
        key: NodeKey,
        tree_hash: bytes,
        annotation: bytes,
        segment: bytes,
        deadline: int,
        r: int,
        vs: int,
    ) -> None:
        end, now = self._end(epoch), self.network.now_s
        must(now >= end, "commitments: early")
        time_left = self.network.parameters.sealing_seconds * 2 // 3
        must(now < end + time_left, "commitments: late")
        must(now <= deadline, "commitments: deadline")
        must((epoch, key) not in self.state.alone, "commitments: committed")
        node = self.network.registry.state.nodes.get(key)
        must(node is not None and not node.exit_at, "commitments: node")
        assert node
        network = self.network.parameters.network
        says = SelfCommit(network, epoch, key, tree_hash, annotation, segment, deadline)
        signer = signer_of(says.digest(self.network.domain("commitments")), r, vs)
        must(signer == node.operator, "commitments: signature")
        self.state.alone |= {(epoch, key)}
        before = self.epoch_digest(epoch)
        digest = tagged(SELF_DIGEST, before, key, tree_hash, annotation, segment)
        self.state.digests[epoch] = digest
        self.network.tell(
            "SelfCommitted",
            epoch=epoch,
            node_key=key,
            tree_hash=tree_hash,
            annotation=annotation,
            segment=segment,
            digest=digest,
        )

    def _end(self, epoch: int) -> int:
        must(epoch >= self.network.parameters.first_epoch, "commitments: epoch")
        return self.network.registry.epoch_end(epoch)

    # ---- views

    def epoch_digest(self, epoch: int) -> bytes:
        return self.state.digests.get(epoch, NO_DIGEST)

    def standing_digest(self, epoch: int) -> bytes:
        return self.epoch_digest(epoch) if self.standing(epoch) else NO_DIGEST

    def standing(self, epoch: int) -> int:
        made = self.state.made
        return sum(1 for at, by in made if at == epoch and made[at, by].fate == "stands")

    def record(self, epoch: int, by: Address) -> bytes:
        made = self.state.made.get((epoch, by))
        return made.record if made else NO_DIGEST

    def is_commitment(self, epoch: int, by: Address, *content: object) -> bool:
        made = self.state.made.get((epoch, by))
        if made is None or made.fate != "stands":
            return False
        return (made.root, made.n_nodes, made.annotation, made.manifest) == content

    def self_committed(self, epoch: int, key: NodeKey) -> bool:
        return (epoch, key) in self.state.alone

    def self_commitments(self, epoch: int) -> int:
        return sum(1 for at, _ in self.state.alone if at == epoch)

    def ready_at(self, epoch: int) -> int:
        return self._end(epoch) + self.network.parameters.sealing_seconds

    def next_epoch(self, account: Address) -> int:
        return self._active(account)[1]

    def aggregator(self, account: Address) -> tuple[bool, int, int, bool]:
        known = self.state.aggregators.get(account, Aggregator())
        return known.turn is not None, known.stake, known.exit_at, known.slashed

    def aggregators(self) -> tuple[Address, ...]:
        return self.network.parameters.aggregators
