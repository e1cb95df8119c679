"""A fraud layer whose verdicts are proven while the jobs stay hidden: the design document's zero-knowledge fraud detection.

The rule is public and simple on purpose: a job is ``ok`` if its value is at most a limit, else flagged. Published are a
commitment to each job's value, each verdict with a proof that it is right, and the total of the jobs that are ok, opened as
one sum. Nobody learns a value; everybody sees that each job was judged by the rule, how many were flagged, and what the rest
adds up to. That values were measured honestly is not proven: a commitment to a lie is a commitment too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from meridian.errors import InvalidInput
from meridian.models.zero_knowledge import range_proof
from meridian.models.zero_knowledge.group import (
    ORDER,
    Scalars,
    add,
    commit,
    minus,
    read_scalar,
    root_of,
)
from meridian.models.zero_knowledge.range_proof import RangeProof


@dataclass(frozen=True, slots=True)
class ThresholdRule:
    """A job is ok if its value is at most `limit`; values have `bits` bits."""

    limit: int
    bits: int

    def __post_init__(self) -> None:
        """Refuse a rule that flags nothing or means nothing."""
        if not 0 < self.bits < range_proof.BITS_MAX or not 0 <= self.limit < 1 << self.bits:
            raise InvalidInput("limit", f"{self.limit} is not a value of {self.bits} bits")

    def encode(self) -> bytes:
        """The rule as it stands under a proof."""
        return self.limit.to_bytes(8, "big") + bytes([self.bits])


@dataclass(frozen=True, slots=True)
class HiddenVerdict:
    """One job's verdict, and why it is right."""

    ok: bool
    proofs: tuple[RangeProof, ...]
    """Of an ok job: the value, and how far it is below the limit; of a flagged one: how far it is above."""


@dataclass(frozen=True, slots=True)
class JudgedNode:
    """What a node's jobs came to, without the jobs."""

    commitments: tuple[bytes, ...]
    verdicts: tuple[HiddenVerdict, ...]
    total: int
    """Sum of the values of the jobs that are ok."""
    blinding: int
    """Sum of their blindings: opens the sum of their commitments and no single one, if there are two or more."""

    @property
    def root(self) -> bytes:
        """What is committed on chain before the verdicts."""
        return root_of(self.commitments)

    @property
    def size(self) -> int:
        """Bytes of the proofs."""
        return sum(proof.size for verdict in self.verdicts for proof in verdict.proofs)


def judge(context: bytes, values: Sequence[int], rule: ThresholdRule, seed: bytes) -> JudgedNode:
    """Commit to a node's values, and judge each under the rule.

    Args:
        context: Network, epoch and node, as bytes.
        values: One for each job.
        rule: The public rule.
        seed: 32 secret bytes of the node, other ones for each epoch.

    Raises:
        InvalidInput: If a value does not have the rule's bits.
    """
    secrets = Scalars(seed, b"blindings" + context)
    blindings = [secrets.next() for _ in values]
    commitments = tuple(commit(v, r) for v, r in zip(values, blindings, strict=True))
    bound = _bound(context, rule, root_of(commitments))
    verdicts, total, blinding = [], 0, 0
    for at, (value, r) in enumerate(zip(values, blindings, strict=True)):
        if not 0 <= value < 1 << rule.bits:
            raise InvalidInput("values", f"job {at} has one of more than {rule.bits} bits")
        ok = value <= rule.limit
        proofs = [
            range_proof.prove(_place(bound, at, part), shown, hidden % ORDER, rule.bits, seed)
            for part, (shown, hidden) in enumerate(_claims(value, r, rule, ok=ok))
        ]
        verdicts.append(HiddenVerdict(ok, tuple(proofs)))
        total += ok * value
        blinding += ok * r
    return JudgedNode(commitments, tuple(verdicts), total, blinding % ORDER)


def verify(context: bytes, root: bytes, judged: JudgedNode, rule: ThresholdRule) -> None:
    """Check every verdict and the total.

    Raises:
        InvalidInput: At the first thing that does not hold: ``root``, ``verdicts``, a proof's part, or ``total``.
    """
    if judged.root != root or len(judged.verdicts) != len(judged.commitments):
        raise InvalidInput("root", "these are not the committed jobs")
    bound = _bound(context, rule, root)
    kept = []
    for at, (point, verdict) in enumerate(zip(judged.commitments, judged.verdicts, strict=True)):
        targets = _targets(point, rule, ok=verdict.ok)
        if len(verdict.proofs) != len(targets):
            raise InvalidInput("verdicts", f"job {at} has not the proofs of its verdict")
        for part, (target, proof) in enumerate(zip(targets, verdict.proofs, strict=True)):
            range_proof.verify(_place(bound, at, part), target, rule.bits, proof)
        if verdict.ok:
            kept.append(point)
    if add(kept) != commit(judged.total, read_scalar(judged.blinding, "blinding")):
        raise InvalidInput("total", "the jobs that are ok add up to something else")


def _claims(value: int, r: int, rule: ThresholdRule, *, ok: bool) -> list[tuple[int, int]]:
    """Return the non-negative numbers behind a verdict, with their blindings."""
    return [(value, r), (rule.limit - value, -r)] if ok else [(value - rule.limit - 1, r)]


def _targets(point: bytes, rule: ThresholdRule, *, ok: bool) -> list[bytes]:
    """Return the commitments to the same numbers, as anybody makes them of the job's commitment."""
    if ok:
        return [point, add([commit(rule.limit, 0), minus(point)])]
    return [add([point, minus(commit(rule.limit + 1, 0))])]


def _bound(context: bytes, rule: ThresholdRule, root: bytes) -> bytes:
    return context + rule.encode() + root


def _place(bound: bytes, at: int, part: int) -> bytes:
    return bound + at.to_bytes(8, "big") + bytes([part])
