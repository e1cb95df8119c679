"""The `worldcup` network: the access log of the 1998 World Cup web site, a job for every request, a node for every server.

The binary format has 20-byte big-endian records: time u32 (Unix seconds), client u32, object u32, size u32, method u8,
status u8, type u8, server u8. The two high bits of the status are the HTTP version, the low six an index into the list
of HTTP/1.1 status codes (100, 101, 200..206, 300..305, 400..415, 500..505, and 37 for any other). Size 2^32 - 1 means
that the log did not know it. Sources: the README of the log's tools; DataSeries' description of the same fields. The
weight is the number of requests, whatever their status; ``success`` of the `count` function can narrow it.

Log: M. Arlitt and T. Jin, "1998 World Cup Web Site Access Logs", August 1998, http://www.acm.org/sigcomm/ITA/.
"""

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from meridian.errors import InvalidInput
from meridian.measure.schema import Field, Lanes, NetworkSchema
from meridian.networks.definition import JobSource, NetworkDefinition
from meridian.networks.files import read_file
from meridian.networks.lines import TimeTexts, batches_of, json_integer, record_template
from meridian.primitives.sumtree import LaneKind

EPOCH_SECONDS: Final = 15
SIZE_UNKNOWN: Final = (1 << 32) - 1
STATUS_CODES: Final = (
    100, 101, *range(200, 207), *range(300, 306), *range(400, 416), *range(500, 506),
)  # fmt: skip
"""Index in the log -> HTTP status."""

_RECORD: Final = struct.Struct(">IIIIBBBB")
_STATUS_BITS: Final = 0x3F

SCHEMA: Final = NetworkSchema(
    id=3,
    name="worldcup",
    evaluation_fields=(
        Field.integer("size", nullable=True),
        Field.integer("status code", nullable=True),
    ),
    additional_fields=(
        Field.integer("client"),
        Field.integer("object"),
        Field.integer("method"),
        Field.integer("type"),
    ),
    lanes=Lanes(LaneKind.PAIR_U64, ("size",)),
)

DEFINITION: Final = NetworkDefinition(
    name="worldcup",
    schema=SCHEMA,
    function="count",
    description="The servers of the 1998 World Cup web site, paid by the number of requests",
)

_Request = tuple[int, int, int, int, int, int, int, int]


def _lines(requests: Sequence[_Request]) -> Iterator[str]:
    template, time_text = record_template(SCHEMA), TimeTexts()
    for index, (time, client, item, size, method, status, kind, server) in enumerate(requests):
        instant = time_text(time * 1_000_000)
        code = status & _STATUS_BITS
        yield template % (
            f'"request-{index}"',
            f'"server-{server}"',
            instant,
            instant,
            json_integer(None if size == SIZE_UNKNOWN else size),
            json_integer(STATUS_CODES[code] if code < len(STATUS_CODES) else None),
            client,
            item,
            method,
            kind,
        )


def load(paths: Sequence[Path], *, epoch_seconds: int = EPOCH_SECONDS) -> JobSource:
    """Load log files; job ids are the positions over all files in the order of time.

    Raises:
        NotFound: If a file does not exist.
        InvalidInput: If a file does not consist of whole records, or there are none.
    """
    if epoch_seconds < 1:
        raise InvalidInput("epoch_seconds", f"{epoch_seconds} is not a length")
    requests: list[_Request] = []
    for path in paths:
        data = read_file(path)
        if len(data) % _RECORD.size:
            raise InvalidInput(str(path), f"does not consist of {_RECORD.size}-byte records")
        requests.extend(_RECORD.iter_unpack(data))
    if not requests:
        raise InvalidInput("paths", "the files hold no requests")
    requests.sort(key=lambda request: request[0])
    first, last = requests[0][0], requests[-1][0]
    return JobSource(
        definition=DEFINITION,
        genesis_s=first,
        epoch_seconds=epoch_seconds,
        first_epoch=1,
        n_epochs=(last - first) // epoch_seconds + 1,
        nodes={f"server-{number}": None for number in sorted({request[7] for request in requests})},
        jobs=len(requests),
        batches=lambda: batches_of(_lines(requests)),
    )
