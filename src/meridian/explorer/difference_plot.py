"""Pictures of what epochs paid and would have paid under another function: one epoch, and epoch after epoch."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from meridian.audit.difference import EpochDifference, NodeDifference, totals
from meridian.explorer.svg import INK, Frame, bar, dot, line, path, picture, step, text
from meridian.primitives.amounts import ATTO, format_fil

WIDTH: Final = 860
HEIGHT: Final = 470
NODES_SHOWN: Final = 8
"""Names of the largest gainers, and as many losers."""
NODES_DRAWN: Final = 5_000
"""More nodes are drawn as every k-th of them, by rank."""
PAID: Final = "#57606a"
GAINS: Final = "#1a7f37"
LOSES: Final = "#bc4c00"
_NAME_MAX: Final = 20


def coins(atto: int) -> float:
    """Return an amount in whole coins, for drawing only."""
    return atto / ATTO


def extremes(
    nodes: Sequence[NodeDifference], count: int
) -> tuple[list[NodeDifference], list[NodeDifference]]:
    """Return the largest gainers and the largest losers, each the greatest first, equal ones by node id."""
    gainers = sorted(nodes, key=lambda node: (-node.difference, node.node_id))[:count]
    losers = sorted(nodes, key=lambda node: (node.difference, node.node_id))[:count]
    return (
        [node for node in gainers if node.difference > 0],
        [node for node in losers if node.difference < 0],
    )


def draw_epoch(epoch: EpochDifference, name: str) -> str:
    """Return the picture of one epoch: every node by rank, what it was paid as a line, what it would be paid as a dot.

    Args:
        epoch: Both sides.
        name: Of the function.
    """
    nodes = sorted(epoch.nodes, key=lambda node: (-node.paid, node.node_id))
    nodes = nodes[:: max(1, -(-len(nodes) // NODES_DRAWN))]
    most = max((coins(max(node.paid, node.would)) for node in nodes), default=0.0) or 1.0
    frame = Frame(80, 64, WIDTH - 250, HEIGHT - 52, 1, max(2, len(epoch.nodes)), 0, most * 1.05)
    parts = [
        text(20, 26, f"Epoch {epoch.epoch}: paid, and what {name} would have paid"),
        text(20, 46, _moved([epoch]), colour=PAID),
        *_money_grid(frame, most),
        *frame.across((rank, str(rank)) for rank in _rounds(len(epoch.nodes))),
        text(
            (frame.left + frame.right) / 2, HEIGHT - 12, "nodes, by what they were paid", "middle"
        ),
        path([(frame.x(node.rank_was), frame.y(coins(node.paid))) for node in nodes], PAID),
    ]
    parts += [
        dot(
            frame.x(node.rank_was),
            frame.y(coins(node.would)),
            _colour(node),
            2.4,
            f"{node.node_id}: {format_fil(node.paid)}, would be {format_fil(node.would)}",
        )
        for node in nodes
    ]
    return picture(WIDTH, HEIGHT, f"Epoch {epoch.epoch}", parts + _names(epoch.nodes))


def draw_epochs(epochs: Sequence[EpochDifference], name: str) -> str:
    """Return the picture of several epochs: what moves in each, and how the largest gains and losses add up.

    Args:
        epochs: Ascending, at least one.
        name: Of the function.
    """
    first, last = epochs[0].epoch, epochs[-1].epoch
    shares = [100 * epoch.moved / epoch.budget if epoch.budget else 0.0 for epoch in epochs]
    most = max(*shares, 0.1) * 1.1
    upper = Frame(80, 64, WIDTH - 250, 190, first - 0.6, last + 0.6, 0, most)
    parts = [
        text(20, 26, f"Epochs {first} to {last}: what {name} would have moved"),
        text(20, 46, _moved(epochs), colour=PAID),
        *upper.down((at, f"{at:g} %") for at in _marks(most, step(most) * 2)),
    ]
    width = min(28.0, 0.7 * (upper.right - upper.left) / (last - first + 1.2))
    parts += [
        bar(
            upper.x(epoch.epoch) - width / 2,
            upper.y(share),
            width,
            upper.bottom - upper.y(share),
            PAID,
            f"epoch {epoch.epoch}: {share:.2f} % of its budget",
        )
        for epoch, share in zip(epochs, shares, strict=True)
    ]
    nodes = totals(epochs).nodes
    chosen = [node for side in extremes(nodes, NODES_SHOWN) for node in side]
    sums = {node.node_id: _running(epochs, node.node_id) for node in chosen}
    values = [value for one in sums.values() for value in one] or [0.0]
    low, high = min(*values, 0.0), max(*values, 0.0)
    room = (high - low or 1.0) * 0.05
    lower = Frame(
        80, 226, WIDTH - 250, HEIGHT - 52, first - 0.6, last + 0.6, low - room, high + room
    )
    unit = step(high - low or 1.0) * 2
    parts += lower.down(
        (at * unit, f"{at * unit:+g}" if at else "0")
        for at in range(-int(-low // unit), int(high // unit) + 1)
    )
    parts += [
        *lower.across((at, str(at)) for at in _epochs_marked(epochs)),
        text(20, 216, "coins more or less, added up", colour=PAID),
        text((lower.left + lower.right) / 2, HEIGHT - 12, "epoch", "middle"),
        line(lower.left, lower.y(0), lower.right, lower.y(0), INK),
    ]
    places = [lower.x(epoch.epoch) for epoch in epochs]
    for node in chosen:
        points = list(zip(places, map(lower.y, sums[node.node_id]), strict=True))
        parts += [path(points, _colour(node)), *(dot(x, y, _colour(node), 2) for x, y in points)]
    return picture(WIDTH, HEIGHT, f"Epochs {first} to {last}", parts + _names(nodes))


def _running(epochs: Sequence[EpochDifference], name: str) -> list[float]:
    found = [
        sum(node.difference for node in epoch.nodes if node.node_id == name) for epoch in epochs
    ]
    return [coins(atto) for atto in accumulate(found)]


def _names(nodes: Sequence[NodeDifference]) -> list[str]:
    """Return the list of gainers and losers beside the field."""
    parts, y, x = list[str](), 74.0, WIDTH - 232.0
    for title, side in zip(("gain most", "lose most"), extremes(nodes, NODES_SHOWN), strict=True):
        parts.append(text(x, y, title if side else f"nobody: {title}", colour=PAID))
        for node in side:
            y += 18
            name = node.node_id
            name = name if len(name) <= _NAME_MAX else name[: _NAME_MAX - 1] + "…"
            parts.append(text(x, y, name, colour=_colour(node)))
            parts.append(text(WIDTH - 12, y, f"{coins(node.difference):+,.4g}", "end"))
        y += 34
    return parts


def _moved(epochs: Sequence[EpochDifference]) -> str:
    """Return in words how much money and how many jobs change."""
    budget, moved = sum(one.budget for one in epochs), sum(one.moved for one in epochs)
    share = 100 * moved / budget if budget else 0.0
    jobs, changed = sum(one.jobs for one in epochs), sum(one.changed_jobs for one in epochs)
    return (
        f"{share:.2f} % of {coins(budget):,.6g} coins would go elsewhere; "
        f"{changed:,} of {jobs:,} jobs would have another verdict"
    )


def _colour(node: NodeDifference) -> str:
    return GAINS if node.difference > 0 else LOSES if node.difference < 0 else PAID


def _money_grid(frame: Frame, most: float) -> list[str]:
    marks = frame.down((at, f"{at:g}") for at in _marks(most, step(most)))
    return [*marks, text(frame.left - 60, frame.top + 10, "coins", colour=PAID)]


def _marks(most: float, every: float) -> list[float]:
    return [every * at for at in range(int(most // every) + 1)]


def _rounds(nodes: int) -> list[int]:
    every = max(1, int(step(nodes)))
    return [1, *range(every, nodes + 1, every)] if every > 1 else list(range(1, nodes + 1))


def _epochs_marked(epochs: Sequence[EpochDifference]) -> list[int]:
    every = max(1, int(step(epochs[-1].epoch - epochs[0].epoch + 1)))
    return [one.epoch for one in epochs][::every]
