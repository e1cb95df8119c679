"""What a Parquet file asks for, found out before the Parquet library reads it.

Law: the library checks that a file is sound, not that it is small. A page of some kilobytes can become gigabytes, and the
footer's sizes may lie. So the footer and the header of every page are read here first (Apache Parquet, "parquet.thrift",
Thrift compact protocol), and whatever a batch of jobs does not need is refused: nested columns, columns in other files,
encryption, and prefix encoding, which can repeat a long text for every row.
"""

import base64
import binascii
from typing import Any, Final

from meridian.errors import InvalidInput
from meridian.measure.ipc_limits import COLUMNS_MAX, require_small_schema

FOOTER_BYTES_MAX: Final = 256 * 1024
ROW_GROUPS_MAX: Final = 64
PAGES_MAX: Final = 10_000
CONTAINER_MAX: Final = 1_000
"""Items of one list in the footer or in a page header."""

_MAGIC: Final = b"PAR1"
_DEPTH_MAX: Final = 12
_ITEMS_MAX: Final = 100_000
_REPEATED: Final = 2
_ABOUT: Final = {0: (5, 2), 2: (7, 2), 3: (8, 4)}
"""Type of a page (data, dictionary, data of version 2) -> where its encoding stands: the struct, and the field in it."""
_ENCODINGS: Final = frozenset({0, 2, 3, 5, 8, 9})
"""Plain, dictionaries, run lengths, deltas of numbers, split bytes; not texts with their lengths or prefixes apart (6, 7)."""


class _Broken(Exception):
    """It is not what it should be; leaves this module as InvalidInput."""


class _Thrift:
    """Reads structs of the Thrift compact protocol as {field number: value}."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self._data, self.at, self._end = data, at, end
        self._items = 0

    def _byte(self) -> int:
        if self.at >= self._end:
            raise _Broken("it is cut off")
        self.at += 1
        return self._data[self.at - 1]

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise _Broken("a number of more than 64 bits")

    def _signed(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Read one struct; only maps are not expected."""
        if depth > _DEPTH_MAX:
            raise _Broken("it is nested too deeply")
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            self._items += 1
            if self._items > _ITEMS_MAX:
                raise _Broken(f"more than {_ITEMS_MAX} values")
            number = number + (head >> 4) if head >> 4 else self._signed()
            kind = head & 0x0F
            fields[number] = kind == 1 if kind in {1, 2} else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in {1, 2, 3}:  # in a list, a boolean is a byte
            return self._byte()
        if kind in {4, 5, 6}:
            return self._signed()
        if kind == 7:
            return self._bytes(8)
        if kind == 8:
            return self._bytes(self._varint())
        if kind in {9, 10}:
            head = self._byte()
            count = head >> 4 if head >> 4 < 15 else self._varint()
            if count > CONTAINER_MAX:
                raise _Broken(f"a list of more than {CONTAINER_MAX}")
            self._items += count
            return [self._value(head & 0x0F, depth + 1) for _ in range(count)]
        if kind == 12:
            return self.struct(depth + 1)
        raise _Broken(f"a value of type {kind}")

    def _bytes(self, count: int) -> bytes:
        if count > self._end - self.at:
            raise _Broken("it is cut off")
        self.at += count
        return self._data[self.at - count : self.at]


def require_small_file(data: bytes, rows_max: int, bytes_max: int) -> None:
    """Walk over the footer and the pages of a file.

    Args:
        data: The whole file.
        rows_max: Most rows.
        bytes_max: Most bytes of all pages together, decompressed.

    Raises:
        InvalidInput: If it asks for more than a batch of jobs needs, or is not a Parquet file.
    """
    if len(data) < 12 or data[:4] != _MAGIC or data[-4:] != _MAGIC:
        raise InvalidInput("parquet", "it is not a Parquet file, or is encrypted")
    footer_bytes = int.from_bytes(data[-8:-4], "little")
    if footer_bytes > min(FOOTER_BYTES_MAX, len(data) - 12):
        raise InvalidInput("parquet", f"a footer of {footer_bytes} bytes passes {FOOTER_BYTES_MAX}")
    end = len(data) - 8 - footer_bytes
    try:
        footer = _Thrift(data, end, len(data) - 8).struct()
        groups = _check_footer(footer, rows_max)
        pages, left = PAGES_MAX, bytes_max
        for group in groups:
            for chunk in group[1]:
                pages, left = _check_pages(data, end, chunk[3], pages, left)
    except (_Broken, LookupError, TypeError, AttributeError, ValueError) as error:
        raise InvalidInput("parquet", f"its metadata are not sound: {error!r}") from None


def _check_footer(footer: dict[int, Any], rows_max: int) -> list[dict[int, Any]]:
    """Return the row groups."""
    root, *columns = footer[2]
    groups: list[dict[int, Any]] = footer[4]
    if 8 in footer:
        raise InvalidInput("parquet", "encrypted files are not accepted")
    if not footer[3]:
        raise InvalidInput("empty_batch", "the batch holds no records")
    if footer[3] > rows_max:
        raise InvalidInput("too_many_records", f"more than {rows_max} records")
    if len(columns) > COLUMNS_MAX or len(groups) > ROW_GROUPS_MAX:
        raise InvalidInput(
            "parquet", f"at most {COLUMNS_MAX} columns and {ROW_GROUPS_MAX} row groups are accepted"
        )
    if root[5] != len(columns) or any(one.get(5) or one.get(3) == _REPEATED for one in columns):
        raise InvalidInput("parquet", "nested and repeated columns are not accepted")
    rows = 0
    for group in groups:
        if len(group[1]) != len(columns) or not 0 <= group[3] <= rows_max:
            raise _Broken("a row group of other columns, or of no sound length")
        rows += group[3]
        for chunk in group[1]:
            if 1 in chunk or {8, 9} & chunk.keys() or chunk[3][5] != group[3]:
                raise _Broken("a column that is elsewhere, encrypted, or of another length")
    if rows != footer[3]:
        raise _Broken("its row groups have other rows than it says")
    for note in footer.get(5, ()):
        if note[1] == b"ARROW:schema":
            try:
                require_small_schema(base64.b64decode(note[2]))
            except binascii.Error as error:
                raise _Broken(str(error)) from None
    return groups


def _check_pages(
    data: bytes, end: int, column: dict[int, Any], pages: int, left: int
) -> tuple[int, int]:
    """Walk over the pages of one column of a row group; return how many more pages and bytes are allowed."""
    at: int = min(column[9], column.get(11) or column[9])
    stop = at + column[7]
    if not 4 <= at <= stop <= end:
        raise _Broken("a column beyond the file")
    while at < stop:
        header = _Thrift(data, at, min(stop, at + FOOTER_BYTES_MAX))
        page = header.struct()
        if page[1] not in _ABOUT:
            raise _Broken(f"a page of type {page[1]}")
        if page[2] < 0 or not 0 <= page[3] <= stop - header.at:
            raise _Broken("a page of no sound length")
        about, at_encoding = _ABOUT[page[1]]
        encoding = page[about][at_encoding]
        if encoding not in _ENCODINGS:
            raise InvalidInput("parquet", f"the encoding {encoding} of a page is not accepted")
        pages, left = pages - 1, left - page[2]
        if pages < 0 or left < 0:
            raise InvalidInput("parquet", "it has too many pages, or too many bytes, decompressed")
        at = header.at + page[3]
    return pages, left
