"""Saturn's traffic at full speed: batches of records made in columns, as Arrow or as seed-shaped NDJSON of one width.

The generator of `meridian.networks` writes a record at a time; here a batch of 10,000 must cost less than what is
measured. Every record has the same number of bytes, so the digits are written into one byte matrix.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian.measure.columns import job_columns
from meridian.networks.generator import EPOCH_SECONDS, GENESIS_S, Draws
from meridian.networks.lines import record_template
from meridian.networks.saturn import SCHEMA
from meridian.primitives.cid import cid_text, digest_of

CONTENTS: Final = 1_000
CLIENTS: Final = 90_000
SECONDS_BEFORE: Final = 15
"""No job ends earlier in its hour, so none starts on the day before the genesis."""
DAY: Final = "2023-05-01"
HOURS_MAX: Final = 24

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]

_HEX: Final = np.array([list(f"{byte:02x}".encode()) for byte in range(256)], dtype=np.uint8)


def node_ids(nodes: int) -> list[str]:
    """Return the ids of the nodes, 36 bytes each."""
    digests = [digest_of(f"day/node/{number}".encode()).hex() for number in range(nodes)]
    return [f"{d[:8]}-{d[8:12]}-4{d[12:15]}-a{d[15:18]}-{d[18:30]}" for d in digests]


@dataclass(frozen=True, slots=True)
class Columns:
    """The values of one batch."""

    job: Bytes
    """Hex texts of 32 bytes."""
    node: Integers
    ended_us: Integers
    duration_ns: Integers
    sent: Integers
    ttfb_ms: Integers
    failed: npt.NDArray[np.bool_]
    hit: npt.NDArray[np.bool_]
    client: Integers
    content: Integers


class Traffic:
    """Batches of any hour of a day, the same for the same arguments.

    Args:
        nodes: How many nodes there are; their sizes differ by up to four hundred times.
        seed: Of all draws.
    """

    def __init__(self, nodes: int, seed: int = 1) -> None:
        self._draws = Draws(seed)
        self.ids = node_ids(nodes)
        popularity = 1 + self._draws.below("popularity", nodes, 20) ** 2
        # Node by share: a table of 65,536 entries instead of a search for each job.
        shares = np.cumsum(popularity) * 65_536 // int(popularity.sum())
        self._node_of = np.searchsorted(shares, np.arange(65_536), side="right")
        self._node_of = np.minimum(self._node_of, nodes - 1)
        contents = [cid_text(digest_of(f"content/{at}".encode())) for at in range(CONTENTS)]
        self._contents = _texts(contents)
        self._content_array = pa.array(contents)
        self._id_array, self._id_texts = pa.array(self.ids), _texts(self.ids)
        self._clients = pa.array([f"client-{at + 10_000}" for at in range(CLIENTS)])
        self._addresses = pa.array([f"198.51.100.{at + 100}" for at in range(100)])
        self._template, self._at = _layout()

    def columns(self, hour: int, number: int, of: int, rows: int) -> Columns:
        """Return batch `number` of the `of` batches of an hour."""

        def below(stream: str, end: int) -> Integers:
            return self._draws.below(f"{hour}/{number}/{stream}", rows, end)

        start_us = (GENESIS_S + hour * EPOCH_SECONDS + SECONDS_BEFORE) * 1_000_000
        whole_us = (EPOCH_SECONDS - SECONDS_BEFORE) * 1_000_000
        raw = np.stack([below("job-a", (1 << 62) + 1), below("job-b", (1 << 62) + 1)], axis=1)
        failed = below("failed", 100) < 3
        return Columns(
            job=_HEX[raw.view(np.uint8).reshape(rows, 16)].reshape(rows, 32),
            node=self._node_of[below("node", 65_536)],
            ended_us=start_us + (number * whole_us + np.sort(below("end", whole_us))) // of,
            duration_ns=20_000_000 + below("duration", 9_000_000_000),
            sent=100_000 + below("sent", 900_000),
            ttfb_ms=100 + below("ttfb", 900),
            failed=failed,
            hit=below("hit", 100) < 60,
            client=below("client", CLIENTS),
            content=below("content", CONTENTS),
        )

    def arrow(self, batch: Columns) -> bytes:
        """Return a batch as an Arrow IPC stream with the columns of the schema."""
        rows = len(batch.node)
        columns: dict[str, Any] = {
            "node_id": self._id_array.take(pa.array(batch.node)),
            "job_id": _string_array(batch.job),
            "started_us": batch.ended_us - batch.duration_ns // 1_000,
            "ended_us": batch.ended_us,
            "num_bytes_sent": batch.sent,
            "request_duration_sec": batch.duration_ns,
            "ttfb_ms": batch.ttfb_ms,
            "status code": np.where(batch.failed, 502, 200),
            "cache_hit": pa.array(batch.hit),
            "client_id": self._clients.take(pa.array(batch.client)),
            "client_address": self._addresses.take(pa.array(batch.client % 100)),
            "cid": self._content_array.take(pa.array(batch.content)),
        }
        schema = job_columns(SCHEMA)
        table = pa.table([columns[name] for name in schema.names], schema=schema)
        assert table.num_rows == rows
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, schema) as writer:
            writer.write_table(table)
        stream: bytes = sink.getvalue().to_pybytes()
        return stream

    def ndjson(self, batch: Columns) -> bytes:
        """Return a batch as seed-shaped records, one in each line."""
        rows = len(batch.node)
        out = np.tile(self._template, (rows, 1))
        at = self._at
        ended = batch.ended_us - GENESIS_S * 1_000_000
        _put(out, at["job_id"], batch.job)
        _put(out, at["peer_id"], self._id_texts[batch.node])
        _clock(out, at["started_at"], ended - batch.duration_ns // 1_000)
        _clock(out, at["ended_at"], ended)
        _digits(out, at["num_bytes_sent"], batch.sent, 6)
        _digits(out, at["request_duration_sec"], batch.duration_ns // 1_000_000_000, 1)
        _digits(out, at["request_duration_sec"] + 2, batch.duration_ns % 1_000_000_000, 9)
        _digits(out, at["ttfb_ms"], batch.ttfb_ms, 3)
        _digits(out, at["status code"], np.where(batch.failed, 502, 200), 3)
        words = np.array([list(b"false"), list(b"true ")], dtype=np.uint8)
        _put(out, at["cache_hit"], words[batch.hit.astype(np.int64)])
        _digits(out, at["client_id"] + 7, batch.client + 10_000, 5)
        _digits(out, at["client_address"] + 11, batch.client % 100 + 100, 3)
        _put(out, at["cid"], self._contents[batch.content])
        return out.tobytes()


def _texts(texts: list[str]) -> Bytes:
    return np.array([list(text.encode()) for text in texts], dtype=np.uint8)


def _string_array(texts: Bytes) -> pa.Array:
    rows, width = texts.shape
    offsets = pa.py_buffer(np.arange(rows + 1, dtype=np.int32) * np.int32(width))
    return pa.StringArray.from_buffers(rows, offsets, pa.py_buffer(texts.tobytes()))


def _layout() -> tuple[Bytes, dict[str, int]]:
    """Return one record, and where in it each value begins."""
    clock = f"{DAY}T00:00:00.000000Z"
    values = {
        "job_id": "j" * 32,
        "peer_id": "p" * 36,
        "started_at": clock,
        "ended_at": clock,
        "num_bytes_sent": "100000",
        "request_duration_sec": "0.000000000",
        "ttfb_ms": "100",
        "status code": "200",
        "cache_hit": "false",
        "client_id": "client-00000",
        "client_address": "198.51.100.100",
        "cid": "c" * len(cid_text(bytes(32))),
    }
    quoted = {"job_id", "peer_id", "started_at", "ended_at", "client_id", "client_address", "cid"}
    marks = {name: f"\x01{name}\x01" for name in values}
    text = record_template(SCHEMA) % tuple(
        f'"{marks[name]}"' if name in quoted else marks[name] for name in values
    )
    at = {}
    for name, value in values.items():
        at[name] = text.index(marks[name])
        text = text.replace(marks[name], value)
    return np.frombuffer((text + "\n").encode(), dtype=np.uint8), at


def _put(out: Bytes, at: int, texts: Bytes) -> None:
    out[:, at : at + texts.shape[1]] = texts


def _digits(out: Bytes, at: int, values: Integers, width: int) -> None:
    for place in range(width - 1, -1, -1):
        values, digit = np.divmod(values, 10)
        out[:, at + place] = digit + ord("0")


def _clock(out: Bytes, at: int, since_us: Integers) -> None:
    """Write the time of day behind the date and its ``T``."""
    seconds, microseconds = np.divmod(since_us, 1_000_000)
    minutes, second = np.divmod(seconds, 60)
    hour, minute = np.divmod(minutes, 60)
    for offset, values, width in ((11, hour, 2), (14, minute, 2), (17, second, 2)):
        _digits(out, at + offset, values, width)
    _digits(out, at + 20, microseconds, 6)
