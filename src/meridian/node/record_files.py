"""Files of job records, read in batches: NDJSON, JSON arrays, Parquet and Arrow, plain or compressed, or from a pipe.

Law: the same file and the same size of batch give the same batches, byte for byte; a batch is known by its bytes, so
who starts again from the beginning sends nothing twice. Memory is bounded by one batch; a JSON array is read whole,
within `ARRAY_BYTES_MAX`, and Parquet by row group.
"""

import contextlib
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from meridian.errors import InvalidInput, NotFound, StorageFailure
from meridian.measure.explain import Rejection
from meridian.node.measure.client import ARROW, JSON, NDJSON

BODY_BYTES_MAX: Final = 48 << 20
"""Most bytes of one batch: below what a service takes."""
ARRAY_BYTES_MAX: Final = 256 << 20
_PIECE: Final = 1 << 20
_STDIN: Final = "-"
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_PARQUET, _ARROW_FILE, _ARROW_STREAM = b"PAR1", b"ARROW1", b"\xff\xff\xff\xff"


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Some records of one source."""

    source: str
    """The file's name; ``-`` for standard input."""
    first: int
    """The first one's line (NDJSON), or number, from 1."""
    content_type: str
    body: bytes
    position: int
    """How much of the source was read, in the units of `source_size`."""
    lines: Sequence[int] | None = None
    """Where each record of the body stands in the source, from 1; None: as the body says."""
    refused: tuple[Rejection, ...] = ()
    """Records that are refused already and are not in the body; `line` counts in the source."""


def source_size(path: Path) -> int | None:
    """Return how large a source is, in bytes; None if nobody knows (a pipe).

    Raises:
        NotFound: If there is no such file.
    """
    if str(path) == _STDIN:
        return None
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError as error:
        raise StorageFailure(f"{path}: {error.strerror}") from error


def read_batches(path: Path, records: int) -> Iterator[RecordBatch]:
    """Yield a source's records in batches.

    Args:
        path: A file, whose content tells what it is; ``-`` for standard input.
        records: How many in one batch.

    Raises:
        NotFound: If there is no such file.
        InvalidInput: If it is none of the forms, or damaged; batches before the damage are yielded.
        StorageFailure: If it cannot be read.
    """
    name = str(path)
    try:
        with _standard_input() if name == _STDIN else path.open("rb") as raw:
            yield from _batches(name, raw, records)
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file") from None
    except (pa.ArrowException, EOFError) as error:
        raise InvalidInput(name, f"it is damaged: {error}") from error
    except OSError as error:
        if error.errno is None:  # Arrow's own, about what is in the file
            raise InvalidInput(name, f"it is damaged: {error}") from error
        raise StorageFailure(f"{name}: {error.strerror}") from error


@contextlib.contextmanager
def _standard_input() -> Iterator[Any]:
    """Yield standard input, which stays open; one that cannot be peeked into is wrapped."""
    raw: Any = sys.stdin.buffer
    yield raw if hasattr(raw, "peek") else io.BufferedReader(raw)


def _batches(name: str, raw: Any, records: int) -> Iterator[RecordBatch]:
    head = raw.peek(8)[:8]
    if head[:4] == _PARQUET:
        return _parquet(name, raw, records)
    if head[:2] == _GZIP or head[:4] == _ZSTD:
        coding = "gzip" if head[:2] == _GZIP else "zstd"
        stream = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), coding)
        inner: Any = io.BufferedReader(stream, _PIECE)
    else:
        inner = raw
    return _plain(name, raw, inner, records)


def _plain(name: str, raw: Any, inner: Any, records: int) -> Iterator[RecordBatch]:
    head = inner.peek(8)[:8]
    if head[:4] == _ARROW_STREAM:
        return _arrow(name, pa.ipc.open_stream(inner), records, lambda: _tell(raw))
    if head[:6] == _ARROW_FILE:
        if inner is not raw or not raw.seekable():
            raise InvalidInput(name, "this form of Arrow cannot be read from a pipe; give a stream")
        reader = pa.ipc.open_file(raw)
        chunks = (reader.get_batch(at) for at in range(reader.num_record_batches))
        return _arrow(name, chunks, records, lambda: 0)
    if head.lstrip()[:1] == b"[":
        return _array(name, raw, inner, records)
    return _lines(name, raw, inner, records)


