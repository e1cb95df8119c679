"""Bodies as they come over HTTP: which form they have, and their bytes without the compression of the transport.

Law: decompression is bounded by what comes out, chunk by chunk, and by the memory that a sender can make it need. A body
ends where its last frame ends: cut streams, and bytes behind the end that are no further frame, are refused.
"""

import io
from typing import Final

import pyarrow as pa

from meridian.errors import InvalidInput
from meridian.measure.batch_decode import Body, BodyKind
from meridian.measure.record import BODY_BYTES_MAX

SENT_BYTES_MAX: Final = 64 << 20
"""Longest body as it is sent."""

CONTENT_TYPES: Final = {
    "application/x-ndjson": BodyKind.NDJSON,
    "application/ndjson": BodyKind.NDJSON,
    "application/json": BodyKind.JSON,
    "application/vnd.apache.arrow.stream": BodyKind.ARROW,
    "application/vnd.apache.parquet": BodyKind.PARQUET,
}
CONTENT_ENCODINGS: Final = {"gzip": "gzip", "x-gzip": "gzip", "zstd": "zstd"}

WINDOW_BYTES_MAX: Final = 8 << 20
"""Of a zstd frame, which a decoder must hold in memory (RFC 9659)."""

_CHUNK_BYTES: Final = 1 << 20
_MAGIC: Final = 0xFD2FB528
_SKIPPABLE: Final = range(0x184D2A50, 0x184D2A60)
_RLE: Final = 1


class BodyTooLarge(InvalidInput):
    """A body passes a limit (HTTP 413)."""


class BodyUnsupported(InvalidInput):
    """A body has a form or a compression that is not accepted (HTTP 415)."""


def read_body(body: bytes, content_type: str, content_encoding: str | None) -> Body:
    """Return the form of a body, and its bytes decompressed.

    Args:
        body: As it was sent.
        content_type: The header; parameters are left aside.
        content_encoding: The header, if there is one.

    Raises:
        BodyUnsupported: If the type or the encoding is not accepted.
        BodyTooLarge: If the body is too long, before or after decompression.
        InvalidInput: If the bytes are not of the encoding.
    """
    kind, codec = require_accepted(content_type, content_encoding)
    if len(body) > SENT_BYTES_MAX:
        raise BodyTooLarge("body", f"{len(body)} bytes pass {SENT_BYTES_MAX}")
    if codec is None:
        return Body(kind, body)
    if codec == "zstd":
        _require_small_windows(body)
    return Body(kind, _decompress(body, codec))


def require_accepted(
    content_type: str, content_encoding: str | None
) -> tuple[BodyKind, str | None]:
    """Return the form that headers name, and the compression if there is one, before any body has come.

    Raises:
        BodyUnsupported: If one of them is not accepted.
    """
    kind = CONTENT_TYPES.get(content_type.partition(";")[0].strip().lower())
    if kind is None:
        raise BodyUnsupported("Content-Type", f"{', '.join(CONTENT_TYPES)} are accepted")
    named = (content_encoding or "identity").strip().lower()
    codec = CONTENT_ENCODINGS.get(named)
    if codec is None and named != "identity":
        raise BodyUnsupported("Content-Encoding", f"{', '.join(CONTENT_ENCODINGS)} are accepted")
    return kind, codec


def _decompress(body: bytes, codec: str) -> bytes:
    out = io.BytesIO()
    chunk = memoryview(bytearray(_CHUNK_BYTES))
    try:
        with pa.CompressedInputStream(pa.BufferReader(body), codec) as stream:
            while read := stream.readinto(
                chunk
            ):  # `read` of pyarrow 26 loses its bytes on an error
                if out.tell() + read > BODY_BYTES_MAX:
                    raise BodyTooLarge("body", f"more than {BODY_BYTES_MAX} bytes, decompressed")
                out.write(chunk[:read])
    except (pa.ArrowException, OSError) as error:
        raise InvalidInput("body", f"it is not {codec}: {error}") from None
    return out.getvalue()


def _require_small_windows(body: bytes) -> None:
    """Walk over the frames of a zstd stream (RFC 8878, section 3.1) and refuse those that need much memory.

    What is no frame is left to the decompression, which says so.
    """
    at = 0
    while at + 5 <= len(body):
        magic = int.from_bytes(body[at : at + 4], "little")
        if magic in _SKIPPABLE:
            at += 8 + int.from_bytes(body[at + 4 : at + 8], "little")
            continue
        if magic != _MAGIC:
            return
        window, at, checksum = _frame_header(body, at + 4)
        if window > WINDOW_BYTES_MAX:
            raise BodyTooLarge("body", f"a window of {window} bytes passes {WINDOW_BYTES_MAX}")
        last = False
        while not last and at + 3 <= len(body):
            block = int.from_bytes(body[at : at + 3], "little")
            last, kind, size = bool(block & 1), block >> 1 & 3, block >> 3
            at += 3 + (1 if kind == _RLE else size)
        at += 4 * checksum


def _frame_header(body: bytes, at: int) -> tuple[int, int, int]:
    """Return a frame's window, where its first block begins, and whether a checksum stands at its end."""
    descriptor = body[at]
    single, checksum = descriptor >> 5 & 1, descriptor >> 2 & 1
    dictionary_bytes = (0, 1, 2, 4)[descriptor & 3]
    size_bytes = (single, 2, 4, 8)[descriptor >> 6]
    at += 1
    window = 0
    if not single:
        exponent, mantissa = divmod(body[at] if at < len(body) else 0, 8)
        window = (8 + mantissa) << (7 + exponent)
        at += 1
    at += dictionary_bytes
    if single:
        size = int.from_bytes(body[at : at + size_bytes], "little")
        window = size + 256 if size_bytes == 2 else size
    return window, at + size_bytes, checksum
