"""The screen of `meridian status` and `meridian top`."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from meridian.primitives.amounts import format_fil

_COLOURS: Final = {
    "ready": "green",
    "unlocked": "green",
    "reported": "green",
    "waiting": "yellow",
    "committed": "yellow",
    "open": "cyan",
    "funded": "dim",
    "down": "bold red",
    "failed": "bold red",
    "unknown": "red",
    "abandoned": "red",
}


def screen(document: Mapping[str, Any], *, live: bool = False) -> RenderableType:
    """Return everything, for a terminal."""
    parts: list[RenderableType] = [_head(document), *_problems(document["problems"])]
    parts += [_processes(document["processes"]), _epochs(document["epochs"], document["at_s"])]
    parts.append(Text.from_markup(_disk(document["disk"])))
    if live:
        parts.append(Text("q or Ctrl-C ends", style="dim"))
    return Group(*parts)


def _head(document: Mapping[str, Any]) -> Text:
    chain = document["chain"]
    well = (
        "[green]all is well[/green]"
        if document["well"]
        else "[bold red]something is wrong[/bold red]"
    )
    at = _time(document["at_s"])
    if not chain["reached"]:
        where = f"its chain at {escape(chain['url'])} cannot be reached"
    else:
        where = f"block {chain['block']:,}, {chain['block_age_s']:,} s old; funded through epoch {chain['funded_through']}"
    return Text.from_markup(f"[bold]{escape(document['network'])}[/bold] {at}: {well}; {where}")


def _problems(problems: Sequence[Mapping[str, str]]) -> list[RenderableType]:
    return [
        Text.from_markup(
            f"  [red]✗[/red] [bold]{escape(one['where'])}[/bold]: {escape(one['what'])}"
            f"\n    [dim]{escape(one['advice'])}[/dim]"
        )
        for one in problems
    ]


def _table(title: str, left: Sequence[str], right: Sequence[str] = ()) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", expand=False)
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right")
    return table


def _coloured(state: str) -> str:
    return f"[{_COLOURS.get(state, 'default')}]{state}[/]"


def _processes(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("Processes", ["process", "state", "what it does", "where"])
    for row in rows:
        table.add_row(
            escape(row["process"]),
            _coloured(row["state"]),
            escape(_work(row["process"], row["detail"])),
            escape(row["url"] or ""),
        )
    return table


def _work(process: str, detail: Mapping[str, Any]) -> str:
    if not detail:
        return ""
    if process == "measure":
        sealing = detail["sealing"]
        at_work = f", sealing epoch {sealing['epoch']}" if sealing else ""
        behind = detail["open_epoch"] - detail["settled_before"]
        return (
            f"epoch {detail['open_epoch']} takes jobs ({detail['open_jobs']:,} so far),"
            f" {behind} not committed{at_work}, {detail['receipts']:,} receipts, {detail['waiting_requests']} wait"
        )
    if process.startswith("evaluator") and "epochs" in detail:
        latest = ", ".join(f"{one['epoch']} {one['state']}" for one in detail["epochs"][-2:])
        return (
            f"{detail['connected']} of {detail['peers']} members connected; {_lag(detail)};"
            f" {latest or 'no epoch yet'}; chain read {detail['chain_age_s']} s ago"
        )
    if process == "web" and "age_s" in detail:
        return "no site yet" if detail["age_s"] is None else f"site {detail['age_s']} s old"
    if process == "chain":
        return f"block {detail['block']:,}"
    if process == "watcher":
        return f"{detail['looks']:,} looks, the last {detail['look_age_s']} s ago"
    if process == "witness":
        return ", ".join(f"{origin}: {size:,}" for origin, size in detail["logs"].items())
    return ""


def _lag(detail: Mapping[str, Any]) -> str:
    """Return how many epochs are committed that an evaluator has not published."""
    committed, published = detail["committed_epoch"], detail["published_epoch"]
    if committed is None:
        return "nothing is committed"
    if published is None:
        return f"has published none, epoch {committed} is committed"
    return f"{max(0, committed - published)} behind"


def _epochs(rows: Sequence[Mapping[str, Any]], now_s: int) -> Table:
    table = _table("Last epochs", ["epoch", "state", "unlocks"], ["budget", "paid"])
    for row in rows:
        unlock_s = row["unlock_at_s"]
        left = (
            ""
            if not unlock_s
            else _time(unlock_s)
            if unlock_s <= now_s
            else f"in {unlock_s - now_s:,} s"
        )
        table.add_row(
            str(row["epoch"]), _coloured(row["state"]), left, _coins(row["budget_atto"]), _coins(row["paid_atto"])
        )  # fmt: skip
    return table


def _coins(atto: str | None) -> str:
    return "" if atto is None else format_fil(int(atto))


def _disk(disk: Mapping[str, Any]) -> str:
    text = (
        f"[bold]Disk[/bold]: {_mib(disk['used_bytes'])} used here, {_mib(disk['free_bytes'])} free"
    )
    if disk["epochs_until_full"] is not None:
        text += f"; {_mib(disk['bytes_each_epoch'])} an epoch, room for {disk['epochs_until_full']:,} more"
    return text


def _mib(count: int) -> str:
    return f"{count >> 20:,} MiB"


def _time(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
