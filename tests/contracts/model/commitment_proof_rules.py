"""CommitmentProofs: when a proof against an aggregator holds."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from model.rule_state import NOBODY, Transaction, must, signer_of
from model.tree_rules import (
    ANNOTATION_END,
    JOBS,
    NODES,
    Gap,
    Kind,
    climb,
    fits,
    job_count,
    must_be_job_root,
    must_be_root,
    must_hang,
    node_epoch,
)

from meridian.measure.receipt import RECEIPT
from meridian.primitives import eip712
from meridian.primitives.hashing import BATCH_LEAF, BATCH_NODE, tagged

if TYPE_CHECKING:
    from model.network_rules import NetworkRules

BAD_SUM, OMISSION, DISORDER, EQUIVOCATION = 1, 2, 3, 5
PAIR_BYTES = 112
EPOCHS_MAX = 3
BATCH = Kind(0, BATCH_LEAF, BATCH_NODE, 0, slice(0), False)


@dataclass
class Nothing:
    """A contract that remembers nothing."""


class CommitmentProofRules:
    """The calls of CommitmentProofs."""

    def __init__(self, network: "NetworkRules") -> None:
        self.network = network
        self.state = Nothing()

    def _convict(self, kind: int, commitment: Any, winner: bytes, harmed: bytes = NOBODY) -> None:
        me = Transaction(self.network.address("commitment_proofs"))
        self.network.disputes.convict_aggregator(me, kind, commitment, winner, harmed)

    def _must_stand(self, commitment: Any) -> None:
        must(self.network.commitments.is_commitment(*commitment), "proofs: commitment")

    # ---- what a commitment says

    def bad_sum(
        self,
        tx: Transaction,
        commitment: Any,
        content: bytes,
        claimed: int,
        sides: int,
        path: Any,
        node: Any,
    ) -> None:
        row, node_sides, node_path = node
        kind = JOBS if row else NODES
        if len(content) == PAIR_BYTES:
            below = [int.from_bytes(content[at : at + 24]) for at in (32, 88)]
            right = fits(*below) and sum(below) == claimed
            hashed = tagged(kind.tag, content)
        else:
            hashed, said = kind.leaf(content)
            right = said == claimed and (kind is JOBS or node_epoch(content) == commitment[0])
        must(not right, "proofs: right")
        top = climb(kind, (hashed, claimed), sides, path)
        if row:
            must_be_job_root(row, top)
            must_hang(commitment, node)
        else:
            must(not node_sides and not node_path, "proofs: node")
            must_be_root(commitment, top)
        self._must_stand(commitment)
        self._convict(BAD_SUM, commitment, tx.sender)

    def disorder(self, tx: Transaction, commitment: Any, gap: Any, node: Any) -> None:
        row, node_sides, node_path = node
        kind, place = JOBS if row else NODES, Gap.of(gap)
        must(place.left and place.right, "proofs: neighbours")
        if row:
            must_hang(commitment, node)
            must_be_job_root(row, place.root(JOBS, job_count(row)))
        else:
            must(not node_sides and not node_path, "proofs: node")
            must_be_root(commitment, place.root(NODES, commitment[3]))
        must(kind.key_of(place.left) >= kind.key_of(place.right), "proofs: right")
        self._must_stand(commitment)
        self._convict(DISORDER, commitment, tx.sender)

    def duplicate(
        self,
        tx: Transaction,
        first: Any,
        first_node: Any,
        first_job: Any,
        second: Any,
        second_node: Any,
        second_job: Any,
    ) -> None:
        must(first[1] == second[1], "proofs: aggregator")
        must(first[0] < second[0], "proofs: epochs")
        for commitment, node, job in (
            (first, first_node, first_job),
            (second, second_node, second_job),
        ):
            must_be_job_root(node[0], climb(JOBS, JOBS.leaf(job[0]), job[1], job[2]))
            must_hang(commitment, node)
        same_node = NODES.key_of(first_node[0]) == NODES.key_of(second_node[0])
        same_job = JOBS.key_of(first_job[0]) == JOBS.key_of(second_job[0])
        must(same_node and same_job, "proofs: right")
        must(self._epoch_of(first_job[0]) == self._epoch_of(second_job[0]), "proofs: right")
        self._must_stand(first)
        self._must_stand(second)
        self._convict(DISORDER, second, tx.sender)

    def _epoch_of(self, row: bytes) -> int:
        """In which epoch a job ended."""
        p = self.network.parameters
        since = int.from_bytes(row[44:52]) - p.genesis_s * 10**6
        must(since >= 0, "proofs: time")
        return p.first_epoch + since // (p.epoch_seconds * 10**6)

    # ---- receipts

    def omission(self, tx: Transaction, promise: Any, absences: Any) -> None:
        receipt, signature, key, job, part_sides, part_path = promise
        deadline, aggregator, _, batch_root, _ = receipt
        signer = self._receipt_signer(receipt, signature)
        must(aggregator != NOBODY and signer == aggregator, "proofs: signature")
        row = job[0]
        part, sums = climb(JOBS, JOBS.leaf(row), job[1], job[2])
        leaf = tagged(BATCH_LEAF, key, part, (sums % ANNOTATION_END).to_bytes(24))
        top = climb(BATCH, (leaf, sums), part_sides, part_path)
        must(top[0] == batch_root, "proofs: batch")
        own = self._epoch_of(row)
        must(absences and own + len(absences) == deadline + 1, "proofs: epochs")
        for epoch, (commitment, node, jobs) in enumerate(absences, own):
            must(commitment[:2] == (epoch, aggregator), "proofs: epochs")
            must_be_absent(commitment, Gap.of(node), Gap.of(jobs), key, row)
            self._must_stand(commitment)
        payee = self.network.registry.node(key)[1]
        self._convict(OMISSION, absences[-1][0], tx.sender, payee)

    def double_receipt(
        self, tx: Transaction, first: Any, signature: Any, second: Any, other: Any
    ) -> None:
        same = first[1] != NOBODY and first[1:3] == second[1:3]
        must(same, "proofs: receipts")
        must(first != second, "proofs: right")
        signers = {self._receipt_signer(first, signature), self._receipt_signer(second, other)}
        must(signers == {first[1]}, "proofs: signature")
        me = Transaction(self.network.address("commitment_proofs"))
        self.network.disputes.convict_signer(me, EQUIVOCATION, first[1], tx.sender)

    def _receipt_signer(self, receipt: Any, signature: Any) -> bytes:
        words = RECEIPT.hash(self.network.parameters.network, *receipt)
        return signer_of(eip712.digest(self.network.domain("commitments"), words), *signature)


def must_be_absent(commitment: Any, node: Gap, jobs: Gap, key: bytes, row: bytes) -> None:
    """A commitment must hold no job of the node with exactly this row."""
    must_be_root(commitment, node.root(NODES, commitment[3]))
    if node.lacks(NODES, key, commitment[3]):
        must(jobs.is_nothing, "proofs: job")
        return
    count = job_count(node.left)
    must_be_job_root(node.left, jobs.root(JOBS, count))
    if not jobs.lacks(JOBS, JOBS.key_of(row), count):
        must(jobs.left != row, "proofs: right")
