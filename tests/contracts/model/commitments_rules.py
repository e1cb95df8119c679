"""Commitments: what was measured, fixed before anybody evaluates it."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from model.rule_state import NO_DIGEST, Transaction, must

from meridian.primitives.hashing import EPOCH_DIGEST, tagged
from meridian.primitives.ids import Address

if TYPE_CHECKING:
    from model.network_rules import NetworkRules


@dataclass(frozen=True, slots=True)
class Commitment:
    """What an aggregator posted for an epoch."""

    root: bytes
    n_nodes: int
    annotation: bytes
    manifest: bytes


@dataclass
class CommitmentsState:
    """What Commitments remembers."""

    digests: dict[int, bytes] = field(default_factory=dict)
    made: dict[tuple[int, Address], Commitment] = field(default_factory=dict)


class CommitmentsRules:
    """The calls and views of Commitments."""

    def __init__(self, network: "NetworkRules") -> None:
        self.network = network
        self.state = CommitmentsState()

    def commit(
        self,
        tx: Transaction,
        epoch: int,
        root: bytes,
        n_nodes: int,
        annotation: bytes,
        manifest: bytes,
    ) -> None:
        turn = self.next_epoch(tx.sender)
        must(epoch == turn, "commitments: order")
        must(root != NO_DIGEST, "commitments: root")
        must(self.network.now_s >= self.network.registry.epoch_end(epoch), "commitments: early")
        self.state.made[epoch, tx.sender] = Commitment(root, n_nodes, annotation, manifest)
        self.state.digests[epoch] = tagged(
            EPOCH_DIGEST,
            self.epoch_digest(epoch),
            tx.sender,
            root,
            n_nodes.to_bytes(8, "big"),
            annotation,
            manifest,
        )
        self.network.tell(
            "Committed",
            epoch=epoch,
            aggregator=tx.sender,
            root=root,
            n_nodes=n_nodes,
            annotation=annotation,
            manifest=manifest,
            digest=self.state.digests[epoch],
        )

    # ---- views

    def epoch_digest(self, epoch: int) -> bytes:
        return self.state.digests.get(epoch, NO_DIGEST)

    def next_epoch(self, aggregator: Address) -> int:
        must(aggregator in self.network.parameters.aggregators, "commitments: aggregator")
        done = sum(1 for _, by in self.state.made if by == aggregator)
        return self.network.parameters.first_epoch + done

    def aggregators(self) -> tuple[Address, ...]:
        return self.network.parameters.aggregators
