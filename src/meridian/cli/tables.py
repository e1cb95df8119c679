"""The tables at the end of a run."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from meridian.journey.run import RunResult
from meridian.primitives.amounts import format_fil

PAYEES_SHOWN: Final = 10
WIDTH: Final = 118
"""Columns where the output is no terminal."""
_DIGITS: Final = 7


def coins(atto: str | int) -> str:
    """Return an amount in whole coins, cut for reading: the larger it is, the fewer places."""
    whole, _, rest = format_fil(int(atto)).partition(".")
    places = max(2, _DIGITS - len(whole))
    return f"{int(whole):,}.{rest[:places].ljust(places, '0')}"


def print_run(result: RunResult, data_dir: Path) -> None:
    """Print what a run did, for people."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(WIDTH, console.width))
    epochs: list[dict[str, Any]] = result.document["epochs"]
    console.print()
    console.print(_epochs(epochs))
    console.print(_verdicts(result))
    console.print(_payees(epochs))
    console.print(_gas(epochs))
    console.print(_seconds(result.seconds))
    console.print(_records(result))
    verdict = (
        f"[red]broken: {', '.join(f'{link} in epoch {epoch}' for epoch, link in result.broken.items())}[/red]"
        if result.broken
        else "every link of every epoch holds."
    )
    console.print(f"Verified from public artefacts and the chain alone: {verdict}")
    last = epochs[-1]["epoch"] if epochs else 0
    node = epochs[-1]["payees"][0]["node_id"] if epochs and epochs[-1]["payees"] else "ID"
    console.print(
        f"Everything lies in [bold]{escape(str(data_dir))}[/bold]. Look closer:", soft_wrap=True
    )
    where = f"--data-dir {shlex.quote(str(data_dir))} --epoch {last}"
    for command in (f"verify {where}", f"node show {where} --node {shlex.quote(node)}"):
        console.print(f"  meridian {command}", markup=False, soft_wrap=True)


def _table(title: str, left: Sequence[str], right: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for name in left:
        table.add_column(name)
    for name in right:
        table.add_column(name, justify="right")
    return table


def _epochs(epochs: Sequence[dict[str, Any]]) -> Table:
    table = _table(
        "Epochs (amounts in whole coins)",
        ["epoch", "commitment", "report", "winner"],
        ["jobs", "nodes", "signers", "budget", "allocated", "paid"],
    )
    for epoch in epochs:
        table.add_row(
            str(epoch["epoch"]),
            epoch["commitment_root"][:10] + "…",
            epoch["report_hash"][:10] + "…",
            epoch["transmitter"][:10] + "…",
            f"{epoch['jobs']:,}",
            f"{epoch['nodes']:,}",
            str(len(epoch["signers"])),
            coins(epoch["total_atto"]),
            coins(epoch["allocated_atto"]),
            coins(epoch["paid_atto"]),
        )
    return table


def _verdicts(result: RunResult) -> Table:
    """Show how many jobs counted, and why the others did not."""
    epochs = sorted(result.epochs, key=lambda item: item.report.epoch)
    table = _table(
        "Jobs by verdict", ["verdict"], [f"epoch {item.report.epoch}" for item in epochs]
    )
    # After the reasons the totals: bytes served, abuse, and by layer, of which a sealed one shows nothing else.
    names = dict.fromkeys(name for item in epochs for name in (*item.reasons, *item.summary))
    for reason in names if epochs else ():
        if reason in {"jobs", "nodes"}:
            continue
        counts = [item.summary.get(reason, 0) for item in epochs]
        if any(counts):
            table.add_row(reason, *(f"{count:,}" for count in counts))
    return table


def _payees(epochs: Sequence[dict[str, Any]]) -> Table:
    totals: dict[str, int] = {}
    for epoch in epochs:
        for payee in epoch["payees"]:
            totals[payee["node_id"]] = totals.get(payee["node_id"], 0) + int(payee["amount_atto"])
    whole = sum(totals.values()) or 1
    top = sorted(totals, key=lambda node: (-totals[node], node))[:PAYEES_SHOWN]
    table = _table(
        f"Payees, the first {len(top)} of {len(totals):,}", ["node", ""], ["earned", "share"]
    )
    longest = max(totals.values(), default=0) or 1  # an epoch without a budget pays nobody
    for node in top:
        bar = "█" * round(20 * totals[node] / longest)
        table.add_row(escape(node), bar, coins(totals[node]), f"{totals[node] / whole:.2%}")
    return table


def _gas(epochs: Sequence[dict[str, Any]]) -> Table:
    table = _table("Gas for each epoch", ["epoch"], ["commit", "report", "one claim"])
    for epoch in epochs:
        gas = epoch["gas"]
        table.add_row(
            str(epoch["epoch"]), f"{gas['commit']:,}", f"{gas['report']:,}", f"{gas['claim']:,}"
        )
    return table


def _seconds(seconds: dict[str, float]) -> Table:
    table = _table("Seconds for each step", ["step"], ["seconds"])
    for step, value in seconds.items():
        table.add_row(step, f"{value:.1f}")
    table.add_row("all", f"{sum(seconds.values()):.1f}", style="bold")
    return table


def _records(result: RunResult) -> str:
    ingested = result.ingested
    refused = ", ".join(
        f"{count:,} {reason}" for reason, count in sorted(ingested.rejected.items())
    )
    return (
        f"{ingested.sent:,} records sent: {ingested.accepted:,} accepted, refused: {refused or 'none'};"
        f" {result.claims:,} claims paid."
    )
