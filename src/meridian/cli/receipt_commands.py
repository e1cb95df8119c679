"""`meridian receipt`: what a sender was promised, whether it was kept, and the proof where it was not."""

import contextlib
import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from meridian.cli.chain_session import json_option, rpc_option
from meridian.cli.progress import ProgressDisplay
from meridian.errors import InvalidInput, MeridianError, NotFound, StorageFailure

MISSING: Final = 1
ACCUSATIONS_MAX: Final = 16
"""Accusations that one check writes: one convicts, and voids the commitment."""
SHOWN_MAX: Final = 10
KEEP_EPOCHS: Final = 48

receipts_option = click.option(
    "--receipts",
    type=click.Path(path_type=Path, file_okay=False),
    default="receipts",
    show_default=True,
    help="Where `meridian submit` keeps them.",
)
data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="The directory with network.json.",
)
publication_option = click.option(
    "--publication",
    "publications",
    multiple=True,
    metavar="URL|DIR",
    help="Another place where artefacts are published; may be repeated.",
)


@click.group()
def receipt() -> None:
    """What the measure service promised for submitted jobs, and whether it was kept."""


@receipt.command("list")
@receipts_option
@click.option("--limit", default=50, show_default=True, help="The newest so many; 0: all.")
@json_option
def list_receipts(receipts: Path, *, limit: int, as_json: bool) -> None:
    """List the batches and what became of them, newest last."""
    from rich.table import Table

    from meridian.node.receipt_store import ReceiptStore

    with contextlib.closing(ReceiptStore(receipts, create=False)) as store:
        found = list(store.batches())
        kept_bytes = store.kept_bytes()
    shown = found[-limit:] if limit else found
    if as_json:
        click.echo(json.dumps([_words(one) for one in shown]))
        return
    names = ("batch", "source", "first", "accepted", "duplicates", "rejected", "deadline", "state")
    table = Table(title=f"Receipts in {receipts}", title_justify="left", title_style="bold")
    for at, name in enumerate(names):
        table.add_column(name, justify="right" if 2 <= at < 7 else "left", no_wrap=at == 0)
    for one in shown:
        words = _words(one)
        table.add_row(words["batch"][:12], *(_text(words[name]) for name in names[1:]))
    _print(table)
    click.echo(f"{len(found):,} batches; the jobs kept for proofs take {kept_bytes:,} bytes")


@receipt.command("show")
@click.argument("batch")
@receipts_option
@json_option
def show_receipt(batch: str, receipts: Path, *, as_json: bool) -> None:
    """Show one batch, its receipt and its refusals; BATCH is its name or the beginning of it."""
    from meridian.node.receipt_store import ReceiptStore

    with contextlib.closing(ReceiptStore(receipts, create=False)) as store:
        found = store.matching(batch)
    if not found:
        raise NotFound(f"no batch {batch!r} in {receipts}")
    if len(found) > 1:
        raise InvalidInput("BATCH", f"{batch!r} is the beginning of {len(found)} batches or more")
    one = found[0]
    value = _words(one) | {
        "seed": one.seed.hex(),
        "receipt": None if one.receipt is None else one.receipt.document(),
        "signature_holds": None if one.receipt is None else one.receipt.holds,
        "refusals": [
            {"number": one.first + each.index, "job_id": each.job_id, "field": each.field,
             "reason": each.reason}
            for each in one.rejected
        ],
    }  # fmt: skip
    click.echo(json.dumps(value) if as_json else json.dumps(value, indent=2))


def _words(one: Any) -> dict[str, Any]:
    return {
        "batch": one.batch.hex(),
        "source": one.source,
        "first": one.first,
        "accepted": one.accepted,
        "duplicates": one.duplicates,
        "rejected": len(one.rejected) - one.duplicates,
        "deadline": one.deadline,
        "state": one.verdict.name.lower(),
        "counted_in": one.found or {},
    }


def _text(value: object) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


