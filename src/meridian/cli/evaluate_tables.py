"""What `meridian evaluate` prints for people."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from meridian.audit.difference import Changed, EpochDifference, NodeDifference, Totals, totals
from meridian.cli.tables import WIDTH, coins
from meridian.explorer.difference_plot import extremes
from meridian.node.reevaluation import Answer

NODES_SHOWN: Final = 10
"""Gainers, and as many losers."""
EPOCHS_SHOWN: Final = 60


def print_differences(name: str, wanted: range, answers: Sequence[Answer]) -> None:
    """Print epochs, nodes and verdicts, and what could not be evaluated."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(WIDTH, console.width))
    found = [one.difference for one in answers if one.difference is not None]
    if found:
        sums = totals(found)
        console.print(_epochs(name, found, sums))
        console.print(_nodes(sums))
        if sums.verdicts:
            _print_verdicts(console, sums.verdicts)
    kept = sum(one.is_kept for one in answers)
    others = len(wanted) - len(answers)
    console.print(
        f"{len(found)} of {len(answers)} reported epochs evaluated"
        + (f", {kept} of them by an earlier run" if kept else "")
        + (f"; {others} have no accepted report" if others else "")
    )
    for note in dict.fromkeys(note for epoch in found for note in epoch.notes):
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    for one in answers:
        if one.difference is None:
            console.print(f"epoch {one.epoch}: {one.problem}", markup=False, soft_wrap=True)
            for item in one.items:
                console.print(f"  {item}", markup=False, soft_wrap=True)


def _signed(atto: int) -> str:
    return "0" if atto == 0 else ("+" if atto > 0 else "-") + coins(abs(atto))


def _epochs(name: str, epochs: Sequence[EpochDifference], sums: Totals) -> Table:
    table = Table(
        title=f"Under {escape(name)} (amounts in whole coins)",
        title_justify="left",
        title_style="bold",
    )
    table.add_column("epoch")
    for column in ("jobs", "judged otherwise", "budget", "paid", "would pay", "moved", "of budget"):
        table.add_column(column, justify="right")
    for epoch in epochs[:EPOCHS_SHOWN]:
        table.add_row(
            str(epoch.epoch),
            f"{epoch.jobs:,}",
            f"{epoch.changed_jobs:,}" if epoch.verdicts or not epoch.jobs else "?",
            coins(epoch.budget),
            coins(epoch.paid.nodes),
            coins(epoch.would.nodes),
            coins(epoch.moved),
            _share(epoch.moved, epoch.budget),
        )
    if len(epochs) > EPOCHS_SHOWN:
        table.add_row(f"and {len(epochs) - EPOCHS_SHOWN} more")
    table.add_section()
    table.add_row(
        "all",
        f"{sum(epoch.jobs for epoch in epochs):,}",
        f"{sum(epoch.changed_jobs for epoch in epochs):,}",
        coins(sums.budget),
        coins(sums.paid.nodes),
        coins(sums.would.nodes),
        coins(sums.moved),
        _share(sums.moved, sums.budget),
        style="bold",
    )
    return table


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else "-"


def _nodes(sums: Totals) -> Table:
    gainers, losers = extremes(sums.nodes, NODES_SHOWN)
    same = sum(node.difference == 0 for node in sums.nodes)
    table = Table(
        title=f"Largest gainers and losers of {len(sums.nodes):,} nodes; {same:,} would get the same",
        title_justify="left",
        title_style="bold",
    )
    table.add_column("node", overflow="fold")
    for column in ("paid", "would be paid", "difference", "rank", "would be"):
        table.add_column(column, justify="right")
    for node in gainers:
        table.add_row(*_node(node), style="green")
    if gainers and losers:
        table.add_section()
    for node in losers:
        table.add_row(*_node(node), style="red")
    table.add_section()
    for title, was, would in (
        ("all nodes", sums.paid.nodes, sums.would.nodes),
        ("evaluators and aggregators", sums.paid.members, sums.would.members),
        ("stays in the pool", sums.paid.left, sums.would.left),
        ("budget", sums.paid.total, sums.would.total),
    ):
        table.add_row(title, coins(was), coins(would), _signed(would - was), style="bold")
    return table


def _node(node: NodeDifference) -> tuple[str, ...]:
    climbed = f" ({node.climbed:+d})" if node.climbed else ""
    return (
        escape(node.node_id),
        coins(node.paid),
        coins(node.would),
        _signed(node.difference),
        str(node.rank_was),
        f"{node.rank_would}{climbed}",
    )


def _print_verdicts(console: Console, verdicts: Sequence[Changed]) -> None:
    changed = [one for one in verdicts if one.was != one.would]
    if not changed:
        console.print("Every job would have the same verdict.")
        return
    table = Table(
        title="Jobs that would be judged otherwise", title_justify="left", title_style="bold"
    )
    table.add_column("verdict")
    table.add_column("would be")
    table.add_column("jobs", justify="right")
    for one in sorted(changed, key=lambda one: -one.jobs):
        table.add_row(escape(one.was), escape(one.would), f"{one.jobs:,}")
    console.print(table)
