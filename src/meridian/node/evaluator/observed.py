"""What an evaluator tells its operator."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from meridian.node.chain_news import ChainNews
from meridian.node.evaluator.state import EpochState
from meridian.node.observe.observation import Observation
from meridian.primitives.ids import Address, address_text
from meridian.primitives.quorum import quorum

CHAIN_STALE_S: Final = 30.0
"""A chain that has told nothing for so long is not reached."""
EPOCHS_SHOWN: Final = 5
STATES: Final = (
    "evaluating",
    "evaluated",
    "agreeing",
    "decided",
    "reported",
    "published",
    "outside",
    "barred",
)


NOT_BEGUN: Final = Observation(ready=False, problem="the chain has not answered yet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known at one moment."""

    address: Address
    term: int
    news: ChainNews
    news_age_s: float
    epochs: Mapping[int, EpochState]
    links: Mapping[str, int]
    driver: Mapping[str, int]
    misbehaviour: int
    problem: str | None
    """Why the epoch at work gets no row from us."""


def state_of(epoch: EpochState) -> str:
    """Return where an epoch stands with us, one of `STATES`."""
    if epoch.is_outside:
        return "outside"
    if epoch.published:
        return "published"
    if epoch.barred is not None or epoch.wrong is not None:
        return "barred"
    if epoch.settled is not None:
        return "reported"
    if epoch.decided is not None:
        return "decided"
    if epoch.is_open:
        return "agreeing"
    return "evaluating" if epoch.work is None else "evaluated"


def observe(seen: Seen) -> Observation:
    """Return what the operator is told."""
    states = {epoch: state_of(one) for epoch, one in sorted(seen.epochs.items())}
    problem = _problem(seen, states)
    chain_is_reached = seen.news_age_s <= CHAIN_STALE_S
    detail: dict[str, Any] = {
        "address": address_text(seen.address),
        "term": seen.term,
        "chain_age_s": round(seen.news_age_s, 1),
        "peers": seen.links["peers"],
        "connected": seen.links["connected"],
        "needed": _needed(seen),
        "committed_epoch": max(seen.news.commitments, default=None),
        "published_epoch": max((e for e, s in states.items() if s == "published"), default=None),
        "epochs": [
            {"epoch": epoch, "state": state}
            for epoch, state in list(states.items())[-EPOCHS_SHOWN:]
        ],
        "misbehaviour": seen.misbehaviour,
    }
    return Observation(
        ready=chain_is_reached and seen.links["connected"] >= _needed(seen),
        problem=problem,
        detail=detail,
        metrics=_metrics(seen, states),
    )


def _needed(seen: Seen) -> int:
    """How many others must be connected, so that a quorum can agree."""
    return quorum(seen.links["peers"] + 1) - 1


def _problem(seen: Seen, states: Mapping[int, str]) -> str | None:
    if seen.news_age_s > CHAIN_STALE_S:
        return f"the chain has not answered for {seen.news_age_s:.0f} s"
    if seen.links["connected"] < _needed(seen):
        return f"{seen.links['connected']} of {seen.links['peers']} members are connected, {_needed(seen)} are needed"
    barred = [epoch for epoch, state in states.items() if state == "barred"]
    if barred:
        one = seen.epochs[barred[-1]]
        return f"epoch {barred[-1]}: {one.barred or one.wrong}"
    return seen.problem


def _metrics(seen: Seen, states: Mapping[int, str]) -> list[Metric]:
    epochs = GaugeMetricFamily(
        "meridian_evaluator_epochs", "Epochs that are remembered, by state", labels=["state"]
    )
    counts = Counter(states.values())
    for state in STATES:
        epochs.add_metric([state], counts[state])
    published = [epoch for epoch, state in states.items() if state == "published"]
    return [
        epochs,
        GaugeMetricFamily(
            "meridian_evaluator_committed_epoch",
            "The newest epoch with a commitment on chain; -1: none",
            value=max(seen.news.commitments, default=-1),
        ),
        GaugeMetricFamily(
            "meridian_evaluator_published_epoch",
            "The newest epoch whose outcome we published; -1: none",
            value=max(published, default=-1),
        ),
        GaugeMetricFamily("meridian_evaluator_term", "The network's term", value=seen.term),
        GaugeMetricFamily(
            "meridian_evaluator_chain_age_seconds",
            "Since the chain last answered",
            value=seen.news_age_s,
        ),
        GaugeMetricFamily("meridian_evaluator_peers", "Other members", value=seen.links["peers"]),
        GaugeMetricFamily(
            "meridian_evaluator_peers_connected",
            "Other members with a standing link",
            value=seen.links["connected"],
        ),
        GaugeMetricFamily(
            "meridian_evaluator_frames_waiting",
            "Frames of others that wait to be read",
            value=seen.driver["frames_waiting"],
        ),
        CounterMetricFamily(
            "meridian_evaluator_frames_rejected",
            "Frames of others that were refused",
            value=seen.driver["frames_rejected"],
        ),
        CounterMetricFamily(
            "meridian_evaluator_misbehaviour",
            "Proofs against other members that were found",
            value=seen.misbehaviour,
        ),
    ]
