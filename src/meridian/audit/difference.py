"""What an epoch paid beside what it would have paid under another function, in whole atto.

The law: on either side what nodes get, what members get and what stays in the pool are exactly the epoch's budget.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from meridian.errors import InvalidInput

VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Parts:
    """Where an epoch's budget goes, atto."""

    nodes: int
    members: int
    """Evaluators and aggregators."""
    left: int
    """Stays in the pool: dust, what is held back or withheld, less what earlier epochs were owed."""

    @property
    def total(self) -> int:
        """The budget."""
        return self.nodes + self.members + self.left


@dataclass(frozen=True, slots=True)
class NodeDifference:
    """One node on both sides; amounts are atto."""

    node_id: str
    paid: int
    would: int
    """What it would have been paid."""
    weight_was: int | None = None
    """None: deferred, or it had no job; so in sums over epochs."""
    weight_would: int | None = None
    rank_was: int = 0
    """One more than the number of nodes that were paid more."""
    rank_would: int = 0

    @property
    def difference(self) -> int:
        """What it would have been paid more, atto; negative: less."""
        return self.would - self.paid

    @property
    def climbed(self) -> int:
        """By how many ranks it would stand higher."""
        return self.rank_was - self.rank_would


@dataclass(frozen=True, slots=True)
class Changed:
    """How many jobs have one verdict and would have the other."""

    was: str
    would: str
    jobs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochDifference:
    """One epoch on both sides.

    Raises:
        InvalidInput: If a side's parts are not the budget.
    """

    epoch: int
    jobs: int
    function_was: bytes
    """Digest of the schedule's."""
    function_would: bytes
    report_hash: bytes
    """The accepted report, that says what was paid."""
    budget: int
    paid: Parts
    would: Parts
    nodes: tuple[NodeDifference, ...]
    """By node id."""
    verdicts: tuple[Changed, ...] = ()
    """All pairs that occur, equal ones too; empty where the schedule's function does not run here."""
    notes: tuple[str, ...] = ()
    """What the reader must know of this epoch."""

    def __post_init__(self) -> None:
        for name, parts, amounts in (
            ("paid", self.paid, (node.paid for node in self.nodes)),
            ("would", self.would, (node.would for node in self.nodes)),
        ):
            if parts.total != self.budget or parts.left < 0 or sum(amounts) != parts.nodes:
                raise InvalidInput(name, f"{parts} are not the budget of {self.budget} atto")

    @property
    def moved(self) -> int:
        """Atto that would go to other nodes, or to nobody: the sum of all losses."""
        return sum(max(0, -node.difference) for node in self.nodes)

    @property
    def changed_jobs(self) -> int:
        """Jobs whose verdict would be another."""
        return sum(one.jobs for one in self.verdicts if one.was != one.would)

    def encode(self) -> dict[str, Any]:
        """Return the epoch as JSON values; what can pass 2^53 is decimal text."""
        return {
            "v": VERSION,
            "epoch": self.epoch,
            "jobs": self.jobs,
            "function_was": self.function_was.hex(),
            "function_would": self.function_would.hex(),
            "report_hash": self.report_hash.hex(),
            "budget_atto": str(self.budget),
            "paid": parts_object(self.paid),
            "would": parts_object(self.would),
            "nodes": [node_object(node) for node in self.nodes],
            "verdicts": [
                {"was": one.was, "would": one.would, "jobs": one.jobs} for one in self.verdicts
            ],
            "notes": list(self.notes),
        }

    @classmethod
    def decode(cls, value: Any) -> Self:
        """Read what `encode` returned.

        Raises:
            InvalidInput: If it is anything else.
        """
        try:
            difference = cls(
                epoch=value["epoch"],
                jobs=value["jobs"],
                function_was=bytes.fromhex(value["function_was"]),
                function_would=bytes.fromhex(value["function_would"]),
                report_hash=bytes.fromhex(value["report_hash"]),
                budget=int(value["budget_atto"]),
                paid=_parts(value["paid"]),
                would=_parts(value["would"]),
                nodes=tuple(_node(node) for node in value["nodes"]),
                verdicts=tuple(Changed(**one) for one in value["verdicts"]),
                notes=tuple(value["notes"]),
            )
            same = difference.encode() == value
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInput("difference", f"it lacks or misuses {error}") from error
        if not same:
            raise InvalidInput("difference", f"it is not one of version {VERSION}")
        return difference


