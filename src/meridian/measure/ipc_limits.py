"""What an Arrow IPC stream asks for, found out before the Arrow library reads it.

Law: the library checks that a stream is sound, not that it is small. Some kilobytes can name millions of fields or a
compressed buffer of a terabyte. So the messages are walked over here first (Apache Arrow, "IPC Streaming Format" and its
FlatBuffers schemas), and whatever a batch of jobs does not need is refused: nested types, compressed buffers
(`Content-Encoding` is for that), dictionaries in pieces, foreign byte order.
"""

import struct
from collections.abc import Iterator
from typing import Final

from meridian.errors import InvalidInput
from meridian.measure.schema import FIELDS_MAX

METADATA_BYTES_MAX: Final = 64 * 1024
"""Of one message; a schema with pandas' notes on 64 columns has 12 KiB."""
MESSAGES_MAX: Final = 1_000
COLUMNS_MAX: Final = FIELDS_MAX + 4
NOTES_MAX: Final = 16
"""Entries of custom metadata beside a schema or a field."""

_CONTINUATION: Final = 0xFFFFFFFF
_SCHEMA: Final = 1
_DICTIONARY: Final = 2
_RECORDS: Final = 3


class _Table:
    """A table of a FlatBuffer: fields by their number in the schema."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at
        self._vtable = at - self._number("<i", at)
        self._slots = (self._number("<H", self._vtable) - 4) // 2

    def _number(self, form: str, at: int) -> int:
        if at < 0:
            raise struct.error("an offset before the beginning")
        value: int = struct.unpack_from(form, self._data, at)[0]
        return value

    def _place(self, slot: int) -> int:
        """Return where a field stands, 0 if it is absent."""
        offset = self._number("<H", self._vtable + 4 + 2 * slot) if slot < self._slots else 0
        return self._at + offset if offset else 0

    def number(self, slot: int, form: str) -> int:
        at = self._place(slot)
        return self._number(form, at) if at else 0

    def has(self, slot: int) -> bool:
        return self._place(slot) != 0

    def table(self, slot: int) -> "_Table":
        at = self._place(slot)
        if not at:
            raise struct.error(f"field {slot} is not there")
        return _Table(self._data, at + self._number("<I", at))

    def length(self, slot: int) -> int:
        """Return how many items a vector has."""
        at = self._place(slot)
        return self._number("<I", at + self._number("<I", at)) if at else 0

    def tables(self, slot: int) -> Iterator["_Table"]:
        """Yield the items of a vector of tables."""
        at = self._place(slot)
        first = at + self._number("<I", at) + 4 if at else 0
        for item in range(self.length(slot)):
            place = first + 4 * item
            yield _Table(self._data, place + self._number("<I", place))


def require_small_stream(data: bytes, rows_max: int) -> None:
    """Walk over the messages of a stream.

    Args:
        data: The whole stream, with its mark of the end.
        rows_max: Most rows in all record batches together.

    Raises:
        InvalidInput: If it asks for more than a batch of jobs needs, or is not a stream.
    """
    try:
        _walk(data, rows_max)
    except struct.error as error:
        raise InvalidInput("arrow", f"it is not an Arrow IPC stream: {error}") from None


def require_small_schema(message: bytes) -> None:
    """Check a schema that stands alone, as an encapsulated message (Parquet carries one).

    Raises:
        InvalidInput: As `require_small_stream`.
    """
    try:
        (size,) = struct.unpack_from("<i", message, 4)
        kind, header = _header(message[8 : 8 + size])
        if message[:4] != b"\xff\xff\xff\xff" or kind != _SCHEMA:
            raise InvalidInput("arrow", "a schema is needed")
        _check_schema(header)
    except struct.error as error:
        raise InvalidInput("arrow", f"it is not an Arrow schema: {error}") from None


def _walk(data: bytes, rows_max: int) -> None:
    at, rows = 0, 0
    for number in range(MESSAGES_MAX + 1):
        mark, size = struct.unpack_from("<Ii", data, at)
        if mark != _CONTINUATION or not 0 <= size <= METADATA_BYTES_MAX:
            raise InvalidInput("arrow", f"no message of at most {METADATA_BYTES_MAX} bytes at {at}")
        at += 8
        if size == 0:
            if at != len(data):
                raise InvalidInput("arrow", "the stream goes on behind its end")
            return
        metadata = data[at : at + size]
        kind, header = _header(metadata)
        body_bytes = _Table(metadata, struct.unpack_from("<I", metadata)[0]).number(3, "<q")
        if not 0 <= body_bytes <= len(data) - at - size:
            raise InvalidInput("arrow", "the stream is cut off")
        if (kind == _SCHEMA) != (number == 0):
            raise InvalidInput("arrow", "a stream has one schema, at its beginning")
        if kind == _SCHEMA:
            _check_schema(header)
        elif kind == _DICTIONARY:
            if header.number(2, "<B"):
                raise InvalidInput("arrow", "dictionaries in pieces are not accepted")
            _batch_rows(header.table(1))
        elif kind == _RECORDS:
            rows += _batch_rows(header)
            if rows > rows_max:
                raise InvalidInput("too_many_records", f"more than {rows_max} records")
        else:
            raise InvalidInput("arrow", f"messages of kind {kind} are not accepted")
        at += size + body_bytes
    raise InvalidInput("arrow", f"more than {MESSAGES_MAX} messages")


def _header(metadata: bytes) -> tuple[int, _Table]:
    message = _Table(metadata, struct.unpack_from("<I", metadata)[0])
    return message.number(1, "<B"), message.table(2)


def _check_schema(schema: _Table) -> None:
    if schema.number(0, "<h"):
        raise InvalidInput("arrow", "only little-endian columns are accepted")
    if schema.length(1) > COLUMNS_MAX:
        raise InvalidInput("arrow", f"{schema.length(1)} columns pass {COLUMNS_MAX}")
    if schema.length(2) > NOTES_MAX:
        raise InvalidInput("arrow", f"more than {NOTES_MAX} entries of metadata")
    for column in schema.tables(1):
        if column.length(5):
            raise InvalidInput("arrow", "nested types are not accepted")
        if column.length(6) > NOTES_MAX:
            raise InvalidInput("arrow", f"more than {NOTES_MAX} entries of metadata")


def _batch_rows(batch: _Table) -> int:
    if batch.has(3):
        raise InvalidInput("arrow", "compressed buffers are not accepted; compress the body")
    rows = batch.number(0, "<q")
    if rows < 0:
        raise InvalidInput("arrow", f"a batch of {rows} rows")
    return rows
