"""`meridian node summary | compare`: a node's own count of an epoch, and where the committed one differs from it."""

import contextlib
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from meridian.cli.chain_session import json_option, rpc_option
from meridian.cli.receipt_commands import data_dir_option, publication_option
from meridian.errors import InvalidInput, NotFound, RemoteFault
from meridian.primitives.ids import address_text, node_key

DIFFERS: Final = 1
SHOWN_MAX: Final = 10
_BATCH: Final = 50_000

node_option = click.option("--node", "node_id", required=True, metavar="ID", help="The node's id.")
epoch_option = click.option(
    "--epoch", type=click.IntRange(min=0), required=True, help="The epoch's number."
)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@data_dir_option
@node_option
@epoch_option
@click.option(
    "--receipts",
    type=click.Path(path_type=Path, file_okay=False),
    default="receipts",
    show_default=True,
    help="Where `meridian submit` keeps receipts: jobs get the seeds of their batches.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The segment to write: the node's jobs, as Parquet.",
)
@click.option(
    "--publish",
    "publish_dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Also put the segment into this publication directory, under its content address.",
)
@publication_option
@json_option
def summary(
    files: tuple[Path, ...],
    *,
    data_dir: Path,
    node_id: str,
    epoch: int,
    receipts: Path,
    out: Path,
    publish_dir: Path | None,
    publications: tuple[str, ...],
    as_json: bool,
) -> None:
    """Count a node's own records of an epoch: its jobs, their sums, its job tree's root, and the segment behind it.

    FILES hold the records, as for `meridian submit`. The segment is what `meridian chain self-commit sign` signs where
    the aggregator does not take the jobs.
    """
    from meridian.measure.columns import write_segment
    from meridian.measure.own_jobs import own_jobs
    from meridian.measure.own_records import own_segment
    from meridian.node.durable_file import write_durably
    from meridian.node.measure.publication import Publication
    from meridian.primitives.cid import cid_text

    with _artefacts(data_dir, publications) as (network, schema, _fetch):
        records, refused = _own_records(files, network, schema, epoch, node_id)
    seeds, other = _seeds(receipts, node_id, epoch)
    table = own_segment(records, schema, seeds, other)
    data = write_segment(table)
    own = own_jobs(data, schema, network.calendar, epoch, node_id)
    write_durably(out, data)
    if publish_dir is not None:
        Publication(publish_dir).put(data)
    value = {
        "node_id": node_id,
        "node_key": node_key(node_id).hex(),
        "epoch": epoch,
        **_sum_words(own.annotation, schema),
        "root": own.root.hex(),
        "segment": cid_text(own.segment),
        "file": str(out),
        "left_out": records.others,
        "repeated": records.repeated,
        "refused": refused,
    }
    if as_json:
        click.echo(json.dumps(value))
        return
    for name, said in value.items():
        click.echo(f"  {name.replace('_', ' '):<10}  {said}")
    where = f"--data-dir {shlex.quote(str(data_dir))} --node {shlex.quote(node_id)} --epoch {epoch}"
    click.echo("compare it with what is committed, and commit it yourself if you were left out:")
    click.echo(f"  meridian node compare {where} --segment {shlex.quote(str(out))}")
    click.echo(
        f"  meridian chain self-commit sign {where} --segment {shlex.quote(str(out))}"
        " --key KEY --out SIGNED"
    )


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, allow_dash=True))
@data_dir_option
@node_option
@epoch_option
@click.option(
    "--segment",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Instead of FILES: the segment that `meridian node summary` has written.",
)
@rpc_option
@publication_option
@json_option
def compare(
    files: tuple[Path, ...],
    *,
    data_dir: Path,
    node_id: str,
    epoch: int,
    segment: Path | None,
    rpc_url: str | None,
    publications: tuple[str, ...],
    as_json: bool,
) -> None:
    """Compare a node's own records of an epoch with every commitment of it: count, sums, and which jobs differ.

    Exits with 0 if everything agrees, else with 1. A job that ended in the epoch may stand in a later one, as late;
    one that came too late for its own epoch stands here, as late: both are told apart from what is missing.
    """
    if bool(files) == (segment is not None):
        raise InvalidInput("FILES", "give the node's records, or --segment")
    with _artefacts(data_dir, publications) as (network, schema, fetch):
        own = _own_table(files, segment, network, schema, epoch, node_id)
        commitments = _commitments(data_dir, rpc_url, network)
        if epoch not in commitments:
            raise NotFound(f"no commitment of epoch {epoch} stands")
        told = [
            _compare_one(own, one, schema, fetch, node_id, commitments)
            for one in commitments[epoch]
        ]
    value = {"node_id": node_id, "epoch": epoch, "commitments": told}
    if as_json:
        click.echo(json.dumps(value))
    else:
        for words in told:
            _print_difference(words, node_id, epoch)
    if not all(words["agrees"] for words in told):
        raise click.exceptions.Exit(DIFFERS)


