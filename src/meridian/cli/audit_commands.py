"""`meridian verify` and `meridian node show`: what anybody can check without asking anybody.

All of them read a data directory's publications and its chain (`node.audit_sources`) and print; they change nothing.
Exit codes: 0 everything holds, 1 something is broken or invalid, 3 no such epoch, node or job.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from meridian.audit.epoch import verify_epoch_evidence
from meridian.audit.evidence import Link, State, first_broken
from meridian.audit.node_account import NodeAccount, account_of
from meridian.audit.source import EvidenceSource
from meridian.cli.evidence_options import evidence_options, one_place
from meridian.cli.node_commands import compare, summary
from meridian.errors import InvalidInput
from meridian.journey.models.data_dir import model_of
from meridian.journey.models.registry import DEFAULT, model_named
from meridian.node.audit_sources import open_source
from meridian.node.private_layers import load_private_layers
from meridian.node.reevaluation import Published
from meridian.primitives.amounts import format_fil
from meridian.primitives.ids import address_text, parse_address

BROKEN: Final = 1

_COLOURS: Final = {
    State.HOLDS: "green",
    State.BROKEN: "bold red",
    State.SEALED: "yellow",
    State.UNCHECKED: "dim",
}
_MARKS: Final = {State.HOLDS: "✓", State.BROKEN: "✗", State.SEALED: "●", State.UNCHECKED: "-"}

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="The run's directory: network.json and the publications.",
)
epoch_option = click.option(
    "--epoch", type=click.IntRange(min=0), required=True, help="The epoch's number."
)
node_option = click.option("--node", "node_id", required=True, metavar="ID", help="The node's id.")
json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object instead of text."
)


def _console() -> Console:
    """Return a console for standard output as it is now; unbounded in width where that is no terminal."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=160)


@click.command()
@evidence_options
@click.option(
    "--evaluations",
    metavar="ADDRESS",
    help="The network's Evaluations contract as you know it; another one breaks the evidence.",
)
@epoch_option
@json_option
@click.option("--items", is_flag=True, help="Also list what each link that holds is made of.")
def verify(
    data_dir: Path | None,
    url: str | None,
    rpc_url: str | None,
    evaluations: str | None,
    private_layers: Path | None,
    memory_mib: int,
    epoch: int,
    *,
    as_json: bool,
    items: bool,
) -> None:
    """Recompute an epoch from public artefacts and the chain, and print the chain of evidence.

    Exits with 0 when every link holds (or is sealed), else with 1 and the first broken link's name.
    """
    one_place(data_dir, url)
    if data_dir is not None and (model := model_of(data_dir)) != DEFAULT:
        _end(epoch, model_named(model).verify(data_dir, epoch), as_json=as_json, items=items)
        return
    opened = (
        open_source(data_dir, memory_mib)
        if data_dir is not None and rpc_url is None
        else Published(data_dir, url, rpc_url, memory_mib).open()
    )
    with opened as source:
        anchor = _anchor(source, evaluations)
        links = verify_epoch_evidence(source, epoch, load_private_layers(private_layers))
    note = ""
    if url is not None and evaluations is None:
        note = (
            f"anchored at contract Evaluations {anchor['evaluations']} of chain {anchor['chain_id']}; "
            "--evaluations ADDRESS says which one you know"
        )
    _end(epoch, links, {"anchor": anchor}, note, as_json=as_json, items=items)


def _end(
    epoch: int,
    links: Sequence[Link],
    more: Mapping[str, Any] | None = None,
    note: str = "",
    *,
    as_json: bool,
    items: bool,
) -> None:
    """Print a chain of evidence, and end with 1 if it is broken.

    Args:
        epoch: Of the evidence.
        links: Its links.
        more: Further fields of the JSON object.
        note: A line below the table.
        as_json: One JSON object instead of text.
        items: Also list what each link that holds is made of.
    """
    broken = first_broken(links)
    if as_json:
        click.echo(json.dumps({**links_object(epoch, links), **(more or {})}))
    else:
        _print_links(epoch, links, items=items)
        if note:
            click.echo(note)
        if broken:
            click.echo(f"broken: {broken.name}")
        else:
            click.echo(f"epoch {epoch}: every link holds" + _sealed_text(links))
    if broken:
        raise click.exceptions.Exit(BROKEN)


def _anchor(source: EvidenceSource, expected: str | None) -> dict[str, Any]:
    """Return the contract that everything hangs on.

    Raises:
        InvalidInput: If it is not the one that is expected.
    """
    network = source.network
    if expected is not None and parse_address(expected, "--evaluations") != network.evaluations:
        raise InvalidInput(
            "--evaluations", f"the network file names {address_text(network.evaluations)} instead"
        )
    return {"chain_id": network.chain_id, "evaluations": address_text(network.evaluations)}