def parts_object(parts: Parts) -> dict[str, str]:
    """Return the parts of a budget as JSON values."""
    return {
        "nodes_atto": str(parts.nodes),
        "members_atto": str(parts.members),
        "left_atto": str(parts.left),
    }


def _parts(value: Mapping[str, str]) -> Parts:
    return Parts(*(int(value[name]) for name in ("nodes_atto", "members_atto", "left_atto")))


def node_object(node: NodeDifference) -> dict[str, Any]:
    """Return a node's row as JSON values."""
    return {
        "node_id": node.node_id,
        "paid_atto": str(node.paid),
        "would_atto": str(node.would),
        "difference_atto": str(node.difference),
        "weight_was": _text(node.weight_was),
        "weight_would": _text(node.weight_would),
        "rank_was": node.rank_was,
        "rank_would": node.rank_would,
    }


def _node(value: Mapping[str, Any]) -> NodeDifference:
    was, would = value["weight_was"], value["weight_would"]
    return NodeDifference(
        node_id=value["node_id"],
        paid=int(value["paid_atto"]),
        would=int(value["would_atto"]),
        weight_was=None if was is None else int(was),
        weight_would=None if would is None else int(would),
        rank_was=value["rank_was"],
        rank_would=value["rank_would"],
    )


def _text(weight: int | None) -> str | None:
    return None if weight is None else str(weight)


def ranks(amounts: Sequence[int]) -> list[int]:
    """Return for each amount one more than the number of greater ones."""
    order = sorted(range(len(amounts)), key=lambda at: -amounts[at])
    found, rank = [0] * len(amounts), 0
    for place, at in enumerate(order):
        if place == 0 or amounts[at] < amounts[order[place - 1]]:
            rank = place + 1
        found[at] = rank
    return found


@dataclass(frozen=True, slots=True)
class Totals:
    """Several epochs together."""

    budget: int
    paid: Parts
    would: Parts
    moved: int
    """The sum of what epochs move; within an epoch, so nothing cancels out over time."""
    nodes: tuple[NodeDifference, ...] = field(repr=False)
    """Sums of amounts, by node id; ranks are those of the sums."""
    verdicts: tuple[Changed, ...]


def totals(epochs: Iterable[EpochDifference]) -> Totals:
    """Add up epochs."""
    known = list(epochs)
    paid, would, jobs = dict[str, int](), dict[str, int](), dict[tuple[str, str], int]()
    for epoch in known:
        for node in epoch.nodes:
            paid[node.node_id] = paid.get(node.node_id, 0) + node.paid
            would[node.node_id] = would.get(node.node_id, 0) + node.would
        for one in epoch.verdicts:
            jobs[one.was, one.would] = jobs.get((one.was, one.would), 0) + one.jobs
    names = sorted(paid)
    rank_was = ranks([paid[name] for name in names])
    rank_would = ranks([would[name] for name in names])
    nodes = tuple(
        NodeDifference(name, paid[name], would[name], None, None, was, then)
        for name, was, then in zip(names, rank_was, rank_would, strict=True)
    )
    return Totals(
        sum(epoch.budget for epoch in known),
        _sum(epoch.paid for epoch in known),
        _sum(epoch.would for epoch in known),
        sum(epoch.moved for epoch in known),
        nodes,
        tuple(Changed(was, then, count) for (was, then), count in sorted(jobs.items())),
    )


def _sum(parts: Iterable[Parts]) -> Parts:
    known = list(parts)
    return Parts(
        sum(one.nodes for one in known),
        sum(one.members for one in known),
        sum(one.left for one in known),
    )
