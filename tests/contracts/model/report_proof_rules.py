"""ReportProofs: when a proof against evaluators holds."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from contract_world import Report
from model.rule_state import NO_DIGEST, NOBODY, Transaction, must, signer_of
from model.tree_rules import (
    ANNOTATION_END,
    CLAIMS,
    NODES,
    SUMS_END,
    Gap,
    Node,
    climb,
    fits,
    must_be_root,
    payee_of_row,
)

from meridian.primitives.eip712 import StructType, digest
from meridian.primitives.hashing import (
    EPOCH_DIGEST,
    REPORT_SIG,
    REWARD_ROOT,
    VIEW_CHANGE,
    sha256,
    tagged,
)
from meridian.primitives.ids import Address

if TYPE_CHECKING:
    from model.network_rules import NetworkRules

WRONG_REWARD, EQUIVOCATION = 4, 5
PAIR_BYTES = 112
PPM = 10**6
ROW, HAVE, PROPOSE, ECHO, VOTE, CHANGE, SIGN = 1, 2, 3, 4, 5, 7, 9
SAID = StructType(
    "Protocol",
    (("context", "bytes32"), ("kind", "uint8"), ("view", "uint32"), ("digest", "bytes32")),
)
NO_REPORT = (bytes(32), 0, *[bytes(32)] * 7, 0, bytes(32))
Words = tuple[int, int]


@dataclass
class ReportProofState:
    """Reports that are known as wrong: epoch and member set of each."""

    wrong: dict[bytes, tuple[int, int]] = field(default_factory=dict)


class ReportProofRules:
    """The calls of ReportProofs."""

    def __init__(self, network: "NetworkRules") -> None:
        self.network = network
        self.state = ReportProofState()

    # ---- rewards

    def wrong_reward(
        self,
        tx: Transaction,
        report: Any,
        signatures: Sequence[Words],
        previous: Any,
        key: bytes,
        after: Any,
        before: Any,
        commitment: Any,
        node: Any,
    ) -> None:
        payee, now, had = self._claims(report, previous, key, after, before)
        must(now > had, "proofs: right")
        self.must_be_only(report, commitment)
        place, size = Gap.of(node), commitment[3]
        top = place.root(NODES, size)
        must_be_root(commitment, top)
        right = self._is_right(report[1], key, payee, now - had, commitment, place, top)
        must(not right, "proofs: right")
        self._convict(tx, report, signatures)

    def _is_right(
        self,
        epoch: int,
        key: bytes,
        payee: Address,
        amount: int,
        commitment: Any,
        place: Gap,
        top: Node,
    ) -> bool:
        """Whether nothing can be said against what a key got in an epoch."""
        rule, evaluators, aggregators, *_ = self.network.evaluations.terms(epoch)
        if place.lacks(NODES, key, commitment[3]):
            return amount <= self._most_pay(
                epoch, key, payee, commitment[1], evaluators, aggregators
            )
        if payee != payee_of_row(place.left):
            return False
        if rule == 0:
            return True
        weight = weight_of(NODES.annotation(place.left), rule)
        whole = weight_of(top[1], rule)
        budget = self.network.rewards.budget(epoch)
        left = budget - budget * evaluators // PPM - budget * aggregators // PPM
        if whole == 0:
            return amount == 0
        share, rest = divmod(left * weight, whole)
        return amount in {share, share + bool(rest)}

    def _most_pay(
        self,
        epoch: int,
        key: bytes,
        payee: Address,
        aggregator: Address,
        evaluators: int,
        aggregators: int,
    ) -> int:
        """The most that somebody who is no node can get for work in the epoch."""
        if key != sha256(b"meridian/member/1:", payee):
            return 0
        budget = self.network.rewards.budget(epoch)
        most = budget * aggregators // PPM if payee == aggregator else 0
        members = self.network.registry.committee(epoch)
        if payee in members:
            faulty = (len(members) - 1) // 3
            most += budget * evaluators // PPM // (len(members) - 2 * faulty)
        return most

    def decreased(
        self,
        tx: Transaction,
        report: Any,
        signatures: Sequence[Words],
        previous: Any,
        key: bytes,
        after: Any,
        before: Any,
    ) -> None:
        _, now, had = self._claims(report, previous, key, after, before)
        must(now < had, "proofs: right")
        self._convict(tx, report, signatures)

    def bad_claims(
        self,
        tx: Transaction,
        report: Any,
        signatures: Sequence[Words],
        size: int,
        content: bytes,
        claimed: int,
        sides: int,
        path: Any,
    ) -> None:
        if len(content) == PAIR_BYTES:
            below = [int.from_bytes(content[at : at + 24]) for at in (32, 88)]
            hashed = tagged(CLAIMS.tag, content)
            right = fits(*below) and sum(below) == claimed
        else:
            hashed, said = CLAIMS.leaf(content)
            right = said == claimed
        top = climb(CLAIMS, (hashed, claimed), sides, path)
        must_be_reward_root(report, size, top)
        is_total = divmod(top[1], SUMS_END) == (size, report[9])
        must(not (right and is_total), "proofs: right")
        self._convict(tx, report, signatures)

    def disordered_claims(
        self, tx: Transaction, report: Any, signatures: Sequence[Words], claims: Any
    ) -> None:
        size, words = claims
        place = Gap.of(words)
        must(place.left and place.right, "proofs: neighbours")
        must_be_reward_root(report, size, place.root(CLAIMS, size))
        must(CLAIMS.key_of(place.left) >= CLAIMS.key_of(place.right), "proofs: right")
        self._convict(tx, report, signatures)

    def signed_wrong(
        self, tx: Transaction, report_hash: bytes, signatures: Sequence[Words]
    ) -> None:
        must(report_hash in self.state.wrong, "proofs: report")
        must(signatures, "proofs: signature")
        epoch, members = self.state.wrong[report_hash]
        guilty = self._signers(report_hash, signatures, members)
        self._convict_evaluators(WRONG_REWARD, epoch, NO_DIGEST, guilty, tx.sender)

    def _convict(self, tx: Transaction, report: Any, signatures: Sequence[Words]) -> None:
        report_hash = self._hash(report)
        epoch = report[1]
        must(self.network.evaluations.report_hash(epoch) == report_hash, "proofs: report")
        members = self.network.registry.epoch_set(epoch)
        self.state.wrong[report_hash] = epoch, members
        guilty = self._signers(report_hash, signatures, members)
        self._convict_evaluators(WRONG_REWARD, epoch, report_hash, guilty, tx.sender)

    def _convict_evaluators(
        self, kind: int, epoch: int, report: bytes, guilty: Sequence[Address], winner: Address
    ) -> None:
        me = Transaction(self.network.address("report_proofs"))
        self.network.disputes.convict_evaluators(me, kind, epoch, report, guilty, winner)

    def _hash(self, report: Any) -> bytes:
        return Report(*report).digest(self.network.domain("evaluations"))

    def _signers(self, said: bytes, signatures: Sequence[Words], members: int) -> list[Address]:
        signers: list[Address] = []
        for words in signatures:
            signer = signer_of(said, *words)
            must(signer > (signers[-1] if signers else NOBODY), "proofs: signature")
            must(self.network.registry.is_member(members, signer), "proofs: member")
            signers.append(signer)
        return signers

    def _claims(
        self, report: Any, previous: Any, key: bytes, after: Any, before: Any
    ) -> tuple[Address, int, int]:
        """A key's payee and amount in a report, and its amount in the one before."""
        payee, now = claimed_by(report, key, after)
        if report[10] == NO_DIGEST:
            nothing = before[0] == 0 and Gap.of(before[1]).is_nothing
            must(nothing and previous == NO_REPORT, "proofs: previous")
            return payee, now, 0
        must(self._hash(previous) == report[10], "proofs: previous")
        return payee, now, claimed_by(previous, key, before)[1]

    def must_be_only(self, report: Any, c: Any) -> None:
        """A report must be about this one commitment and nothing else."""
        epoch, by, root, n_nodes, annotation, manifest = c
        must(epoch == report[1], "proofs: epoch")
        content = root + n_nodes.to_bytes(8) + annotation + manifest
        if tagged(EPOCH_DIGEST, NO_DIGEST, by, content) == report[2]:
            return
        said = self.network.commitments
        alone = said.standing(epoch) == 1 and said.self_commitments(epoch) == 0
        known = said.epoch_digest(epoch) == report[2] and said.is_commitment(*c)
        must(alone and known, "proofs: commitment")

    # ---- two statements where one is allowed

    def double_statement(
        self,
        tx: Transaction,
        context: bytes,
        kind: int,
        view: int,
        first: bytes,
        signature: Words,
        second: bytes,
        other: Words,
    ) -> None:
        must(kind in {ROW, HAVE, PROPOSE, ECHO, VOTE, CHANGE}, "proofs: kind")
        must(kind > HAVE or view == 0, "proofs: view")
        must(first != second, "proofs: right")
        one, two = (self._statement(context, kind, view, said) for said in (first, second))
        self._convict_pair(tx, one, signature, two, other)

    def double_attempt(
        self,
        tx: Transaction,
        context: bytes,
        attempt: bytes,
        first: bytes,
        signature: Words,
        second: bytes,
        other: Words,
    ) -> None:
        must(first != second, "proofs: right")
        one, two = (
            self._statement(context, SIGN, 0, tagged(REPORT_SIG, attempt, said))
            for said in (first, second)
        )
        self._convict_pair(tx, one, signature, two, other)

    def amnesia(
        self,
        tx: Transaction,
        context: bytes,
        voted_view: int,
        voted: bytes,
        vote: Words,
        view: int,
        lock: bytes,
        change: Words,
    ) -> None:
        must(view > voted_view, "proofs: view")
        if len(lock) == 1:
            must(lock == b"\x00", "proofs: lock")
        else:
            must(len(lock) == 37 and lock[:1] == b"\x01", "proofs: lock")
            kept = int.from_bytes(lock[1:5])
            forgot = kept < voted_view or (kept == voted_view and lock[5:] != voted)
            must(forgot, "proofs: right")
        self._convict_pair(
            tx,
            self._statement(context, VOTE, voted_view, voted),
            vote,
            self._statement(context, CHANGE, view, tagged(VIEW_CHANGE, lock)),
            change,
        )

    def double_report(
        self, tx: Transaction, first: Any, signature: Words, second: Any, other: Words
    ) -> None:
        one, two = Report(*first), Report(*second)
        same = all(
            getattr(one, name) == getattr(two, name)
            for name in ("network", "epoch", "commitment", "previous", "block_hash")
        )
        must(same, "proofs: reports")
        must(first != second, "proofs: right")
        self._convict_pair(tx, self._hash(first), signature, self._hash(second), other)

    def _statement(self, context: bytes, kind: int, view: int, said: bytes) -> bytes:
        return digest(self.network.domain("evaluations"), SAID.hash(context, kind, view, said))

    def _convict_pair(
        self, tx: Transaction, first: bytes, signature: Words, second: bytes, other: Words
    ) -> None:
        signer = signer_of(first, *signature)
        must(signer != NOBODY and signer_of(second, *other) == signer, "proofs: signature")
        self._convict_evaluators(EQUIVOCATION, 0, NO_DIGEST, [signer], tx.sender)


def claimed_by(report: Any, key: bytes, claims: Any) -> tuple[Address, int]:
    """Who has a claim under a report, and of how much in all."""
    size, words = claims
    place = Gap.of(words)
    must_be_reward_root(report, size, place.root(CLAIMS, size))
    if place.lacks(CLAIMS, key, size):
        return NOBODY, 0
    return Address(place.left[32:52]), CLAIMS.annotation(place.left) % SUMS_END


def must_be_reward_root(report: Any, size: int, node: Node) -> None:
    said = node[0] + (node[1] % ANNOTATION_END).to_bytes(24)
    must(tagged(REWARD_ROOT, size.to_bytes(8), said) == report[8], "proofs: reward root")


def weight_of(annotation: int, rule: int) -> int:
    """What a rule reads from count and sums."""
    if rule == 1:
        return annotation >> 128
    return {2: annotation >> 64 & (1 << 64) - 1, 3: annotation % (1 << 64)}.get(
        rule, annotation % SUMS_END
    )
