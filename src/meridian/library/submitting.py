"""Jobs of one's own programme to a measure service; receipts are checked and kept, as `meridian submit` does it."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from meridian.errors import InvalidInput
from meridian.measure.explain import Rejection
from meridian.measure.promised import Expected
from meridian.measure.schema import NetworkSchema
from meridian.node.encrypted_key import open_key
from meridian.node.measure.client import ARROW, NDJSON, MeasureClient, NodeSigner
from meridian.node.measure.sent_records import within_epochs
from meridian.node.measure.submission import Rules, Submission
from meridian.node.network_file import NetworkFile
from meridian.node.receipt_store import ReceiptStore
from meridian.node.record_files import RecordBatch, read_batches
from meridian.primitives.keys import PrivateKey

BATCH: Final = 10_000
"""Records in a batch."""


@dataclass(frozen=True, slots=True)
class SubmitResult:
    """What became of the records."""

    records: int
    """How many there were."""
    accepted: int
    """Now, or in an earlier call with the same records."""
    duplicates: int
    """Records that stood there already."""
    rejected: tuple[Rejection, ...]
    """The others: each with `line`, `field`, `reason` and `message`."""
    receipts: Path
    """Where the receipts are kept."""


def submit_jobs(
    records: str | Path | pa.Table | Iterable[Mapping[str, Any]],
    data_dir: str | Path,
    *,
    receipts: str | Path,
    token: str = "",
    node_id: str | None = None,
    key_file: str | Path | None = None,
    passphrase: str = "",
    patience_s: float = 60.0,
) -> SubmitResult:
    """Submit job records, and return once every receipt is checked and kept.

    Whatever stops it, the same call again goes on, and nothing counts twice.

    Args:
        records: A file (NDJSON, JSON, Parquet or Arrow), a pyarrow table, or records as mappings, in the form of docs/submit.md.
        data_dir: Directory with the network's network.json.
        receipts: Directory that keeps the receipts.
        token: The gateway's bearer token; or
        node_id: the node whose registered operator signs the batches, with
        key_file: the operator's key, and
        passphrase: its passphrase, if it is encrypted.
        patience_s: How long a batch is tried again while the service is away or busy.

    Raises:
        InvalidInput: If neither a token nor a node with its key is given, or a file is none of the forms.
        BrokenReceipt: If a receipt does not hold; it is kept as a file.
        RemoteFault: If the service cannot be reached.
    """
    network = NetworkFile.load(Path(data_dir))
    signer = _signer(network, node_id, key_file, passphrase)
    if bool(token) == (signer is not None):
        raise InvalidInput("token", "either a token is needed, or node_id and key_file")

    def client() -> MeasureClient:
        return MeasureClient(network.measure_url, token, signer=signer, patience_s=patience_s)

    with contextlib.ExitStack() as stack:
        asking = stack.enter_context(contextlib.closing(client()))
        schema = NetworkSchema.decode(asking.artefact(network.schema_digest))
        expected = Expected(
            aggregator=network.aggregator,
            network=network.network_id,
            domain=network.domain(network.contracts.commitments),
        )
        rules = Rules(expected=expected, schema=schema, calendar=network.calendar)
        store = stack.enter_context(contextlib.closing(ReceiptStore(Path(receipts))))
        submission = stack.enter_context(contextlib.closing(Submission(client, store, rules)))
        batches = (
            part
            for one in _batches(records)
            for part in within_epochs(one, schema, network.calendar)
        )
        done = list(submission.run(batches))
    return SubmitResult(
        records=sum(one.records for one in done),
        accepted=sum(one.accepted for one in done),
        duplicates=sum(one.duplicates for one in done),
        rejected=tuple(rejection for one in done for rejection in one.rejected),
        receipts=Path(receipts),
    )


def _signer(
    network: NetworkFile, node_id: str | None, key_file: str | Path | None, passphrase: str
) -> NodeSigner | None:
    if node_id is None or key_file is None:
        if node_id is not None or key_file is not None:
            raise InvalidInput("node_id", "goes together with key_file")
        return None
    key: PrivateKey = open_key(Path(key_file), lambda: passphrase)
    domain = network.domain(network.contracts.commitments)
    return NodeSigner(network=network.network_id, node_id=node_id, domain=domain, key=key)


def _batches(
    records: str | Path | pa.Table | Iterable[Mapping[str, Any]],
) -> Iterator[RecordBatch]:
    if isinstance(records, str | Path):
        yield from read_batches(Path(records), BATCH)
    elif isinstance(records, pa.Table):
        for first in range(0, records.num_rows, BATCH):
            body = _stream(records.slice(first, BATCH))
            yield RecordBatch("table", first + 1, ARROW, body, first)
    else:
        lines: list[bytes] = []
        first = 1
        for record in records:
            lines.append(json.dumps(record).encode() + b"\n")
            if len(lines) == BATCH:
                yield RecordBatch("records", first, NDJSON, b"".join(lines), first)
                first, lines = first + BATCH, []
        if lines:
            yield RecordBatch("records", first, NDJSON, b"".join(lines), first)


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
