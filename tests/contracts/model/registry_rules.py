"""Registry: who takes part, and who decides each epoch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from model.rule_state import NOBODY, U96_END, Transaction, must, signer_of

from meridian.contracts.statements import RegisterEvaluator, RegisterNode
from meridian.primitives.ids import Address, NodeKey

if TYPE_CHECKING:
    from model.network_rules import NetworkRules

MEMBERS_MAX = 128
EPOCHS_PER_CALL = 256


@dataclass(frozen=True, slots=True)
class Node:
    """A registered node; `exit_at` is 0 until it leaves."""

    operator: Address
    payee: Address
    stake: int
    exit_at: int = 0


@dataclass(frozen=True, slots=True)
class Evaluator:
    """A registered evaluator; `exit_at` is 0 while it is active."""

    stake: int
    link_key: bytes
    exit_at: int = 0
    slashed: bool = False


@dataclass
class RegistryState:
    """What Registry remembers."""

    nonces: dict[Address, int] = field(default_factory=dict)
    nodes: dict[NodeKey, Node] = field(default_factory=dict)
    evaluators: dict[Address, Evaluator] = field(default_factory=dict)
    sets: dict[int, tuple[Address, ...]] = field(default_factory=dict)
    """Member sets by id, from 1 on; each differs from the one before."""
    epochs: dict[int, int] = field(default_factory=dict)
    """The id of each open epoch's set."""


