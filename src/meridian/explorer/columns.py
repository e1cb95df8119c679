"""The columns file: many rows of few columns, read by a page without a library and without reading a row twice.

    magic 8 | header bytes u32 | header, JSON, padded with spaces | columns, each at a multiple of 8

All integers are little-endian, as a page's typed arrays want them. A column of numbers is as narrow as its greatest
value allows; nulls stand in a bitmap of their own. The format is described in docs/spec/13-columns.md.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from meridian.errors import InvalidInput
from meridian.primitives.hashing import ByteMatrix

MAGIC: Final = b"MRDNCOL\x01"
HEADER_BYTES_MAX: Final = 1 << 20
COLUMNS_MAX: Final = 256
ROWS_MAX: Final = 1 << 31
FIXED_BYTES_MAX: Final = 1 << 10
_ALIGNED: Final = 8
_WIDTHS: Final = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "u128": 16}
_U64: Final = (1 << 64) - 1

U64Array = npt.NDArray[np.uint64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Numbers:
    """A column of unsigned integers below 2^128, some of which may be null."""

    low: U64Array
    high: U64Array | None = None
    """The upper 64 bits; None: all are 0."""
    null: BoolArray | None = None
    """None: nothing is null. Where something is, its number is 0."""

    @classmethod
    def of(cls, values: Iterable[int | None]) -> "Numbers":
        """Return a column of Python's integers.

        Raises:
            InvalidInput: If one is negative or does not fit in 128 bits.
        """
        found = list(values)
        null = np.array([value is None for value in found], dtype=np.bool_)
        plain = [value or 0 for value in found]
        if plain and not 0 <= min(plain) <= max(plain) < 1 << 128:
            raise InvalidInput("column", "a number is negative or passes 128 bits")
        low = np.array([value & _U64 for value in plain], dtype=np.uint64)
        high = np.array([value >> 64 for value in plain], dtype=np.uint64)
        return cls(low, high if high.any() else None, null if null.any() else None)

    @classmethod
    def array(cls, values: npt.NDArray[Any], null: BoolArray | None = None) -> "Numbers":
        """Return a column of an array of integers that are not negative."""
        low = values.astype(np.uint64)
        if null is not None:
            low = np.where(null, np.uint64(0), low)
        return cls(low, None, null if null is not None and null.any() else None)

    def __len__(self) -> int:
        return len(self.low)

    def values(self) -> list[int | None]:
        """Return Python's integers."""
        found: list[int | None] = self.low.tolist()
        if self.high is not None:
            pairs = zip(self.low.tolist(), self.high.tolist(), strict=True)
            found = [low | high << 64 for low, high in pairs]
        if self.null is not None:
            found = [
                None if null else value
                for value, null in zip(found, self.null.tolist(), strict=True)
            ]
        return found

    def take(self, places: npt.NDArray[Any]) -> "Numbers":
        """Return the rows at some places (or of a mask)."""
        high = None if self.high is None else self.high[places]
        return Numbers(self.low[places], high, None if self.null is None else self.null[places])


Texts = tuple[str, ...]
Column = Numbers | ByteMatrix | Texts


def joined(parts: Sequence[Numbers]) -> Numbers:
    """Return columns of numbers one behind the other."""
    highs = [np.zeros(len(one), np.uint64) if one.high is None else one.high for one in parts]
    nulls = [np.zeros(len(one), np.bool_) if one.null is None else one.null for one in parts]
    return Numbers(
        np.concatenate([one.low for one in parts]),
        np.concatenate(highs) if any(one.high is not None for one in parts) else None,
        np.concatenate(nulls) if any(one.null is not None for one in parts) else None,
    )


def _kind(column: Numbers) -> str:
    if column.high is not None and column.high.any():
        return "u128"
    greatest = int(column.low.max()) if len(column) else 0
    return next(kind for kind, width in _WIDTHS.items() if greatest < 1 << 8 * width)


def _encoded(column: Column) -> tuple[str, int, bytes, BoolArray | None]:
    """Return type, rows, bytes and nulls."""
    if isinstance(column, tuple):
        parts = [text.encode() for text in column]
        ends = np.zeros(len(parts) + 1, dtype="<u4")
        np.cumsum([len(part) for part in parts], out=ends[1:])
        return "text", len(parts), ends.tobytes() + b"".join(parts), None
    if isinstance(column, Numbers):
        kind = _kind(column)
        if kind == "u128":
            assert column.high is not None, "a number passes 64 bits"
            words = np.empty((len(column), 2), dtype="<u8")
            words[:, 0], words[:, 1] = column.low, column.high
            return kind, len(column), words.tobytes(), column.null
        data = column.low.astype(f"<u{_WIDTHS[kind]}").tobytes()
        return kind, len(column), data, column.null
    return f"bytes{column.shape[1]}", len(column), np.ascontiguousarray(column).tobytes(), None


