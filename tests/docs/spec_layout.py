"""How an example is written in a page, and the check that it is what the code says.

A `Layout` is built from (field, type, value) and must be, byte for byte, what the code encoded: so the field table of a page
is an encoder of its own, written from the page and not from the code.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meridian.primitives import dagcbor
from meridian.primitives.cid import cid_text, digest_of

HEX_WIDTH = 64
Part = tuple[str, str, int | bytes]
"""Field name; type (u8 to u128, bytesN, blob, text); value."""


def encode_part(part: Part) -> bytes:
    """Encode one field as the pages describe it."""
    name, kind, value = part
    if kind.startswith("u"):
        assert isinstance(value, int), name
        return value.to_bytes(int(kind[1:]) // 8, "big")
    assert isinstance(value, bytes), name
    if kind == "blob":
        return len(value).to_bytes(4, "big") + value
    assert kind == f"bytes{len(value)}", f"{name}: {kind} has {len(value)} bytes"
    return bytes(value)


def wrapped(head: str, digits: str) -> list[str]:
    """Lay hex digits behind a head, in lines of a bounded width."""
    if len(digits) <= HEX_WIDTH:
        return [head + digits]
    lines = [digits[at : at + HEX_WIDTH] for at in range(0, len(digits), HEX_WIDTH)]
    return [head.rstrip(), *(" " * 8 + line for line in lines)]


def shown(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


@dataclass(frozen=True, slots=True)
class Layout:
    """Bytes field by field: offset, width, type, field, hex; then what is derived from them."""

    data: bytes
    parts: Sequence[Part]
    derived: Mapping[str, bytes | int | str]

    def __post_init__(self) -> None:
        joined = b"".join(encode_part(part) for part in self.parts)
        assert joined == self.data, "the fields do not give the bytes of the code"

    def render(self) -> list[str]:
        lines, at = [], 0
        for part in self.parts:
            data = encode_part(part)
            head = f"{at:5} {len(data):4} {part[1]:<8} {part[0]}: "
            lines += wrapped(head, data.hex())
            at += len(data)
        lines.append(f"= {len(self.data)} bytes")
        for name, value in self.derived.items():
            lines += wrapped(f"= {name}: ", shown(value))
        return lines


@dataclass(frozen=True, slots=True)
class Values:
    """Names with hex, numbers or text."""

    values: Mapping[str, bytes | int | str]

    def render(self) -> list[str]:
        lines: list[str] = []
        for name, value in self.values.items():
            if isinstance(value, str) and "\n" in value:
                lines.append(f"{name}:")
                lines += [("        " + line).rstrip() for line in value.split("\n")]
            elif isinstance(value, str):
                lines.append(f"{name}: {value}")
            else:
                lines += wrapped(f"{name}: ", shown(value))
        return lines


@dataclass(frozen=True, slots=True)
class Json:
    """A JSON document."""

    value: Any

    def render(self) -> list[str]:
        return json.dumps(self.value, indent=1, ensure_ascii=False).split("\n")


@dataclass(frozen=True, slots=True)
class Cbor:
    """A DAG-CBOR artefact in diagnostic notation, its bytes and its name."""

    data: bytes

    def render(self) -> list[str]:
        lines = diagnostic(dagcbor.decode(self.data), "")
        lines += wrapped("bytes: ", self.data.hex())
        digest = digest_of(self.data)
        return [
            *lines,
            f"= {len(self.data)} bytes",
            f"= digest: {digest.hex()}",
            f"= file: objects/{cid_text(digest)}",
        ]


def diagnostic(value: Any, indent: str) -> list[str]:
    """Write a value in the diagnostic notation of RFC 8949 section 8, byte strings as h'...'."""
    inner = indent + " "
    if isinstance(value, dict) and value:
        lines = ["{"]
        for at, (key, item) in enumerate(value.items(), 1):
            first, *rest = diagnostic(item, inner)
            lines.append(f"{inner}{json.dumps(key, ensure_ascii=False)}: {first}")
            lines += rest
            lines[-1] += "," if at < len(value) else ""
        return [*lines, indent + "}"]
    if isinstance(value, list) and value:
        lines = ["["]
        for at, item in enumerate(value, 1):
            first, *rest = diagnostic(item, inner)
            lines += [inner + first, *rest]
            lines[-1] += "," if at < len(value) else ""
        return [*lines, indent + "]"]
    if isinstance(value, bytes):
        digits = value.hex()
        if len(digits) <= 2 * HEX_WIDTH:
            return [f"h'{digits}'"]
        cut = [digits[at : at + 2 * HEX_WIDTH] for at in range(0, len(digits), 2 * HEX_WIDTH)]
        return ["h'", *(inner + line for line in cut), inner + "'"]
    return [json.dumps(value, ensure_ascii=False)]


Example = Layout | Values | Json | Cbor


def layout(data: bytes, *parts: Part, **derived: bytes | int | str) -> Layout:
    return Layout(data, parts, {name.replace("_", " "): value for name, value in derived.items()})