@contextlib.contextmanager
def _artefacts(data_dir: Path, publications: tuple[str, ...]) -> Iterator[tuple[Any, Any, Any]]:
    """Open what a network publishes: its file, its schema, and what fetches artefacts."""
    from meridian.measure.schema import NetworkSchema
    from meridian.node.network_file import NetworkFile
    from meridian.node.publications import place_of
    from meridian.node.published_places import PublishedPlaces

    network = NetworkFile.load(data_dir)
    places = [*network.places(data_dir), *(place_of(text, Path()) for text in publications)]
    with contextlib.closing(PublishedPlaces(places, network.measure_url)) as source:
        schema = NetworkSchema.decode(source.fetch(network.schema_digest))
        yield network, schema, source.fetch


def _commitments(data_dir: Path, rpc_url: str | None, network: Any) -> dict[int, Any]:
    from meridian.node.audit_sources import reachable_chain
    from meridian.node.chain_view import ChainView, EpochCommitments

    known: dict[int, EpochCommitments] = {}
    with reachable_chain(data_dir, rpc_url or network.rpc_url, network.chain_id) as rpc:
        ChainView(rpc, network.contracts, network.deploy_block).follow_commitments(known)
    return {number: one.standing for number, one in known.items() if one.standing}


def _own_records(
    files: tuple[Path, ...], network: Any, schema: Any, epoch: int, node_id: str
) -> tuple[Any, int]:
    """Return the node's records in some files, and how many records there are none."""
    from meridian.measure.own_records import own_records
    from meridian.node.measure.sent_records import decoded_body
    from meridian.node.record_files import read_batches

    tables, refused = [], 0
    for path in files:
        for batch in read_batches(path, _BATCH):
            decoded = decoded_body(batch.body, batch.content_type, schema)
            tables.append(decoded.table)
            refused += len(decoded.rejections)
    found = own_records(tables, network.calendar, epoch, node_id)
    if found.table.num_rows == 0:
        raise NotFound(f"no record of node {node_id!r} ended in epoch {epoch}")
    return found, refused


def _own_table(
    files: tuple[Path, ...],
    segment: Path | None,
    network: Any,
    schema: Any,
    epoch: int,
    node_id: str,
) -> Any:
    from meridian.measure.columns import SEGMENT_BYTES_MAX, read_segment
    from meridian.measure.own_jobs import own_jobs
    from meridian.node.durable_file import read_whole

    if segment is None:
        return _own_records(files, network, schema, epoch, node_id)[0].table
    data = read_whole(segment, SEGMENT_BYTES_MAX)
    own_jobs(data, schema, network.calendar, epoch, node_id)
    return read_segment(data, schema)


def _seeds(receipts: Path, node_id: str, epoch: int) -> tuple[dict[str, bytes], bytes]:
    """Return the seeds of the node's promised jobs, and the one of all others."""
    import pyarrow.compute as pc

    from meridian.measure.promised import read_promised
    from meridian.node.receipt_store import Form, ReceiptStore

    seeds: dict[str, bytes] = {}
    with contextlib.closing(ReceiptStore(receipts)) as store:
        for batch in store.batches():
            first, deadline = batch.first_epoch, batch.deadline
            if first is None or deadline is None or not first <= epoch <= deadline:
                continue
            kept = store.jobs(batch.number)
            if kept is not None and kept[0] is Form.PROMISED:
                jobs = read_promised(kept[1])
                mine = jobs.filter(pc.equal(jobs.column("node_id"), node_id))
                seeds |= dict.fromkeys(mine.column("job_id").to_pylist(), batch.seed)
        other = store.seed_of(f"{epoch} {node_id}".encode())
    return seeds, other