def write_columns(columns: Mapping[str, Column], facts: Mapping[str, Any] | None = None) -> bytes:
    """Return the bytes of a columns file.

    Args:
        columns: By name; their numbers of rows may differ.
        facts: What else the header says; JSON values.

    Raises:
        InvalidInput: If there are too many columns.
    """
    if len(columns) > COLUMNS_MAX:
        raise InvalidInput("columns", f"{len(columns)}; at most {COLUMNS_MAX} are allowed")
    body, entries, at = [], [], 0

    def put(data: bytes) -> int:
        nonlocal at
        start, padding = at, -len(data) % _ALIGNED
        body.append(data + bytes(padding))
        at += len(data) + padding
        return start

    for name, column in columns.items():
        kind, rows, data, null = _encoded(column)
        entry = {"name": name, "type": kind, "rows": rows, "at": put(data), "bytes": len(data)}
        if null is not None and null.any():
            entry["nulls"] = put(np.packbits(null, bitorder="little").tobytes())
        entries.append(entry)
    header = json.dumps(
        {"facts": dict(facts or {}), "columns": entries}, separators=(",", ":")
    ).encode()
    header += b" " * (-(len(MAGIC) + 4 + len(header)) % _ALIGNED)
    return b"".join((MAGIC, len(header).to_bytes(4, "little"), header, *body))


@dataclass(frozen=True, slots=True)
class Table:
    """A columns file that was read."""

    facts: Mapping[str, Any]
    columns: Mapping[str, Column]

    def numbers(self, name: str) -> Numbers:
        """Return a column of numbers; raises `InvalidInput` if there is none of this name."""
        column = self.columns.get(name)
        if not isinstance(column, Numbers):
            raise InvalidInput(name, "is no column of numbers")
        return column

    def fixed(self, name: str) -> ByteMatrix:
        """Return a column of byte strings of one width; raises `InvalidInput` if there is none of this name."""
        column = self.columns.get(name)
        if not isinstance(column, np.ndarray):
            raise InvalidInput(name, "is no column of bytes")
        return column

    def texts(self, name: str) -> Texts:
        """Return a column of texts; raises `InvalidInput` if there is none of this name."""
        column = self.columns.get(name)
        if not isinstance(column, tuple):
            raise InvalidInput(name, "is no column of texts")
        return column


def read_columns(data: bytes) -> Table:
    """Read a columns file.

    Raises:
        InvalidInput: If it is none, or a column does not lie in it.
    """
    start = len(MAGIC) + 4
    if data[: len(MAGIC)] != MAGIC or len(data) < start:
        raise InvalidInput("columns", "do not begin as a columns file does")
    length = int.from_bytes(data[len(MAGIC) : start], "little")
    if length > HEADER_BYTES_MAX or start + length > len(data):
        raise InvalidInput("columns", "the header does not lie in the file")
    try:
        header = json.loads(data[start : start + length])
        entries = header["columns"]
        if len(entries) > COLUMNS_MAX:
            raise InvalidInput("columns", f"{len(entries)}; at most {COLUMNS_MAX} are allowed")
        body = memoryview(data)[start + length :]
        found = {entry["name"]: _column(body, entry) for entry in entries}
        return Table(header["facts"], found)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidInput("columns", f"cannot be read: {error}") from error


def _part(body: memoryview, at: Any, count: int) -> memoryview:
    if type(at) is not int or not 0 <= at <= len(body) - count:
        raise InvalidInput("columns", "a column does not lie in the file")
    return body[at : at + count]


def _column(body: memoryview, entry: Mapping[str, Any]) -> Column:
    kind, rows, size = entry["type"], entry["rows"], entry["bytes"]
    if type(rows) is not int or not 0 <= rows < ROWS_MAX or type(size) is not int or size < 0:
        raise InvalidInput(str(entry["name"]), "has no number of rows or bytes")
    data = _part(body, entry["at"], size)
    if kind == "text":
        return _texts(data, rows)
    width = _WIDTHS.get(kind) or int(kind.removeprefix("bytes"))
    if not 0 < width <= FIXED_BYTES_MAX or size != width * rows:
        raise InvalidInput(str(entry["name"]), f"{rows} rows of {kind} are not {size} bytes")
    if kind not in _WIDTHS:
        return np.frombuffer(data, dtype=np.uint8).reshape(rows, width)
    null = None
    if "nulls" in entry:
        bits = np.frombuffer(_part(body, entry["nulls"], (rows + 7) // 8), dtype=np.uint8)
        null = np.unpackbits(bits, count=rows, bitorder="little").astype(np.bool_)
    if kind == "u128":
        words = np.frombuffer(data, dtype="<u8").reshape(rows, 2).astype(np.uint64)
        return Numbers(words[:, 0], words[:, 1], null)
    return Numbers(np.frombuffer(data, dtype=f"<u{width}").astype(np.uint64), None, null)


def _texts(data: memoryview, rows: int) -> Texts:
    ends = np.frombuffer(data[: 4 * (rows + 1)], dtype="<u4").tolist()
    texts = data[4 * (rows + 1) :]
    rising = all(a <= b for a, b in pairwise(ends))
    if len(ends) != rows + 1 or ends[0] != 0 or ends[-1] != len(texts) or not rising:
        raise InvalidInput("columns", "the ends of texts are not those of the bytes")
    return tuple(bytes(texts[a:b]).decode() for a, b in pairwise(ends))
