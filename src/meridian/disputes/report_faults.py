"""Rewards that do not follow: what a report gives, beside what commitment, terms and budget say.

Law: only what somebody got is judged. That a node got nothing proves nothing, because a node about which too few
members spoke is deferred and its share held back.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from meridian.contracts.calldata import Words, ascending_words
from meridian.disputes.accusation import Accusation
from meridian.disputes.commitment_faults import PublishedEpoch
from meridian.disputes.ways import Gap, GapWords, RowTree, claim_row_tree, node_row_tree, path_words
from meridian.errors import InvalidInput
from meridian.measure.manifest import NodeRow
from meridian.primitives.hashing import REWARD_ROOT, tagged
from meridian.primitives.ids import Address
from meridian.reward.members import PayTerms, pay_key, split_budget
from meridian.reward.report import NO_REPORT, Report, ReportTuple

CLAIM_ROW_BYTES: Final = 68
NO_WORDS: Final[ReportTuple] = (
    bytes(32),
    0,
    bytes(32),
    bytes(32),
    bytes(32),
    bytes(32),
    bytes(32),
    bytes(32),
    bytes(32),
    0,
    bytes(32),
)
"""In the place of a predecessor, where a report has none."""

ClaimedWords = tuple[int, GapWords]


@dataclass(frozen=True, slots=True)
class Terms:
    """What the schedule says of an epoch's money."""

    rule: int
    """How a node's weight follows from its row: 0 not at all, 1 jobs, 2 first lane, 3 second lane, 4 the one lane."""
    evaluators_ppm: int
    aggregators_ppm: int

    @property
    def pay(self) -> PayTerms:
        """The shares of evaluators and aggregators."""
        return PayTerms(self.evaluators_ppm, self.aggregators_ppm)

    def node_budget(self, budget: int) -> int:
        """Return what is left for the nodes, atto."""
        return split_budget(budget, self.pay).nodes

    def weight(self, annotation: bytes) -> int:
        """Return what the rule reads from an annotation of 24 bytes.

        Raises:
            InvalidInput: If there is no rule.
        """
        fields = {1: slice(0, 8), 2: slice(8, 16), 3: slice(16, 24), 4: slice(8, 24)}
        if self.rule not in fields:
            raise InvalidInput("rule", f"{self.rule} does not make weights")
        return int.from_bytes(annotation[fields[self.rule]], "big")


class ReportedClaims:
    """A report with the claim rows that stand under it.

    Args:
        report: The report.
        rows: Claim rows of 68 bytes (node key, payee, cumulative u128) in the order of the tree.
        report_hash: Its digest in the domain of Evaluations.
    """

    def __init__(self, report: Report, rows: Sequence[bytes], report_hash: bytes) -> None:
        self.report, self.report_hash = report, report_hash
        matrix = np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(rows), CLAIM_ROW_BYTES)
        self.tree: RowTree = claim_row_tree(matrix)

    @property
    def leads_to_root(self) -> bool:
        """Whether the rows are those under the report's root."""
        size = self.tree.size.to_bytes(8, "big")
        return tagged(REWARD_ROOT, size, self.tree.tree.root) == self.report.reward_root

    @property
    def amounts(self) -> dict[bytes, tuple[bytes, int]]:
        """Node key -> payee and cumulative atto."""
        return {row[:32]: (row[32:52], int.from_bytes(row[52:], "big")) for row in self.tree.rows}

    def place(self, key: bytes) -> ClaimedWords:
        """Return what stands at a key's place, as the contracts take it."""
        return claimed_words(self.tree.size, self.tree.place(key))


def claimed_words(size: int, gap: Gap) -> ClaimedWords:
    """Return a place in a claim tree as the contracts take it."""
    return size, gap.words


@dataclass(frozen=True, slots=True)
class Judged:
    """All that a report is judged by."""

    claims: ReportedClaims
    before: ReportedClaims | None
    """The report that it names as its predecessor; None for the network's first."""
    signatures: Mapping[Address, bytes]
    """Who signed it, 64 bytes each."""
    epoch: PublishedEpoch
    """The epoch's only commitment."""
    terms: Terms
    budget: int
    """The epoch's whole budget, atto."""
    members: tuple[Address, ...]
    """The epoch's committee."""

    @property
    def _words(self) -> list[Words]:
        return ascending_words(self.signatures)

    def accuse(self, function: str, rest: tuple[object, ...], reason: str) -> Accusation:
        """Return an accusation of all signers."""
        report = self.claims.report
        arguments = (report.values, self._words, *rest)
        guilty = tuple(sorted(self.signatures))
        return Accusation("ReportProofs", function, arguments, report.epoch, guilty, reason)

    def places(self, key: bytes) -> tuple[ReportTuple, bytes, ClaimedWords, ClaimedWords]:
        """Return the predecessor, the key, and its places after and before."""
        empty: ClaimedWords = (0, (b"", b"", 0, [], []))
        previous = NO_WORDS if self.before is None else self.before.report.values
        before = empty if self.before is None else self.before.place(key)
        return previous, key, self.claims.place(key), before


@dataclass(frozen=True, slots=True)
class NodeReward:
    """What a report gives one node, and what the contracts would compute."""

    jobs: int
    """That the commitment counts."""
    payee: bytes
    """Whom the claim pays; nobody without a claim."""
    amount: int
    """Atto of this report."""
    share: int | None
    """The node's share of the budget by the epoch's rule, atto, rounded down; None: there is no rule."""