@dataclass(frozen=True, slots=True)
class _World:
    """What a check works with."""

    store: Any
    network: Any
    schema: Any
    commitments: dict[int, Any]
    fetch: Any
    rpc: Any
    data_dir: Path

    def judge(self) -> Any:
        """Return what looks single jobs up."""
        from meridian.node.receipt_proof import JobJudge

        return JobJudge(self.schema, self.network.calendar, self.commitments, self.fetch)


@contextlib.contextmanager
def _world(
    data_dir: Path, receipts: Path, rpc_url: str | None, publications: tuple[str, ...]
) -> Iterator[_World]:
    from meridian.measure.schema import NetworkSchema
    from meridian.node.audit_sources import reachable_chain
    from meridian.node.chain_view import ChainView, EpochCommitments
    from meridian.node.network_file import NetworkFile
    from meridian.node.publications import place_of
    from meridian.node.published_places import PublishedPlaces
    from meridian.node.receipt_store import ReceiptStore

    network = NetworkFile.load(data_dir)
    places = [*network.places(data_dir), *(place_of(text, Path()) for text in publications)]
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(contextlib.closing(ReceiptStore(receipts, create=False)))
        url = rpc_url or network.rpc_url
        rpc = stack.enter_context(reachable_chain(data_dir, url, network.chain_id))
        known: dict[int, EpochCommitments] = {}
        ChainView(rpc, network.contracts, network.deploy_block).follow_commitments(known)
        source = PublishedPlaces(places, network.measure_url)
        stack.callback(source.close)
        schema = NetworkSchema.decode(source.fetch(network.schema_digest))
        commitments = {epoch: one.standing for epoch, one in known.items() if one.standing}
        yield _World(store, network, schema, commitments, source.fetch, rpc, data_dir)


@receipt.command()
@data_dir_option
@receipts_option
@click.option("--job", "job_id", metavar="ID", help="Only this job, and where it stands.")
@click.option("--node", "node_id", metavar="ID", help="With --job: of this node only.")
@click.option("--again", is_flag=True, help="Also batches that were found counted before.")
@click.option(
    "--keep",
    default=KEEP_EPOCHS,
    show_default=True,
    help="Let go of the jobs of counted batches so many epochs after their deadline; -1: never.",
)
@click.option(
    "--accusations",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where accusations are written.  [default: accusations/ beside the receipts]",
)
@rpc_option
@publication_option
@json_option
def check(
    data_dir: Path,
    receipts: Path,
    *,
    job_id: str | None,
    node_id: str | None,
    again: bool,
    keep: int,
    accusations: Path | None,
    rpc_url: str | None,
    publications: tuple[str, ...],
    as_json: bool,
) -> None:
    """Tell which promised jobs are counted under the committed roots, and prove what is missing.

    Exits with 0 if nothing is missing (some may be pending, until their epochs are committed), with 1 if something is;
    the accusations that it writes then can be sent by anybody.
    """
    from meridian.node.receipt_check import ReceiptCheck

    with _world(data_dir, receipts, rpc_url, publications) as world:
        if job_id is not None:
            _check_job(world, job_id, node_id, as_json=as_json)
            return
        with ProgressDisplay(quiet=as_json) as display:
            checking = ReceiptCheck(
                world.store,
                schema=world.schema,
                calendar=world.network.calendar,
                commitments=world.commitments,
                fetch=world.fetch,
                progress=lambda done, total: display.progress("epochs", done, total),
            )
            result = checking.run(again=again)
        files = _accuse(world, result, accusations or receipts / "accusations")
        dropped = 0
        if keep >= 0 and world.commitments:
            dropped = world.store.drop_jobs(max(world.commitments) - keep)
    if as_json:
        click.echo(json.dumps(_result_words(result, files) | {"dropped_batches": dropped}))
    else:
        _print_result(result, files, data_dir, dropped)
    if result.missing or result.broken:
        raise click.exceptions.Exit(MISSING)