def _sum_words(annotation: bytes, schema: Any) -> dict[str, int]:
    from meridian.measure.second_step import sum_names, sums_of

    names = sum_names(schema.lanes.fields, schema.lanes.kind)
    sums = sums_of(annotation, schema.lanes.kind)
    return {name: value for name, value in zip(names, sums, strict=True) if name != "-"}


def _compare_one(
    own: Any,
    commitment: Any,
    schema: Any,
    fetch: Any,
    node_id: str,
    commitments: dict[int, Any],
) -> dict[str, Any]:
    """Compare with one commitment, and look for what is not in it in the same aggregator's later ones."""
    from meridian.measure.own_records import compare_jobs
    from meridian.measure.second_step import compare_sums, sum_names
    from meridian.node.own_epoch import annotation_of, committed_jobs

    lanes = schema.lanes.kind
    there = committed_jobs(commitment, schema, fetch, node_id)
    mine = annotation_of(own, schema)
    [sums] = compare_sums(mine, {commitment.aggregator: there.annotation}, lanes)
    found = compare_jobs(own, there.jobs, schema)
    late_here = there.late[found.unknown]
    ids = own.column("job_id").take(found.not_counted).to_pylist()
    later: dict[str, int] = {}
    for number in range(commitment.epoch + 1, commitment.epoch + 3):
        for one in commitments.get(number, ()):
            if one.aggregator == commitment.aggregator and ids:
                with contextlib.suppress(RemoteFault, InvalidInput):
                    known = committed_jobs(one, schema, fetch, node_id)
                    late = set(known.jobs.column("job_id").to_pylist())
                    later |= {job: number for job in ids if job in late}
    names = sum_names(schema.lanes.fields, lanes)
    unknown = there.jobs.column("job_id").take(found.unknown).to_pylist()
    missing = [job for job in ids if job not in later]
    strange = [job for job, late in zip(unknown, late_here.tolist(), strict=True) if not late]
    altered = own.column("job_id").take(found.altered).to_pylist()
    return {
        "aggregator": address_text(commitment.aggregator),
        "sums": {
            name: {"own": said + minus, "committed": said, "difference": minus}
            for name, said, minus in zip(names, sums.committed, sums.difference, strict=True)
            if name != "-"
        },
        "not_counted": missing,
        "counted_later": later,
        "unknown": strange,
        "late_here": [job for job, late in zip(unknown, late_here.tolist(), strict=True) if late],
        "altered": altered,
        "altered_columns": {name: len(rows) for name, rows in found.columns.items()},
        "agrees": not (missing or strange or altered),
    }


def _print_difference(words: dict[str, Any], node_id: str, epoch: int) -> None:
    from rich.console import Console
    from rich.table import Table

    title = f"Node {node_id} in epoch {epoch}, as {words['aggregator']} committed it"
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("")
    for name in ("own", "committed", "difference"):
        table.add_column(name, justify="right")
    for name, sums in words["sums"].items():
        minus = sums["difference"]
        shown = f"[red]{minus:+,}[/red]" if minus else "0"
        table.add_row(name, f"{sums['own']:,}", f"{sums['committed']:,}", shown)
    console = Console(highlight=False)
    (console if console.is_terminal else Console(highlight=False, width=140)).print(table)
    said = {
        "not_counted": "own jobs are not counted",
        "unknown": "counted jobs are none of ours",
        "altered": "jobs are counted with other values",
    }
    for name, text in said.items():
        jobs = words[name]
        if jobs:
            more = "" if len(jobs) <= SHOWN_MAX else f" and {len(jobs) - SHOWN_MAX:,} more"
            columns = ", ".join(words["altered_columns"]) if name == "altered" else ""
            shown = ", ".join(jobs[:SHOWN_MAX])
            click.echo(f"  {len(jobs):,} {text}{columns and f' of {columns}'}: {shown}{more}")
    if words["counted_later"]:
        where = ", ".join(map(str, sorted(set(words["counted_later"].values()))))
        click.echo(
            f"  {len(words['counted_later']):,} own jobs came late: they count in epoch {where}"
        )
    if words["late_here"]:
        click.echo(f"  {len(words['late_here']):,} jobs of earlier epochs count here, as late")
    click.echo("  everything agrees" if words["agrees"] else "  it differs")
