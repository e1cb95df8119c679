"""The tables of `meridian nym`."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from meridian.audit.evidence import State
from meridian.nym.rows import SCALE, percent
from meridian.nym.stored import Evidence

WIDTH: Final = 118
"""Columns where the output is no terminal."""

MIXNODES_SHOWN: Final = 20
_MARKS: Final = {State.HOLDS: "[green]✓[/green]", State.BROKEN: "[red]✗[/red]"}


def _console() -> Console:
    console = Console(highlight=False)
    if console.is_terminal:
        return console
    return Console(highlight=False, width=max(WIDTH, console.width))


def print_nym_run(document: Mapping[str, Any], data_dir: Path) -> None:
    """Print what a run did, for people."""
    console = _console()
    title = (
        f"{document['mode']}: {document['apis']} Nym-Apis, {document['mixnodes']} mixnodes,"
        f" {document['aggregate']}"
    )
    table = Table(title=title, title_justify="left", title_style="bold")
    for name in ("epoch", "winner"):
        table.add_column(name)
    for name in ("rows", "signers"):
        table.add_column(name, justify="right")
    table.add_column("block")
    for name in ("latency", "rewarded", "least", "mean", "greatest"):
        table.add_column(name, justify="right")
    for epoch in document["epochs"]:
        result = epoch["summary"]
        standalone = document["mode"] == "standalone"
        table.add_row(
            str(epoch["epoch"]),
            f"{epoch['winner_number']} ({epoch['winner'][:10]}…)",
            str(epoch["rows"]),
            "-" if standalone else f"{len(epoch['signers'])} of {document['apis']}",
            "-" if standalone else epoch["block_hash"][:10] + "…",
            f"{epoch['latency_ms']} ms",
            f"{result['rewarded']} of {document['mixnodes']}",
            *(percent(result[name]) for name in ("least", "mean", "greatest")),
        )
    console.print()
    console.print(table)
    for problem in document["problems"]:
        console.print(f"[red]problem[/red]: {escape(problem)}", soft_wrap=True)
    if not document["problems"]:
        console.print("Every epoch is settled, and every link holds from stored data alone.")
    if document["epochs"]:
        last = document["epochs"][-1]["epoch"]
        where = f"--data-dir {shlex.quote(str(data_dir))} --epoch {last}"
        console.print(f"Look closer:\n  meridian nym verify {where}", markup=False, soft_wrap=True)


def print_evidence(evidence: Evidence) -> None:
    """Print the links of an epoch."""
    console = _console()
    for link in evidence.links:
        mark = _MARKS.get(link.state, "-")
        console.print(f"{mark} {link.name}: {escape(link.detail)}", soft_wrap=True)
        for item in link.items:
            console.print(f"    {escape(item)}", soft_wrap=True)


def print_comparison(document: Mapping[str, Any]) -> None:
    """Print how far each way was from the truth, and who could move what."""
    console = _console()
    table = Table(
        title="Distance of accepted values from the truth, in percent points",
        title_justify="left",
        title_style="bold",
    )
    table.add_column("mixnode")
    for run in document["runs"]:
        liars = f"{run['liars']} lying" if run["liars"] else "honest"
        table.add_column(f"{run['mode']}\n{liars}\nmax / mean", justify="right")
    for node in range(min(document["mixnodes"], MIXNODES_SHOWN)):
        table.add_row(str(node), *(_both(run["mixnodes"][node]) for run in document["runs"]))
    table.add_section()
    table.add_row("all", *(_both(run["deviation"]) for run in document["runs"]))
    table.add_row("no value", *(str(run["missing"]) for run in document["runs"]))
    outside = [str(run["outside_honest_range"]) for run in document["runs"]]
    table.add_row("outside honest range", *outside)
    console.print()
    console.print(table)
    bias = Table(title="What the liars moved", title_justify="left", title_style="bold")
    for name in ("way", "max / mean", "who could bias what"):
        bias.add_column(name)
    for way, found in document["bias"].items():
        bias.add_row(way, _both(found), found["who"])
    console.print(bias)
    for problem in document["problems"]:
        console.print(f"[red]problem[/red]: {escape(problem)}", soft_wrap=True)


def _both(deviation: Mapping[str, int | None]) -> str:
    return f"{in_points(deviation['greatest'])} / {in_points(deviation['mean'])}"


def in_points(value: int | None) -> str:
    """Return a deviation in percent points with two places."""
    return "-" if value is None else f"{value / SCALE:.2f}"