def _accuse(world: _World, result: Any, directory: Path) -> dict[str, Path]:
    """Write an accusation for each commitment that lacks something; return the files by what they accuse of."""
    from meridian.node.receipt_proof import find_promised

    files: dict[str, Path] = {}
    done = set()
    for one in result.first_missing:
        signed = one.batch.receipt
        key = signed.receipt.aggregator, signed.receipt.deadline_epoch
        if key in done or len(files) >= ACCUSATIONS_MAX:
            continue
        job = find_promised(world.store, one.batch, one.index)
        try:
            written = _write_accusation(world, job, directory)
        except MeridianError as error:
            result.problems.setdefault(signed.receipt.deadline_epoch, str(error))
            continue
        if written is not None:
            files[written[0]] = written[1]
            done.add(key)
    return files


def _write_accusation(
    world: _World, job: Any, directory: Path, path: Path | None = None
) -> tuple[str, Path] | None:
    """Write the omission of a job as a file; None if its promise is kept, or cannot be judged."""
    from meridian.node.accusation_file import file_of
    from meridian.node.durable_file import write_durably

    judge = world.judge()
    accusation = judge.omission(job, judge.epochs(job))
    if accusation is None:
        return None
    sequence = job.batch.receipt.receipt.sequence
    target = path or directory / f"omission-{sequence}-{job.index}.json"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageFailure(f"{target.parent}: {error.strerror}") from error
    write_durably(target, file_of(world.rpc, world.network.network, accusation).encode())
    return accusation.reason, target


def _result_words(result: Any, files: dict[str, Path]) -> dict[str, Any]:
    return {
        "batches": result.batches,
        "counted": {str(epoch): jobs for epoch, jobs in sorted(result.counted.items())},
        "missing": result.missing,
        "first_missing": [
            {"node_id": one.node_id, "job_id": one.job_id, "source": one.batch.source,
             "number": one.batch.first + one.index, "batch": one.batch.batch.hex()}
            for one in result.first_missing[:SHOWN_MAX]
        ],
        "pending": result.pending,
        "pending_epochs": sorted(result.pending_epochs),
        "broken": {batch.hex(): reason for batch, reason in result.broken.items()},
        "problems": {str(epoch): reason for epoch, reason in sorted(result.problems.items())},
        "accusations": [str(path) for path in files.values()],
    }  # fmt: skip


def _print_result(result: Any, files: dict[str, Path], data_dir: Path, dropped: int) -> None:
    from rich.table import Table

    table = Table(title="Promised jobs", title_justify="left", title_style="bold")
    for name in ("", "epoch"):
        table.add_column(name)
    table.add_column("jobs", justify="right")
    for epoch, jobs in sorted(result.counted.items()):
        table.add_row("[green]counted[/green]", str(epoch), f"{jobs:,}")
    if result.missing:
        table.add_row("[bold red]missing[/bold red]", "", f"{result.missing:,}")
    if result.pending:
        waits = ", ".join(map(str, sorted(result.pending_epochs)[:SHOWN_MAX]))
        table.add_row("pending", waits and f"until {waits} stands", f"{result.pending:,}")
    _print(table)
    for one in result.first_missing[:SHOWN_MAX]:
        click.echo(
            f"  missing: job {one.job_id} of node {one.node_id}"
            f" ({one.batch.source}, record {one.batch.first + one.index})"
        )
    if result.missing > SHOWN_MAX:
        click.echo(f"  and {result.missing - SHOWN_MAX:,} more")
    for batch, reason in result.broken.items():
        click.echo(f"  batch {batch.hex()[:12]}: {reason}")
    for epoch, reason in sorted(result.problems.items()):
        click.echo(f"  epoch {epoch} cannot be read: {reason}")
    if dropped:
        click.echo(f"  the jobs of {dropped:,} counted batches were let go")
    for reason, path in files.items():
        _say_accusation(reason, path, data_dir)