def node_reward(judged: Judged, key: bytes) -> NodeReward:
    """Return what a report gives one node."""
    payee, cumulative = judged.claims.amounts.get(key, (b"", 0))
    had = {} if judged.before is None else judged.before.amounts
    amount = cumulative - had.get(key, (b"", 0))[1]
    rows = {row[8:40].tobytes(): row.tobytes() for row in judged.epoch.node_rows}
    row = rows.get(key)
    jobs = 0 if row is None else int.from_bytes(row[92:100], "big")
    share = None if judged.terms.rule == 0 else 0
    if row is not None and share is not None:
        share = _share(judged, row)[0]
    return NodeReward(jobs, payee, amount, share)


def find_report_faults(judged: Judged, only: bytes | None = None) -> Iterator[Accusation]:
    """Yield every accusation that a report's claims allow; the rows must lead to its root.

    Args:
        judged: The report.
        only: The key of the one node whose claim is looked at; None: all.

    Raises:
        InvalidInput: If the rows are not those of the report or of its predecessor.
    """
    _check(judged)
    faults = list(_tree_faults(judged))
    yield from faults
    if faults:  # nothing can be looked up in a tree without order
        return
    yield from _decreases(judged, only)
    yield from _excesses(judged, only)


def _check(judged: Judged) -> None:
    before, report = judged.before, judged.claims.report
    if not judged.claims.leads_to_root or (before is not None and not before.leads_to_root):
        raise InvalidInput("claims", "they do not lead to the report's root")
    previous = NO_REPORT if before is None else before.report_hash
    if report.previous != previous:
        raise InvalidInput("previous", "the report names another predecessor")


def _tree_faults(judged: Judged) -> Iterator[Accusation]:
    tree, report = judged.claims.tree, judged.claims.report
    for at, (left, right) in enumerate(pairwise(tree.keys)):
        if left >= right:
            words = claimed_words(tree.size, tree.neighbours(at))
            reason = f"claims {at} and {at + 1} are not in ascending order"
            yield judged.accuse("disordered_claims", (words,), reason)
    total = int.from_bytes(tree.tree.root[40:], "big")
    if tree.size and total != report.total:
        spot = tree.spot(0)
        claimed = 1 << 128 | int.from_bytes(spot.row[52:], "big")
        rest = (tree.size, spot.row, claimed, spot.sides, path_words(spot.path))
        reason = f"the claims add up to {total}, not {report.total}"
        yield judged.accuse("bad_claims", rest, reason)


def _decreases(judged: Judged, only: bytes | None) -> Iterator[Accusation]:
    if judged.before is None:
        return
    now = judged.claims.amounts
    for key, (_, had) in judged.before.amounts.items():
        has = now.get(key, (b"", 0))[1]
        if has < had and only in {None, key}:
            reason = f"{key.hex()} had {had} and now has {has}"
            yield judged.accuse("decreased", judged.places(key), reason)


def _excesses(judged: Judged, only: bytes | None) -> Iterator[Accusation]:
    nodes = node_row_tree(judged.epoch.node_rows, judged.epoch.lanes)
    rows = {row[8:40]: row for row in nodes.rows}
    had = {} if judged.before is None else judged.before.amounts
    for key, (payee, cumulative) in judged.claims.amounts.items():
        if only not in {None, key}:
            continue
        amount = cumulative - had.get(key, (b"", 0))[1]
        reason = _excess(judged, key, payee, amount, rows.get(key)) if amount > 0 else None
        if reason is not None:
            rest = (judged.epoch.commitment.words, nodes.place(key).words)
            places = judged.places(key)
            yield judged.accuse("wrong_reward", (*places, *rest), reason)


def _most_pay(judged: Judged, key: bytes, payee: bytes) -> int:
    """Return the most that a key without a node can get, atto: an evaluator's and the aggregator's pay.

    Evaluators share their pool evenly among those whose rows counted, at least n - 2f.
    """
    account = Address(payee)
    if pay_key(account) != key:
        return 0
    parts = split_budget(judged.budget, judged.terms.pay)
    most = parts.aggregators if account == judged.epoch.commitment.aggregator else 0
    n = len(judged.members)
    if account in judged.members:
        most += parts.evaluators // (n - 2 * ((n - 1) // 3))
    return most


def _excess(judged: Judged, key: bytes, payee: bytes, amount: int, row: bytes | None) -> str | None:
    """Return why a positive amount is wrong; None if it is right or nothing can be said."""
    if row is None:
        most = _most_pay(judged, key, payee)
        return None if amount <= most else f"{key.hex()} is no node, and no member is paid so much"
    if payee != NodeRow.decode(row).payee:
        return f"node {key.hex()} is paid to another account than its payee"
    if judged.terms.rule == 0:
        return None
    share, rest = _share(judged, row)
    if amount == share or (rest and amount == share + 1):
        return None
    return f"node {key.hex()} got {amount}, its share is {share}"


def _share(judged: Judged, row: bytes) -> tuple[int, int]:
    """Return a node's share of the budget by the epoch's rule, rounded down, and whether a rest is left."""
    weight = judged.terms.weight(row[92:])
    whole = judged.terms.weight(judged.epoch.commitment.annotation)
    budget = judged.terms.node_budget(judged.budget)
    return divmod(budget * weight, whole) if whole else (0, 0)
