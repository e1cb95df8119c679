"""What a gateway was promised: receipts and batches as it keeps them, turned into single promises.

A directory holds what `meridian submit` keeps (`node.receipt_store`), or `receipts.jsonl` (one line for each answer: ``batch``, ``seed``, ``accepted``, ``receipt``) and
``batches/HEX.ndjson`` with the batch's bytes. The batch's tree is built again from them; where it does not give the
receipt's root (the aggregator took only some of the records, and does not say in the receipt which), the receipt
promises nothing that could be shown, and it is passed over.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa

from meridian.disputes.promises import Promise
from meridian.errors import InvalidInput
from meridian.measure.columns import column_values
from meridian.measure.epoch import LATE_FLAG, Calendar
from meridian.measure.order import sort_order
from meridian.measure.promised import read_promised, rows_of
from meridian.measure.receipt import Batch, SignedReceipt
from meridian.measure.record import decode_ndjson
from meridian.measure.row import BatchSeeds, job_keys, job_rows, private_commitments
from meridian.measure.schema import NetworkSchema
from meridian.node.receipt_store import FILE_NAME, Form, ReceiptStore, Verdict
from meridian.primitives.ids import Address, node_key

LATE_EPOCHS_MAX: Final = 16
"""How far a late job's own epoch may lie before the batch's deadline, in the search for what the aggregator saw."""


class GatewayPromises:
    """The promises in a gateway's directory; `new` gives each receipt once.

    Args:
        directory: Of the gateway.
        schema: The network's.
        calendar: The network's.
        node_id: The one node that matters; None: all.
    """

    def __init__(
        self, directory: Path, schema: NetworkSchema, calendar: Calendar, node_id: str | None
    ) -> None:
        self._directory, self._schema, self._calendar = directory, schema, calendar
        self._node_id = node_id
        self._read_to = 0
        self._last_kept = 0
        self.receipts: dict[tuple[Address, int], list[SignedReceipt]] = {}
        """By aggregator and number: two different ones of one number are a lie."""

    def new(self) -> Iterator[Promise]:
        """Yield the promises of receipts that came since the last call."""
        yield from self._of_store()
        path = self._directory / "receipts.jsonl"
        try:
            with path.open("rb") as file:
                file.seek(self._read_to)
                data = file.read()
        except FileNotFoundError:
            return
        whole = data.rfind(b"\n") + 1  # a line that is being written is read the next time
        self._read_to += whole
        for line in data[:whole].splitlines():
            try:
                entry: dict[str, Any] = msgspec.json.decode(line)
                receipt = SignedReceipt.read(entry["receipt"])
                seed, batch = bytes.fromhex(entry["seed"]), str(entry["batch"])
            except (msgspec.DecodeError, InvalidInput, KeyError, TypeError, ValueError):
                continue
            self._note(receipt)
            yield from self._of(receipt, seed, batch)

    def _note(self, receipt: SignedReceipt) -> None:
        known = self.receipts.setdefault((receipt.receipt.aggregator, receipt.receipt.sequence), [])
        if all(one.receipt != receipt.receipt for one in known):
            known.append(receipt)

    def _of_store(self) -> Iterator[Promise]:
        """Yield the promises that `meridian submit` has kept, with their rows, since the last call."""
        if not (self._directory / FILE_NAME).is_file():
            return
        with contextlib.closing(ReceiptStore(self._directory, create=False)) as store:
            for batch in store.batches([Verdict.PENDING, Verdict.MISSING], self._last_kept):
                kept = store.jobs(batch.number)
                if batch.receipt is None or kept is None:
                    continue
                self._last_kept = batch.number
                self._note(batch.receipt)
                if kept[0] is Form.PROMISED:
                    yield from self._of_rows(batch.receipt, read_promised(kept[1]))

    def _of_rows(self, receipt: SignedReceipt, jobs: pa.Table) -> Iterator[Promise]:
        names = jobs.column("node_id").cast(pa.string())
        tree = Batch(self._schema, rows_of(jobs), names)
        for name, job_id in zip(names.to_pylist(), jobs.column("job_id").to_pylist(), strict=True):
            if self._node_id in (None, name):
                yield Promise(receipt, node_key(name), tree.prove(name, job_id))

    def _of(self, receipt: SignedReceipt, seed: bytes, batch: str) -> Iterator[Promise]:
        try:
            body = (self._directory / "batches" / f"{batch}.ndjson").read_bytes()
            table = decode_ndjson(body, self._schema).table
        except (OSError, InvalidInput):
            return
        tree = self._tree(receipt, seed, table)
        if tree is None:
            return
        names, ids = table.column("node_id").to_pylist(), table.column("job_id").to_pylist()
        for name, job_id in zip(names, ids, strict=True):
            if self._node_id in (None, name):
                yield Promise(receipt, node_key(name), tree.prove(name, job_id))

    def _tree(self, receipt: SignedReceipt, seed: bytes, table: Any) -> Batch | None:
        """Return the batch's tree under the receipt's root; which jobs counted as late is found by trying."""
        keys = job_keys(table.column("job_id"))
        order = sort_order(table.column("node_id"), keys)
        table, keys = table.take(order), keys[order]
        private = private_commitments(self._schema, table, BatchSeeds.one(seed, table.num_rows))
        own = self._calendar.epochs_of(column_values(table, "ended_us"))
        deadline = receipt.receipt.deadline_epoch
        first = max(int(own.min()), deadline - LATE_EPOCHS_MAX)
        for open_epoch in range(first, deadline + 1):
            flags = np.where(own < open_epoch, LATE_FLAG, 0).astype(np.uint16)
            column = table.append_column("flags", [flags])
            rows = job_rows(self._schema, column, keys, private)
            tree = Batch(self._schema, rows, table.column("node_id"))
            if tree.root == receipt.receipt.batch_root:
                return tree
        return None
