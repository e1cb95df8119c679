"""The tables of `meridian chain status`."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from meridian.primitives.amounts import format_fil

WIDTH: Final = 118
"""Columns where the output is no terminal."""

_COLOURS: Final = {
    "unlocked": "green",
    "reported": "yellow",
    "committed": "cyan",
    "active": "green",
    "leaving": "yellow",
    "voided": "red",
    "abandoned": "red",
    "slashed": "red",
}


def print_status(document: Mapping[str, Any]) -> None:
    """Print what `node.chain_status.read_status` read, for people."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(WIDTH, console.width))
    calendar = document["calendar"]
    console.print(
        f"[bold]{escape(document['network'])}[/bold] on chain {document['chain_id']},"
        f" block {document['block']:,} ({_time(document['time_s'])});"
        f" epochs of {calendar['epoch_seconds']:,} s since {_time(calendar['genesis_s'])},"
        f" next to open: {calendar['next_to_open']}; term {document['term']}"
    )
    console.print(_contracts(document["contracts"]))
    console.print(_epochs(document["epochs"]))
    console.print(_members(document))
    console.print(_funds(document["funds"]))
    if document["disputes"] is not None:
        console.print(_disputes(document["disputes"]))


def _table(title: str, left: Sequence[str], right: Sequence[str] = ()) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for name in left:
        table.add_column(name)
    for name in right:
        table.add_column(name, justify="right")
    return table


def _contracts(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("Contracts", ["contract", "address"], ["code"])
    for row in rows:
        size = f"{row['code_bytes']:,} bytes" if row["code_bytes"] else "[red]none[/red]"
        place = row["address"] + (f"\n{row['filecoin']}" if "filecoin" in row else "")
        table.add_row(row["name"], place, size)
    return table


def _epochs(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = _table(
        "Epochs (amounts in whole coins)",
        ["epoch", "state", "report", "unlocks"],
        ["members", "commitments", "budget", "paid"],
    )
    for row in rows:
        table.add_row(
            str(row["epoch"]),
            _coloured(row["state"]),
            f"{row['report_hash'][:10]}…" if row["report_hash"] else "",
            _time(row["unlock_at_s"]) if row["unlock_at_s"] else "",
            str(row["members"] or ""),
            str(row["standing_commitments"] or ""),
            _coins(row["budget_atto"]),
            _coins(row["paid_atto"]),
        )
    return table


def _members(document: Mapping[str, Any]) -> Table:
    table = _table("Evaluators and aggregators", ["account", "as", "state", "where"], ["stake"])
    for row in document["evaluators"]:
        state = _coloured(row["state"])
        if row["exit_at_s"]:
            state += f" until {_time(row['exit_at_s'])}"
        stake = _coins(row["stake_atto"])
        table.add_row(row["address"], "evaluator", state, escape(row["endpoint"]), stake)
    for row in document["aggregators"]:
        state = _coloured(row["state"])
        table.add_row(row["address"], "aggregator", state, "", _coins(row["stake_atto"]))
    return table


def _funds(funds: Mapping[str, Any]) -> Table:
    table = _table("Funds", ["what"], ["coins"])
    table.add_row("funded so far", _coins(funds["funded_atto"]))
    table.add_row("claimed so far", _coins(funds["claimed_atto"]))
    table.add_row("staked", _coins(funds["staked_atto"]))
    table.add_row("funded through epoch", str(funds["funded_through"]))
    table.add_row("nodes that ever registered", f"{funds['nodes_registered']:,}")
    return table


def _disputes(court: Mapping[str, Any]) -> Table:
    table = _table(
        f"Disputes (bond {_coins(court['bond_atto'])} coins)",
        ["what", "who", "about", "until"],
        ["epoch", "stake"],
    )
    for row in court["challenges"]:
        place = f"node {row['node_index']}" + (
            "" if row["job_index"] is None else f", job {row['job_index']}"
        )
        about = f"{row['aggregator']}\n{place}"
        until = _time(row["until_s"])
        what = f"open challenge\n{row['challenge_id'][:10]}"
        table.add_row(what, row["challenger"], about, until, str(row["epoch"]), "")
    for row in court["cases"]:
        until = _time(row["until_s"])
        about = escape(row["uri"])
        what = f"open case {row['case_id']}"
        table.add_row(what, row["escalator"], about, until, str(row["epoch"]), "")
    for row in court["verdicts"]:
        stake = _coins(row["stake_atto"])
        what = f"verdict, kind {row['kind']}"
        table.add_row(what, row["winner"], row["guilty"], "", str(row["epoch"]), stake)
    return table


def _coloured(state: str) -> str:
    colour = _COLOURS.get(state)
    return f"[{colour}]{state}[/{colour}]" if colour else state


def _coins(atto: str | None) -> str:
    return "?" if atto is None else format_fil(int(atto))


def _time(seconds: int) -> str:
    try:
        moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    except (ValueError, OverflowError, OSError):
        return str(seconds)
    return moment.strftime("%Y-%m-%d %H:%M:%SZ")