def _say_accusation(reason: str, path: Path, data_dir: Path) -> None:
    where = f"--data-dir {shlex.quote(str(data_dir))} --file {shlex.quote(str(path))}"
    click.echo(f"  {reason}; whoever sends the proof wins the dispute:")
    click.echo(f"    meridian chain dispute send {where} --key KEY")


def _check_job(world: _World, job_id: str, node_id: str | None, *, as_json: bool) -> None:
    from meridian.node.receipt_proof import find_jobs, find_rejections

    told = [_job_words(world, job) for job in find_jobs(world.store, job_id, node_id)]
    for batch, one in () if told else find_rejections(world.store, job_id):
        told.append(
            {"job_id": job_id, "node_id": None, "state": "rejected", "reason": one.reason,
             "source": batch.source, "number": batch.first + one.index}
        )  # fmt: skip
    if not told:
        raise NotFound(f"no batch in the store holds job {job_id!r}")
    for words in told:
        click.echo(json.dumps(words) if as_json else _job_text(words))
    if any(words["state"] == "missing" for words in told):
        raise click.exceptions.Exit(MISSING)


def _job_words(world: _World, job: Any) -> dict[str, Any]:
    judge = world.judge()
    words = {"job_id": job.job_id, "node_id": job.node_id, "source": job.batch.source,
             "number": job.number, "batch": job.batch.batch.hex()}  # fmt: skip
    epochs = judge.epochs(job)
    place = judge.place(job, epochs)
    if place is not None:
        epoch, index, size = place
        return words | {"state": "counted", "epoch": epoch, "index": index, "jobs": size}
    waits = [epoch for epoch in judge.due(job) if epoch not in epochs]
    if waits:
        return words | {"state": "pending", "epochs": waits}
    return words | {"state": "missing", "epochs": list(judge.due(job))}


def _job_text(words: dict[str, Any]) -> str:
    head = f"job {words['job_id']}"
    if words["state"] == "rejected":
        return (
            f"{head} was rejected: {words['reason']} ({words['source']}, record {words['number']})"
        )
    head += f" of node {words['node_id']}"
    if words["state"] == "counted":
        return (
            f"{head} is counted in epoch {words['epoch']}:"
            f" number {words['index'] + 1} of the node's {words['jobs']} jobs"
        )
    numbers = ", ".join(map(str, words["epochs"]))
    if words["state"] == "pending":
        return f"{head} is pending: its aggregator has not committed epoch {numbers}"
    return f"{head} is missing: it stands in none of the epochs {numbers}; `meridian receipt prove` proves it"


@receipt.command()
@data_dir_option
@receipts_option
@click.option("--job", "job_id", required=True, metavar="ID", help="The job.")
@click.option("--node", "node_id", metavar="ID", help="Its node, if several have a job of this id.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The accusation's file.",
)
@rpc_option
@publication_option
def prove(
    data_dir: Path,
    receipts: Path,
    *,
    job_id: str,
    node_id: str | None,
    output: Path,
    rpc_url: str | None,
    publications: tuple[str, ...],
) -> None:
    """Prove that a promised job stands in no epoch up to its receipt's deadline: an accusation that anybody may send."""
    from meridian.node.receipt_proof import find_jobs

    with _world(data_dir, receipts, rpc_url, publications) as world:
        jobs = list(find_jobs(world.store, job_id, node_id))
        if not jobs:
            raise NotFound(f"no receipt in {receipts} promises job {job_id!r}")
        for job in jobs:
            written = _write_accusation(world, job, output.parent, output)
            if written is not None:
                _say_accusation(*written, data_dir)
                return
        text = _job_text(_job_words(world, jobs[0]))
    raise InvalidInput("--job", f"no promise about it is broken: {text}")


def _print(table: Any) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    (console if console.is_terminal else Console(highlight=False, width=140)).print(table)