def _tell(raw: Any) -> int:
    return raw.tell() if raw.seekable() else 0


def _lines(name: str, raw: Any, inner: Any, records: int) -> Iterator[RecordBatch]:
    """Cut lines into batches; blank lines count as lines, and stay in the body."""
    waiting, line, lines = bytearray(), 1, 0
    while piece := inner.read(_PIECE):
        waiting += piece
        lines += piece.count(b"\n")
        while lines >= records or len(waiting) >= BODY_BYTES_MAX:
            end = _end_of(name, waiting, min(lines, records))
            body = bytes(waiting[:end])
            del waiting[:end]
            yield RecordBatch(name, line, NDJSON, body, _tell(raw))
            cut = body.count(b"\n")
            line, lines = line + cut, lines - cut
    if waiting.strip():
        yield RecordBatch(name, line, NDJSON, bytes(waiting), _tell(raw))


def _end_of(name: str, waiting: bytearray, lines: int) -> int:
    """Return where the first `lines` lines end, or as many of them as fit into one batch."""
    end = 0
    for _ in range(lines):
        following = waiting.index(b"\n", end) + 1
        if following > BODY_BYTES_MAX:
            break
        end = following
    if end == 0:
        raise InvalidInput(name, f"a line passes {BODY_BYTES_MAX} bytes: this is no NDJSON")
    return end


def _array(name: str, raw: Any, inner: Any, records: int) -> Iterator[RecordBatch]:
    data = inner.read(ARRAY_BYTES_MAX + 1)
    if len(data) > ARRAY_BYTES_MAX:
        raise InvalidInput(name, f"a JSON array passes {ARRAY_BYTES_MAX} bytes; give NDJSON")
    try:
        items = msgspec.json.decode(data, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(name, f"it is no JSON array of records: {error}") from error
    for start in range(0, len(items), records):
        body = b"[" + b",".join(map(bytes, items[start : start + records])) + b"]"
        yield RecordBatch(name, start + 1, JSON, body, _tell(raw))


def _parquet(name: str, raw: Any, records: int) -> Iterator[RecordBatch]:
    if not raw.seekable():
        raise InvalidInput(name, "Parquet cannot be read from a pipe; give the file")
    file = pq.ParquetFile(raw)
    size, total = raw.seek(0, io.SEEK_END), max(1, file.metadata.num_rows)
    done = 0
    for chunk in file.iter_batches(records, use_threads=False):
        yield RecordBatch(
            name, done + 1, ARROW, _stream(chunk), size * (done + chunk.num_rows) // total
        )
        done += chunk.num_rows


def _arrow(name: str, chunks: Any, records: int, tell: Any) -> Iterator[RecordBatch]:
    """Cut the chunks of an Arrow file anew; those that are smaller than a batch are put together."""
    done, waiting, rows = 0, [], 0
    for chunk in chunks:
        waiting.append(chunk)
        rows += chunk.num_rows
        while rows >= records:
            table = pa.Table.from_batches(waiting)
            yield RecordBatch(name, done + 1, ARROW, _stream(table.slice(0, records)), tell())
            done, rows = done + records, rows - records
            waiting = table.slice(records).to_batches() if rows else []
    if rows:
        table = pa.Table.from_batches(waiting)
        yield RecordBatch(name, done + 1, ARROW, _stream(table), tell())


def _stream(rows: pa.RecordBatch | pa.Table) -> bytes:
    """Return rows as an Arrow IPC stream in one chunk."""
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_batches([rows])
    table = table.combine_chunks().unify_dictionaries()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
