"""What `meridian attack-sim` draws: a table and bars for each size of committee."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from meridian.sim.attack.sleeper import Slept
from meridian.sim.attack.strategies import Strategy
from meridian.sim.attack.trials import METHODS, Cell

BAR_WIDTH: Final = 32
BAR_FULL: Final = 0.40
"""The gain that fills a bar; longer ones are cut and marked."""

_COLOURS: Final = {"mean": "red", "median": "cyan", "trimmed": "yellow", "wmedian": "green"}


def print_cells(console: Console, cells: Sequence[Cell], strategies: Sequence[Strategy]) -> None:
    """Print the trials, one table with bars for each size."""
    for n in dict.fromkeys(cell.n for cell in cells):
        own = [cell for cell in cells if cell.n == n]
        liars, trials = own[0].liars, own[0].trials
        table = Table(
            title=f"{liars} of {n} evaluators lie about a node, {trials:,} trials of each attack",
            title_justify="left",
        )
        for name in ("attack", "method"):
            table.add_column(name, no_wrap=True)
        for name in ("outside", "deferred", "error", "gain"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column(f"gain, up to {BAR_FULL:.0%}", no_wrap=True, min_width=BAR_WIDTH)
        for strategy in strategies:
            for number, method in enumerate(METHODS):
                cell = next(c for c in own if (c.strategy, c.method) == (strategy.name, method))
                table.add_row(
                    strategy.name if number == 0 else "",
                    Text(method, style=_COLOURS[method]),
                    f"{cell.outside / cell.trials:.2%}",
                    f"{cell.deferred / cell.trials:.1%}",
                    f"{cell.error:.1%}",
                    f"{cell.gain:+.1%}",
                    _bar(cell.gain, _COLOURS[method]),
                    end_section=number == len(METHODS) - 1,
                )
        console.print(table)
    for strategy in strategies:
        console.print(f"  {strategy.name}: {strategy.description}; if it works, {strategy.gains}")
    console.print(
        "  outside: beyond what any honest evaluator said; deferred: too few spoke, the share is held back;"
        " error, gain: from the truth, of what has a value"
    )


def _bar(gain: float, colour: str) -> Text:
    whole = min(BAR_WIDTH - 1, round(abs(gain) / BAR_FULL * (BAR_WIDTH - 1)))
    mark = "»" if abs(gain) > BAR_FULL else ""
    return Text(("-" if gain < 0 else "") + "█" * max(whole, int(gain != 0)) + mark, style=colour)


def print_slept(console: Console, slept: Sequence[Slept]) -> None:
    """Print what the sleepers gained."""
    if not slept:
        return
    table = Table(
        title="Sleepers: honest for 50 epochs, then all f say ten times the value",
        title_justify="left",
    )
    for name in ("n", "histories", "weight of sleepers", "weight of others"):
        table.add_column(name, justify="right")
    for name in ("gain, wmedian", "gain, median", "outside"):
        table.add_column(name, justify="right")
    for one in slept:
        table.add_row(
            str(one.n),
            str(one.worlds),
            f"{one.sleepers_weight:.0%}",
            f"{one.others_weight:.0%}",
            f"{one.gain:+.1%}",
            f"{one.gain_unweighted:+.1%}",
            str(one.outside),
        )
    console.print(table)
