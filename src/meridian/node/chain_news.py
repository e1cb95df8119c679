"""What has happened on a network's chain, followed block by block: for everybody who acts on it."""

from dataclasses import dataclass, field
from typing import Final

from meridian.node.chain.follower import Anchor, block_at
from meridian.node.chain_view import (
    AcceptedReport,
    ChainView,
    Commitment,
    EpochCommitments,
    RegisteredEvaluator,
)
from meridian.primitives.ids import Address

KEPT_MAX: Final = 16
"""Moments that are kept: a reorganisation that reaches further back makes everything be read again."""


@dataclass(slots=True)
class ChainNews:
    """What is on chain so far."""

    term: int = 0
    """How many times anything was voided or renewed."""
    epochs: dict[int, EpochCommitments] = field(default_factory=dict)
    """All that was committed and voided, by epoch."""
    reports: list[AcceptedReport] = field(default_factory=list)
    """Those that stand, in the order of their chain."""
    abandoned: set[int] = field(default_factory=set)
    """Epochs closed without a report, for good."""
    evaluators: dict[Address, RegisteredEvaluator] = field(default_factory=dict)
    """Everybody who ever registered, with the latest registration."""

    @property
    def commitments(self) -> dict[int, Commitment]:
        """The commitment of each epoch that evaluators work on; an epoch without a standing one is missing."""
        found = {epoch: one.evaluated for epoch, one in self.epochs.items()}
        return {epoch: one for epoch, one in found.items() if one is not None}


class NewsReader:
    """Reads only what is new, and takes back what stood in blocks that were replaced.

    It keeps what it knew at the last few blocks up to which it read, with their hashes: when one of them does not stand
    any more (a reorganisation), it goes back to the newest that does, or to the beginning, and reads the new branch.

    Args:
        view: Of the chain; used in the thread that calls.
        deploy_block: Where the network begins.
    """

    def __init__(self, view: ChainView, deploy_block: int) -> None:
        self._view = view
        self._deploy_block = deploy_block
        self._kept: list[tuple[Anchor, ChainNews]] = []

    def news(self) -> ChainNews:
        """Return what is on chain, as of one moment; reads only the blocks since the last call."""
        client = self._view.registry.rpc
        while True:
            while (
                self._kept and block_at(client, hex(self._kept[-1][0].number)) != self._kept[-1][0]
            ):
                self._kept.pop()
            old = self._kept[-1][1] if self._kept else ChainNews()
            first = self._kept[-1][0].number + 1 if self._kept else self._deploy_block
            head = block_at(client, "latest")
            if head is None or head.number < first:
                return old
            news = self._read(old, first, head.number)
            if block_at(client, hex(head.number)) == head:  # else it was replaced while we read
                self._kept = [*self._kept[-(KEPT_MAX - 1) :], (head, news)]
                return news

    def _read(self, old: ChainNews, first: int, last: int) -> ChainNews:
        view = self._view.until(last)
        news = ChainNews(
            view.term(last),
            dict(old.epochs),
            list(old.reports),
            old.abandoned | view.abandoned(first),
            dict(old.evaluators),
        )
        view.follow_evaluators(news.evaluators, first)
        view.follow_commitments(news.epochs, first)
        view.follow_reports(news.reports, first)
        return news
