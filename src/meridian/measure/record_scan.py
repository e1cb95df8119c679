"""Whole batches through the fast reader: a schema as the arrays that the compiled code reads, and what it found as columns.

Only `record.prepare` imports this module, because it loads numba.
"""

import functools
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian.measure import record_kernel as kernel
from meridian.measure.record_kernel import Bytes
from meridian.measure.schema import Field, FieldKind, NetworkSchema

_KINDS: Final = {
    FieldKind.INTEGER: kernel.INTEGER,
    FieldKind.DECIMAL: kernel.DECIMAL,
    FieldKind.BOOLEAN: kernel.BOOLEAN,
    FieldKind.STRING: kernel.STRING,
}

Bools = npt.NDArray[np.bool_]


class Form:
    """A schema as arrays."""

    def __init__(self, schema: NetworkSchema) -> None:
        fields = schema.fields
        self.fields = fields
        self.evaluation = len(schema.evaluation_fields)
        spelled = [spelling for item in fields for spelling in item.kind.spellings]
        names = [item.name for item in fields]
        heads = [
            head
            for item in fields
            for spelling in item.kind.spellings
            for head in kernel.heads(item.name, spelling)
        ]
        texts = [text.encode() for text in (*kernel.TEXTS, *names, *spelled, *heads)]
        self.texts = np.frombuffer(b"".join(texts), dtype=np.uint8)
        self.bounds = np.cumsum([0, *map(len, texts)], dtype=np.int64)
        counts = [len(item.kind.spellings) for item in fields]
        self.spellings = np.cumsum([len(kernel.TEXTS) + len(fields), *counts], dtype=np.int64)
        first_spelled = self.spellings[:-1] - self.spellings[0]
        self.hints = self.spellings[-1] + kernel.STYLES * first_spelled
        rules = [
            (
                _KINDS[item.kind],
                item.nullable,
                item.required,
                item.scale,
                item.minimum,
                item.maximum,
                item.max_bytes,
            )
            for item in fields
        ]
        self.rules = np.array(rules, dtype=np.int64).reshape(len(fields), kernel.RULES)


@functools.lru_cache(maxsize=64)
def form(schema: NetworkSchema) -> Form:
    """Return the form of a schema, built once."""
    return Form(schema)


def shape(body: bytes) -> tuple[int, int]:
    """Return what `nesting.shape` returns of JSON."""
    depth, commas = kernel.shape(np.frombuffer(body, dtype=np.uint8))
    return depth, commas


class Scan:
    """What was found in a body: the range of each record, which of them were in the usual form, and their values.

    Args:
        body: All bytes.
        form: The schema.
        capacity: Most records that may be found.
    """

    def __init__(self, body: bytes, form: Form, capacity: int) -> None:
        fields = len(form.fields)
        self.body: Bytes = np.frombuffer(body, dtype=np.uint8)
        self.form = form
        self.count = 0
        """Records that were found."""
        self.starts = np.empty(capacity, dtype=np.int64)
        self.ends = np.empty(capacity, dtype=np.int64)
        self.lines = np.empty(capacity, dtype=np.int64)
        self.usual = np.zeros(capacity, dtype=np.bool_)
        self._times = np.empty((2, capacity), dtype=np.int64)
        self._numbers = np.empty((fields, capacity), dtype=np.int64)
        self._valid = np.empty((fields, capacity), dtype=np.bool_)
        self._text_at = np.empty((2 + fields, capacity), dtype=np.int64)
        self._text_bytes = np.empty((2 + fields, capacity), dtype=np.int64)

    @classmethod
    def of_lines(cls, body: bytes, form: Form, records_max: int) -> "Scan":
        """Find one record per line, at most `records_max`; blank lines are none."""
        found = cls(body, form, min(records_max, body.count(b"\n") + 1))
        found._run(kernel.LINES)
        return found

    @classmethod
    def of_array(cls, body: bytes, form: Form, records_max: int) -> "Scan | None":
        """Read a JSON array of at most `records_max` records, if all are in the usual form."""
        found = cls(body, form, min(records_max, body.count(b'"job_id"')))
        found._run(kernel.ARRAY)
        return None if found.count == kernel.BROKEN else found

    @classmethod
    def of_ranges(
        cls, body: bytes, form: Form, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
    ) -> "Scan":
        """Read the records that stand in these ranges."""
        found = cls(body, form, len(starts))
        found.starts[:], found.ends[:] = starts, ends
        found._run(kernel.RANGES)
        return found

    def _run(self, mode: int) -> None:
        form = self.form
        self.count = kernel.scan(
            self.body,
            mode,
            form.evaluation,
            form.texts,
            form.bounds,
            form.spellings,
            form.rules,
            form.hints.copy(),
            self.starts,
            self.ends,
            self.lines,
            self.usual.view(np.uint8),
            self._times,
            self._numbers,
            self._valid.view(np.uint8),
            self._text_at,
            self._text_bytes,
        )

    def table(self, output: pa.Schema) -> pa.Table:
        """Return the records in the usual form: ``index`` and the columns of `columns.job_columns`."""
        usual = self.usual[: self.count]
        rows = None if usual.all() else np.flatnonzero(usual)
        index = np.arange(self.count, dtype=np.int64) if rows is None else rows
        job_ids, node_ids = (self._strings(at, rows, None) for at in range(2))
        times = [pa.array(self._chosen(self._times[at], rows)) for at in range(2)]
        fields = [self._column(at, item, rows) for at, item in enumerate(self.form.fields)]
        return pa.table([pa.array(index), node_ids, job_ids, *times, *fields], schema=output)

    def _chosen(
        self, column: npt.NDArray[np.int64], rows: npt.NDArray[np.int64] | None
    ) -> npt.NDArray[np.int64]:
        column = column[: self.count]
        return column if rows is None else column[rows]

    def _strings(
        self, at: int, rows: npt.NDArray[np.int64] | None, bitmap: pa.Buffer | None
    ) -> pa.Array:
        places, lengths = (
            self._chosen(column[at], rows) for column in (self._text_at, self._text_bytes)
        )
        offsets, data = kernel.gather(self.body, places, lengths)
        buffers = [bitmap, pa.py_buffer(offsets), pa.py_buffer(data)]
        return pa.Array.from_buffers(pa.string(), len(places), buffers)

    def _column(self, at: int, item: Field, rows: npt.NDArray[np.int64] | None) -> pa.Array:
        bitmap = None
        if item.may_be_null:
            valid = self._valid[at, : self.count]
            bitmap = pa.array(valid if rows is None else valid[rows]).buffers()[1]
        if item.kind is FieldKind.STRING:
            return self._strings(2 + at, rows, bitmap)
        numbers = self._chosen(self._numbers[at], rows)
        if item.kind is FieldKind.BOOLEAN:
            bits = pa.array(numbers != 0).buffers()[1]
            return pa.Array.from_buffers(pa.bool_(), len(numbers), [bitmap, bits])
        buffers = [bitmap, pa.py_buffer(numbers)]
        return pa.Array.from_buffers(pa.int64(), len(numbers), buffers)