class RegistryRules:
    """The calls and views of Registry."""

    def __init__(self, network: "NetworkRules") -> None:
        self.network = network
        self.state = RegistryState()

    # ---- nodes

    def register_nodes(
        self, tx: Transaction, entries: Sequence[tuple[bytes, Address, Address, int, int, int]]
    ) -> None:
        must(entries, "registry: nothing")
        stake, rest = divmod(tx.value, len(entries))
        least = self.network.parameters.node_stake_min_atto
        must(rest == 0 and least <= stake < U96_END, "registry: stake")
        for entry in entries:
            self._register_node(stake, *entry)

    def _register_node(
        self,
        stake: int,
        key: bytes,
        operator: Address,
        payee: Address,
        deadline: int,
        r: int,
        vs: int,
    ) -> None:
        must(key not in self.state.nodes, "registry: node exists")
        must(payee != NOBODY, "registry: payee")
        must(self.network.now_s <= deadline, "registry: deadline")
        nonce = self.nonces(operator)
        network = self.network.parameters.network
        says = RegisterNode(network, NodeKey(key), operator, payee, nonce, deadline)
        self._must_be_signed(says, operator, r, vs)
        self.state.nonces[operator] = nonce + 1
        self.state.nodes[NodeKey(key)] = Node(operator, payee, stake)
        self.network.tell(
            "NodeRegistered", node_key=key, operator=operator, payee=payee, stake=stake
        )

    def _must_be_signed(
        self, says: RegisterNode | RegisterEvaluator, by: Address, r: int, vs: int
    ) -> None:
        signer = signer_of(says.digest(self.network.domain("registry")), r, vs)
        must(signer not in {NOBODY} and signer == by, "registry: signature")

    def leave_node(self, tx: Transaction, key: NodeKey) -> None:
        node = self.state.nodes.get(key)
        must(node, "registry: no node")
        assert node
        must(tx.sender == node.operator, "registry: operator")
        must(not node.exit_at, "registry: left")
        exit_at = self.network.now_s + self.network.parameters.exit_delay_s
        self.state.nodes[key] = Node(node.operator, node.payee, node.stake, exit_at)
        self.network.tell("NodeLeft", node_key=key, exit_at=exit_at)

    def withdraw_node(self, tx: Transaction, key: NodeKey) -> None:
        node = self.state.nodes.get(key)
        free = node is not None and node.exit_at and self.network.now_s >= node.exit_at
        must(free, "registry: locked")
        assert node
        del self.state.nodes[key]
        self._withdraw(node.operator, node.stake)

    def _withdraw(self, account: Address, amount: int) -> None:
        self.network.tell("Withdrawn", account=account, amount=amount)
        must(self.network.pay("registry", account, amount), "registry: payment")

    # ---- evaluators

    def register_evaluator(
        self,
        tx: Transaction,
        evaluator: Address,
        link_key: bytes,
        endpoint: str,
        deadline: int,
        r: int,
        vs: int,
    ) -> None:
        least = self.network.parameters.evaluator_stake_min_atto
        must(least <= tx.value < U96_END, "registry: stake")
        must(not self.is_slashed(evaluator), "registry: slashed")
        must(evaluator not in self.state.evaluators, "registry: evaluator exists")
        must(self.network.now_s <= deadline, "registry: deadline")
        must(len(self.active_evaluators()) < MEMBERS_MAX, "registry: full")
        nonce = self.nonces(evaluator)
        network = self.network.parameters.network
        says = RegisterEvaluator(network, evaluator, link_key, endpoint, nonce, deadline)
        self._must_be_signed(says, evaluator, r, vs)
        self.state.nonces[evaluator] = nonce + 1
        self.state.evaluators[evaluator] = Evaluator(tx.value, link_key)
        self.network.tell(
            "EvaluatorRegistered",
            evaluator=evaluator,
            link_key=link_key,
            endpoint=endpoint,
            stake=tx.value,
        )

    def leave_evaluator(self, tx: Transaction) -> None:
        must(tx.sender in self.active_evaluators(), "registry: no evaluator")
        was = self.state.evaluators[tx.sender]
        exit_at = self.network.now_s + self.network.parameters.exit_delay_s
        self.state.evaluators[tx.sender] = Evaluator(was.stake, was.link_key, exit_at)
        self.network.tell("EvaluatorLeft", evaluator=tx.sender, exit_at=exit_at)

    def withdraw_evaluator(self, tx: Transaction) -> None:
        was = self.state.evaluators.get(tx.sender)
        free = was is not None and was.exit_at and self.network.now_s >= was.exit_at
        must(free, "registry: locked")
        assert was
        del self.state.evaluators[tx.sender]
        self._withdraw(tx.sender, was.stake)

    def slash_evaluator(self, tx: Transaction, account: Address) -> int:
        must(tx.sender == self.network.address("disputes"), "registry: sender")
        if self.is_slashed(account):
            return 0
        was = self.state.evaluators.get(account) or Evaluator(0, bytes(32))
        self.state.evaluators[account] = Evaluator(0, was.link_key, slashed=True)
        self.network.evaluations.note_slashing(Transaction(self.network.address("registry")))
        self.network.tell("Slashed", account=account, amount=was.stake)
        if was.stake:
            must(self.network.pay("registry", tx.sender, was.stake), "registry: payment")
        return was.stake

    # ---- epochs

    def open_epochs(self, tx: Transaction, through: int) -> None:
        first = self.next_epoch()
        if through < first:
            return
        must(through - first < EPOCHS_PER_CALL, "registry: span")
        must(self.network.now_s >= self.epoch_start(through), "registry: early")
        for epoch in range(first, through + 1):
            self._fix_members(epoch)

    def renew(self, tx: Transaction, epoch: int) -> int:
        must(tx.sender == self.network.address("evaluations"), "registry: sender")
        must(epoch < self.next_epoch(), "registry: not open")
        return self._fix_members(epoch)

    def _fix_members(self, epoch: int) -> int:
        """Give an epoch the members of now; a set that is the last one keeps its id."""
        members = self._chosen(epoch)
        must(members, "registry: no evaluators")
        set_id = len(self.state.sets)
        if self.state.sets.get(set_id) != members:
            set_id += 1
            self.state.sets[set_id] = members
        self.state.epochs[epoch] = set_id
        self.network.tell("EpochOpened", epoch=epoch, set_id=set_id, n=len(members))
        return set_id

    def _chosen(self, epoch: int) -> tuple[Address, ...]:
        """Of the active evaluators with the least stake those with the most; of equal ones the lower address."""
        size, least = self.network.evaluations.committee_rule(epoch)
        stakes = {one: self.state.evaluators[one].stake for one in self.active_evaluators()}
        able = [one for one in stakes if stakes[one] >= least]
        ranked = sorted(able, key=lambda one: (-stakes[one], one))
        return tuple(sorted(ranked[:size] if size else ranked))

    # ---- views

    def nonces(self, account: Address) -> int:
        return self.state.nonces.get(account, 0)

    def next_epoch(self) -> int:
        return self.network.parameters.first_epoch + len(self.state.epochs)

    def epoch_set(self, epoch: int) -> int:
        return self.state.epochs.get(epoch, 0)

    def committee(self, epoch: int) -> tuple[Address, ...]:
        return self.state.sets.get(self.epoch_set(epoch), ())

    def is_member(self, set_id: int, account: Address) -> bool:
        return account in self.state.sets.get(set_id, ())

    def set_size(self, set_id: int) -> int:
        return len(self.state.sets.get(set_id, ()))

    def epoch_start(self, epoch: int) -> int:
        p = self.network.parameters
        must(epoch >= p.first_epoch, "registry: epoch")
        return p.genesis_s + (epoch - p.first_epoch) * p.epoch_seconds

    def epoch_end(self, epoch: int) -> int:
        return self.epoch_start(epoch) + self.network.parameters.epoch_seconds

    def node(self, key: NodeKey) -> tuple[Address, Address, int, int]:
        known = self.state.nodes.get(key) or Node(NOBODY, NOBODY, 0)
        return known.operator, known.payee, known.stake, known.exit_at

    def evaluator(self, account: Address) -> tuple[int, bytes, int]:
        known = self.state.evaluators.get(account) or Evaluator(0, bytes(32))
        return known.stake, known.link_key, known.exit_at

    def active_evaluators(self) -> tuple[Address, ...]:
        known = self.state.evaluators
        gone = {one for one in known if known[one].exit_at or known[one].slashed}
        return tuple(sorted(known.keys() - gone))

    def is_slashed(self, account: Address) -> bool:
        known = self.state.evaluators.get(account)
        return known is not None and known.slashed

    def standing(self, epoch: int) -> int:
        return sum(1 for member in self.committee(epoch) if not self.is_slashed(member))
