"""What has happened on a network's chain, followed block by block: for everybody who acts on it."""

from dataclasses import dataclass, field

from meridian.node.chain_view import (
    AcceptedReport,
    ChainView,
    Commitment,
    EpochCommitments,
    RegisteredEvaluator,
)
from meridian.primitives.ids import Address


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
    """Reads only what is new.

    Args:
        view: Of the chain; used in the thread that calls.
        deploy_block: Where the network begins.
    """

    def __init__(self, view: ChainView, deploy_block: int) -> None:
        self._view = view
        self._news = ChainNews()
        self._next_block = deploy_block

    def news(self) -> ChainNews:
        """Return what is on chain, as of one moment; reads only the blocks since the last call."""
        head = self._view.head()
        while head >= self._next_block:
            old, first = self._news, self._next_block
            news = ChainNews(
                self._view.term(),
                dict(old.epochs),
                list(old.reports),
                old.abandoned | self._view.abandoned(first),
                dict(old.evaluators),
            )
            self._view.follow_evaluators(news.evaluators, first)
            self._view.follow_commitments(news.epochs, first)
            self._view.follow_reports(news.reports, first)
            if self._view.term() == news.term:  # else something was voided while we read
                self._news = news
                self._next_block = head  # the head's own logs are read again: it may see more later
                break
        return self._news
