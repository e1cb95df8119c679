"""The tables of a comparison of models: for a terminal, and as Markdown for the documents."""

from collections.abc import Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from meridian.journey.models.comparison import Compared, Comparison
from meridian.journey.models.frauds import FRAUDS
from meridian.journey.models.model import MAIN_CHAIN, Costs, Ending, Facts, Phase

WIDTH: Final = 200
"""Columns where the output is no terminal."""
_COLOURS: Final = {
    Ending.PREVENTED: "green",
    Ending.CAUGHT: "yellow",
    Ending.UNNOTICED: "bold red",
    Ending.IMPOSSIBLE: "dim",
}

Row = tuple[str, list[str]]
"""A row's name and a cell for each column."""


def columns(comparison: Comparison) -> list[tuple[str, Costs]]:
    """Return the columns of the costs: a model, or a way of using it."""
    found = []
    for one in comparison.models:
        found.append((one.model, one.costs))
        found += [(f"{one.model}, {name}", variant.costs) for name, variant in one.variants.items()]
    return found


def cost_rows(comparison: Comparison) -> list[Row]:
    """Return what each column costs; numbers of other chains than the main one have rows of their own."""
    costs = [cost for _, cost in columns(comparison)]
    rows: list[Row] = []
    for name, attribute in (
        ("transactions", "transactions"),
        ("gas", "gas"),
        ("call data, bytes", "calldata_bytes"),
    ):
        for phase in Phase:
            sums = [sum(getattr(step, attribute) for step in cost.of(phase)) for cost in costs]
            rows.append((f"{name}: {phase.value}", [f"{number:,}" for number in sums]))
    per_job = [sum(step.gas for step in cost.of(Phase.EPOCH)) / comparison.jobs for cost in costs]
    rows.append(("gas of the epoch, for each job", [f"{number:,.1f}" for number in per_job]))
    rows += _other_chains(costs)
    rows += [
        ("published off chain, bytes", [f"{cost.stored_bytes:,}" for cost in costs]),
        ("kept by nodes, bytes", [f"{cost.private_bytes:,}" for cost in costs]),
    ]
    parties = dict.fromkeys(party for cost in costs for party in cost.cpu_s)
    rows += [
        (f"processor seconds: {party}", [_seconds(cost.cpu_s.get(party)) for cost in costs])
        for party in parties
    ]
    rows.append(("processor seconds: all", [_seconds(sum(cost.cpu_s.values())) for cost in costs]))
    return rows


def _other_chains(costs: Sequence[Costs]) -> list[Row]:
    names = dict.fromkeys(step.chain for cost in costs for step in cost.steps)
    rows: list[Row] = []
    for name in names:
        if name == MAIN_CHAIN:
            continue
        steps = [cost.of(chain=name) for cost in costs]
        rows += [
            (f"on the chain {name}: transactions", [_sum(one, "transactions") for one in steps]),
            (f"on the chain {name}: gas", [_sum(one, "gas") for one in steps]),
        ]
    return rows


def _sum(steps: Sequence[object], attribute: str) -> str:
    return f"{sum(getattr(step, attribute) for step in steps):,}" if steps else ""


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}"


def fraud_rows(comparison: Comparison) -> list[Row]:
    """Return how each fraud ended in each model, and by whom."""
    return [(fraud, [_ended(one, fraud) for one in comparison.models]) for fraud in FRAUDS]


def _ended(compared: Compared, fraud: str) -> str:
    outcome = compared.frauds.get(fraud)
    if outcome is None:
        return "not played"
    if outcome.ending is Ending.IMPOSSIBLE:
        return outcome.ending.value
    return f"{outcome.ending.value} ({outcome.by})"


def verdict(comparison: Comparison) -> str:
    """Return whether all models agree, and whether each one's chain of evidence holds."""
    broken = [f"{one.model}: {one.broken}" for one in comparison.models if one.broken]
    return f"same result: {'yes' if comparison.same_result else 'no'}; broken links: " + (
        ", ".join(broken) or "none"
    )


def print_comparison(comparison: Comparison) -> None:
    """Print a comparison for people."""
    console = _console()
    names = [name for name, _ in columns(comparison)]
    title = f"{comparison.jobs:,} jobs of {comparison.nodes:,} nodes, one epoch"
    table = _table(title, ["what"], names)
    for name, cells in cost_rows(comparison):
        table.add_row(name, *cells)
    console.print(table)
    for note in extrapolations(comparison):
        console.print(note)
    print_facts({one.model: one.facts for one in comparison.models})
    if any(one.frauds or one.failed for one in comparison.models):
        _print_frauds(console, comparison)
    console.print(verdict(comparison))


def extrapolations(comparison: Comparison) -> list[str]:
    """Return a sentence for each column whose numbers were not run whole."""
    return [
        f"{one.model}, {name}: {variant.jobs_run:,} jobs were run; the epoch's numbers, bytes and processor seconds are"
        f" times {comparison.jobs:,} / {variant.jobs_run:,}, set-up and payment as they were."
        for one in comparison.models
        for name, variant in one.variants.items()
        if variant.jobs_run < comparison.jobs
    ]


def _print_frauds(console: Console, comparison: Comparison) -> None:
    table = _table("Frauds, as they were played", ["fraud"], [])
    for one in comparison.models:
        table.add_column(one.model)
    for fraud in FRAUDS:
        cells = []
        for one in comparison.models:
            outcome = one.frauds.get(fraud)
            text = escape("failed" if fraud in one.failed else _ended(one, fraud))
            cells.append(text if outcome is None else f"[{_COLOURS[outcome.ending]}]{text}[/]")
        table.add_row(fraud, *cells)
    console.print(table)


def print_facts(facts: Mapping[str, Facts]) -> None:
    """Print what no run can measure."""
    table = _table("Who sees what, and who is believed", [], [])
    for name in ("model", "what it is", "public", "hidden", "trust"):
        table.add_column(name, overflow="fold")
    for name, one in facts.items():
        trust = "\n".join(f"{party}: {what}" for party, what in one.trust.items())
        table.add_row(
            name, *(escape(text) for text in (one.summary, one.public, one.hidden, trust))
        )
    _console().print(table)


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH)


def _table(title: str, left: Sequence[str], right: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", show_lines=False)
    for name in left:
        table.add_column(name)
    for name in right:
        table.add_column(name, justify="right")
    return table