def links_object(epoch: int, links: Sequence[Link]) -> dict[str, Any]:
    """Return the one object that ``--json`` prints."""
    broken = first_broken(links)
    return {
        "epoch": epoch,
        "ok": broken is None,
        "broken": broken.name if broken else None,
        "links": [
            {
                "name": link.name,
                "state": link.state.value,
                "detail": link.detail,
                "items": list(link.items),
            }
            for link in links
        ],
    }


def _sealed_text(links: Sequence[Link]) -> str:
    sealed = [link.name for link in links if link.state is State.SEALED]
    return f" (sealed: {', '.join(sealed)})" if sealed else ""


def _print_links(epoch: int, links: Sequence[Link], *, items: bool) -> None:
    table = Table(title=f"Chain of evidence of epoch {epoch}", title_justify="left", pad_edge=False)
    table.add_column("link", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("detail", overflow="fold")
    for link in links:
        colour = _COLOURS[link.state]
        lines = [escape(link.detail)]
        if items or link.state is State.BROKEN:
            lines += [f"[dim]· {escape(item)}[/dim]" for item in link.items]
        table.add_row(
            link.name,
            f"[{colour}]{_MARKS[link.state]} {link.state.value}[/{colour}]",
            "\n".join(lines),
        )
    _console().print(table)


@click.group()
def node() -> None:
    """Look at one node."""


node.add_command(summary)
node.add_command(compare)


@node.command("show")
@data_dir_option
@node_option
@epoch_option
@json_option
def show_node(data_dir: Path, node_id: str, epoch: int, *, as_json: bool) -> None:
    """Print what became of a node in an epoch: its jobs, why some did not count, its reward and its claim."""
    with open_source(data_dir) as source:
        account = account_of(source, epoch, node_id)
    if as_json:
        click.echo(json.dumps(account_object(account)))
        return
    table = Table(
        title=f"Node {account.node_id} in epoch {epoch}", title_justify="left", show_header=False
    )
    table.add_column("what", no_wrap=True)
    table.add_column("value", overflow="fold")
    for name, value in _account_rows(account):
        table.add_row(name, escape(value))
    _console().print(table)


def account_object(account: NodeAccount) -> dict[str, Any]:
    """Return the one object that ``--json`` prints; amounts and weights are decimal text, bytes hex."""
    value = asdict(account)
    for name in ("node_key", "job_root"):
        value[name] = value[name].hex()
    value["payee"] = "0x" + account.payee.hex()
    for name in ("weight", "reward_atto", "cumulative_atto", "claimed_atto"):
        value[name] = None if value[name] is None else str(value[name])
    value["notes"], value["sums"] = list(account.notes), list(account.sums)
    value["second_step"] = [
        {
            "aggregator": address_text(row.aggregator),
            "committed": [str(number) for number in row.committed],
            "own_minus_committed": [str(number) for number in row.difference],
        }
        for row in account.second_step
    ]
    return value


def _account_rows(account: NodeAccount) -> list[tuple[str, str]]:
    open_text = "not decided yet"
    failures = account.failures or {}
    rows = [
        ("jobs counted", str(account.jobs)),
        ("successes", open_text if account.succeeded is None else str(account.succeeded)),
        ("failures", open_text if account.failures is None else str(sum(failures.values()))),
        *((f"  {reason}", str(count)) for reason, count in failures.items()),
        ("late jobs", str(account.late)),
        (
            "receipts root",
            f"{account.job_root.hex()} (job tree; rebuild it from your receipted jobs)",
        ),
        (
            "weight",
            "deferred"
            if account.deferred
            else open_text
            if account.weight is None
            else str(account.weight),
        ),
        ("proportion", account.proportion or open_text),
        ("reward", _money(account.reward_atto)),
        ("cumulative", _money(account.cumulative_atto)),
        ("claimed on chain", _money(account.claimed_atto)),
        ("claim", _claim_text(account)),
        ("payee", "0x" + account.payee.hex()),
        ("node key", account.node_key.hex()),
    ]
    rows += [
        (
            "own - committed",
            ", ".join(
                f"{name} {gap:+}" for name, gap in zip(account.sums, row.difference, strict=True)
            )
            + f" (aggregator {address_text(row.aggregator)})",
        )
        for row in account.second_step
    ]
    return rows + [("evidence", note) for note in account.notes]


def _money(atto: int | None) -> str:
    return "not decided yet" if atto is None else f"{format_fil(atto)} ({atto} atto)"


def _claim_text(account: NodeAccount) -> str:
    if account.claim_status == "window open":
        return f"window open until {account.unlock_at_s} (Unix seconds of the chain's clock)"
    return account.claim_status
