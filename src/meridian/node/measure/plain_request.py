"""The one shape of ``POST /v1/jobs`` that is read here, from bytes, without a parser of the whole of HTTP.

Law: what is read here is read as every HTTP/1.1 parser reads it (RFC 9112): one request line, headers that are known
here, each once and plainly spelled, the length announced in digits, nothing coded. Of anything else nothing is said.
"""

from dataclasses import dataclass
from typing import Final

from meridian.measure.batch_signature import SEED_HEADER
from meridian.node.measure.bodies import SENT_BYTES_MAX

HEAD_BYTES_MAX: Final = 4096

_START: Final = b"POST /v1/jobs HTTP/1.1\r\n"
_END: Final = b"\r\n\r\n"
_DIGITS_MAX: Final = len(str(SENT_BYTES_MAX))
_SEED: Final = SEED_HEADER.lower()
_KEEP: Final = "keep-alive"
_READ: Final = ("authorization", "connection", "content-length", "content-type", _SEED)
_LEFT_ASIDE: Final = (
    "accept",
    "accept-encoding",
    "accept-language",
    "forwarded",
    "host",
    "traceparent",
    "tracestate",
    "user-agent",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
)
_KNOWN: Final = {
    spelling: name for name in (*_READ, *_LEFT_ASIDE) for spelling in (name, name.title())
}
"""Headers as they are mostly spelled."""


@dataclass(frozen=True, slots=True)
class PlainHead:
    """What a head of the shape says."""

    authorization: str
    content_type: str
    seed: str | None
    body_at: int
    """Where the body begins and, in `body_end`, ends, from the first byte of the head."""
    body_end: int


def read_head(data: bytes) -> PlainHead | None:
    """Read the head at the start of some bytes; None if it is not whole, or of another shape."""
    end = data.find(_END, 0, HEAD_BYTES_MAX)
    if end < 0 or not data.startswith(_START):
        return None
    found = _headers(data[len(_START) : end])
    digits = found.get("content-length", "")
    if "host" not in found or not digits.isdecimal() or len(digits) > _DIGITS_MAX:
        return None
    length = int(digits)
    if length > SENT_BYTES_MAX or found.get("connection", _KEEP).lower() != _KEEP:
        return None
    body_at = end + len(_END)
    return PlainHead(
        found.get("authorization", ""),
        found.get("content-type", ""),
        found.get(_SEED),
        body_at,
        body_at + length,
    )


def _headers(lines: bytes) -> dict[str, str]:
    """Return the headers by their names; none at all if one is unknown, there twice, or not plainly spelled."""
    text = lines.decode("latin-1")
    found: dict[str, str] = {}
    for line in text.split("\r\n"):
        spelled, _, value = line.partition(": ")
        name = _KNOWN.get(spelled) or _KNOWN.get(spelled.lower())
        if name is None or name in found or value != value.strip(" "):
            return {}
        found[name] = value
    plain = text.isascii() and "".join(found.values()).isprintable()
    return found if plain else {}
