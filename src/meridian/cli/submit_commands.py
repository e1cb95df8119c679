"""`meridian submit`: job records of files to a measure service, with receipts that are checked and kept."""

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import click

from meridian.cli.chain_session import ACCOUNT, passphrase_option, read_passphrase
from meridian.cli.config_option import config_option
from meridian.cli.end_signals import ended_by_sigterm
from meridian.cli.progress import JobsDisplay
from meridian.errors import InvalidInput
from meridian.measure.explain import Rejection
from meridian.primitives.ids import Address

SHOWN_MAX: Final = 10
"""Rejections that are printed; all of them go into the file of ``--rejected``."""
SOME_REJECTED: Final = 1
INTERRUPTED: Final = 130
_BATCH_MAX: Final = 100_000
_PREPARE_BYTES: Final = 32 << 20
"""Sources above this size are worth the second that the compiled kernels take to load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """The options of the command, as they are given."""

    url: str | None
    data_dir: Path | None
    aggregator: Address | None
    token_file: Path | None
    node_id: str | None
    key_file: Path | None
    passphrase_file: Path | None
    receipts: Path
    batch: int
    as_form: str | None
    in_flight: int
    compress: bool
    ca_file: Path | None
    patience_s: float


@dataclass(slots=True)
class _Tally:
    """What became of the records so far."""

    records: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    batches: int = 0
    earlier: int = 0
    """Records in batches that an earlier run had sent."""
    reasons: Counter[str] = field(default_factory=Counter)
    first: list[tuple[str, Rejection]] = field(default_factory=list)

    def add(self, done: Any) -> None:
        """Count one `Submitted`."""
        self.batches += 1
        self.records += done.records
        self.accepted += done.accepted
        self.duplicates += done.duplicates
        self.rejected += len(done.rejected)
        self.earlier += done.records if done.resumed else 0
        self.reasons.update(one.reason for one in done.rejected)
        room = SHOWN_MAX - len(self.first)
        self.first += [(done.source, one) for one in done.rejected[:room]]

    def document(self, seconds: float, receipts: Path) -> dict[str, Any]:
        """Return the object that ``--json`` prints."""
        return {
            "records": self.records,
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "rejected": self.rejected,
            "reasons": dict(self.reasons),
            "batches": self.batches,
            "sent_earlier": self.earlier,
            "seconds": round(seconds, 3),
            "receipts": str(receipts),
            "first_rejected": [_words(source, one) for source, one in self.first],
        }


def _configured(path: Path) -> dict[str, Any]:
    from meridian.node.operator_config import OperatorConfig

    return OperatorConfig.load(path).submit_options


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@config_option(_configured, "node")
@click.option("--to", "url", metavar="URL", help="The measure service.  [default: network.json's]")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Directory with network.json; with it each receipt is checked against the records.",
)
@click.option(
    "--aggregator",
    type=ACCOUNT,
    help="Who must sign the receipts.  [default: network.json's]",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="First line = the gateway's bearer token.",
)
@click.option(
    "--node", "node_id", metavar="ID", help="Instead of a token: sign the batches as this node."
)
@click.option(
    "--key",
    "key_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="With --node: its registered operator's key, encrypted JSON or 64 hex digits.",
)
@passphrase_option
@click.option(
    "--receipts",
    type=click.Path(path_type=Path, file_okay=False),
    default="receipts",
    show_default=True,
    help="Directory that keeps receipts, and where to go on.",
)
@click.option(
    "--batch",
    type=click.IntRange(1, _BATCH_MAX),
    default=10_000,
    show_default=True,
    help="Records in a batch; the same again when you go on.",
)
@click.option(
    "--as",
    "as_form",
    type=click.Choice(["ndjson", "arrow"]),
    help="How the records travel.  [default: as they are; Parquet as arrow]",
)
@click.option(
    "--in-flight",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    help="Batches at a time.",
)
@click.option("--compress", is_flag=True, help="Send the batches compressed with zstd.")
@click.option(
    "--rejected",
    "rejected_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write all rejected records' lines and reasons into this file, as NDJSON.",
)
@click.option(
    "--ca-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Certificates to trust with https instead of the system's.",
)
@click.option(
    "--patience-s",
    default=60.0,
    show_default=True,
    help="How long a batch is tried again while the service is away or busy.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the table.")
def submit(
    files: tuple[Path, ...],
    *,
    rejected_file: Path | None,
    as_json: bool,
    **values: Any,
) -> None:
    """Submit job records to a measure service, and keep its receipts.

    FILES hold NDJSON, a JSON array, Parquet or Arrow, plain, .gz or .zst; - is standard input. A batch counts as done
    when its receipt is checked and kept. Whatever stops the command, the same command goes on from there, and nothing
    counts twice. Exits with 0 if all records are accepted now or were before, with 1 if some are rejected.
    """
    from meridian.node.record_files import source_size

    options = _Options(**values)
    sizes = [source_size(path) for path in files]
    size = None if None in sizes else sum(one for one in sizes if one is not None)
    _prepare(sizes)
    tally, started = _Tally(), time.monotonic()
    stopped = False
    with (
        _opened(options, files) as (submission, rules),
        _rejections(rejected_file) as write,
        JobsDisplay("submit", size, quiet=as_json) as display,
        ended_by_sigterm(),
    ):
        before = dict(zip(map(str, files), _running(sizes), strict=True))
        try:
            for done in submission.run(_batches(files, options, rules)):
                tally.add(done)
                write(done.source, done.rejected)
                display.show(tally.records, before[done.source] + done.position)
        except KeyboardInterrupt:
            stopped = True
    seconds = time.monotonic() - started
    document = tally.document(seconds, options.receipts) | {"stopped": stopped}
    if as_json:
        click.echo(json.dumps(document))
    else:
        _print(tally, seconds, options, rejected_file)
    if stopped:
        click.echo(
            f"stopped: {tally.records:,} records are answered, their receipts are in"
            f" {options.receipts}; run the same command again to go on",
            err=True,
        )
        raise click.exceptions.Exit(INTERRUPTED)
    if tally.rejected:
        click.echo(f"{tally.rejected:,} of {tally.records:,} records were rejected", err=True)
        raise click.exceptions.Exit(SOME_REJECTED)


def _running(sizes: Sequence[int | None]) -> list[int]:
    """Return the sum of the sizes before each source."""
    total, sums = 0, []
    for size in sizes:
        sums.append(total)
        total += size or 0
    return sums


def _batches(files: Sequence[Path], options: _Options, rules: Any) -> Iterator[Any]:
    from meridian.node.measure.client import ARROW
    from meridian.node.measure.sent_records import as_arrow, within_epochs
    from meridian.node.record_files import read_batches

    for path in files:
        for read in read_batches(path, options.batch):
            batch = read
            columns = batch.content_type == ARROW
            if options.as_form == "ndjson" and columns:
                raise InvalidInput("--as", f"{path} holds columns: they travel as arrow")
            if options.as_form == "arrow" and not columns:
                if rules.schema is None:
                    raise InvalidInput("--as", "arrow needs the network's schema: give --data-dir")
                batch = as_arrow(batch, rules.schema)
            if rules.schema is None or rules.calendar is None:
                yield batch
            else:
                yield from within_epochs(batch, rules.schema, rules.calendar)


def _prepare(sizes: Sequence[int | None]) -> None:
    """Load the compiled kernels beside the work, where there is enough of it."""
    import threading

    from meridian.measure import record
    from meridian.primitives import hashing

    if any(size is None or size > _PREPARE_BYTES for size in sizes):

        def load() -> None:
            hashing.prepare()
            record.prepare()

        threading.Thread(target=load, name="prepare", daemon=True).start()


@contextlib.contextmanager
def _opened(options: _Options, files: Sequence[Path]) -> Iterator[Any]:
    """Open store and connections; whatever ends it, what was acknowledged is kept."""
    from meridian.measure.promised import Expected
    from meridian.measure.schema import NetworkSchema
    from meridian.node.measure.client import MeasureClient
    from meridian.node.measure.submission import Rules, Submission
    from meridian.node.network_file import NetworkFile
    from meridian.node.receipt_store import ReceiptStore

    if len(set(map(str, files))) != len(files):
        raise InvalidInput("FILES", "a file is named twice")
    network = None if options.data_dir is None else NetworkFile.load(options.data_dir)
    url = options.url or ("" if network is None else network.measure_url)
    if not url:
        raise InvalidInput("--to", "the measure service's URL is needed, or --data-dir")
    token = _token(options.token_file)

    def client(signer: Any = None) -> MeasureClient:
        return MeasureClient(
            url, token, signer=signer, patience_s=options.patience_s, ca_file=options.ca_file
        )

    rules = Rules()
    if options.aggregator is not None:
        rules = Rules(expected=Expected(aggregator=options.aggregator))
    signer = None
    with contextlib.closing(client()) as asking:
        if network is not None:
            rules = Rules(
                expected=Expected(
                    aggregator=options.aggregator or network.aggregator,
                    network=network.network_id,
                    domain=network.domain(network.contracts.commitments),
                ),
                schema=NetworkSchema.decode(asking.artefact(network.schema_digest)),
                calendar=network.calendar,
            )
        if options.node_id is not None or options.key_file is not None:
            signer = _signer(options, network)
        elif not token:
            raise InvalidInput("--token-file", "a token is needed, or --node and --key")
    with contextlib.closing(ReceiptStore(options.receipts)) as store:
        submission = Submission(
            lambda: client(signer),
            store,
            rules,
            in_flight=options.in_flight,
            compress=options.compress,
        )
        with contextlib.closing(submission):
            yield submission, rules


def _token(path: Path | None) -> str:
    if path is None:
        return ""
    text = path.read_text("utf-8", errors="replace").split("\n", 1)[0].strip()
    if not text or not text.isascii() or not text.isprintable():
        raise InvalidInput("--token-file", f"{path} does not begin with a token")
    return text


def _signer(options: _Options, network: Any) -> Any:
    """Return who signs batches as a node."""
    from meridian.node.encrypted_key import open_key
    from meridian.node.measure.client import NodeSigner

    if options.node_id is None or options.key_file is None or options.token_file is not None:
        raise InvalidInput("--node", "goes together with --key, and without --token-file")
    if network is None:
        raise InvalidInput("--data-dir", "is needed to sign: a signature names network and chain")
    return NodeSigner(
        network=network.network_id,
        node_id=options.node_id,
        domain=network.domain(network.contracts.commitments),
        key=open_key(options.key_file, lambda: read_passphrase(options.passphrase_file)),
    )


@contextlib.contextmanager
def _rejections(path: Path | None) -> Iterator[Callable[[str, Sequence[Rejection]], None]]:
    """Open the file of rejections; what is given writes some."""
    if path is None:
        yield lambda _source, _rejected: None
        return
    with path.open("w", encoding="utf-8") as file:
        yield lambda source, rejected: _write(file, source, rejected)


def _write(file: IO[str], source: str, rejected: Sequence[Rejection]) -> None:
    file.writelines(json.dumps(_words(source, one)) + "\n" for one in rejected)


def _words(source: str, one: Rejection) -> dict[str, Any]:
    return {
        "file": source,
        "line": one.line,
        "job_id": one.job_id,
        "field": one.field,
        "reason": one.reason,
        "message": one.message,
    }


def _print(tally: _Tally, seconds: float, options: _Options, rejected_file: Path | None) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=140)
    table = Table(title="Records", title_justify="left", title_style="bold")
    for name in ("records", "accepted", "duplicates", "rejected", "sent earlier", "batches"):
        table.add_column(name, justify="right")
    counts = (tally.records, tally.accepted, tally.duplicates, tally.rejected, tally.earlier)
    table.add_row(*(f"{count:,}" for count in (*counts, tally.batches)))
    console.print(table)
    for source, one in tally.first:
        job = "" if one.job_id is None else f" job {one.job_id}"
        line = f"  {source}:{one.line}:{job} {one.field}: {one.reason}: {one.message}"
        console.print(escape(line), soft_wrap=True)
    if tally.rejected > len(tally.first):
        counts_text = ", ".join(f"{count:,} {name}" for name, count in tally.reasons.most_common())
        where = rejected_file or "--rejected FILE writes them"
        console.print(f"  and {tally.rejected - len(tally.first):,} more ({counts_text}): {where}")
    new = tally.records - tally.earlier
    checked = "checked" if options.data_dir else "not checked against the records (--data-dir)"
    console.print(
        f"{new:,} records in {seconds:.1f} s ({new / max(seconds, 1e-3):,.0f}/s);"
        f" receipts in {escape(str(options.receipts))}, {checked}",
        soft_wrap=True,
    )
