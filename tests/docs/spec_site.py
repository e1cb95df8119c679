"""Examples of page 13: a columns file."""

import json

from spec_layout import Example, Part, layout

from meridian.explorer.columns import MAGIC, Numbers, write_columns


def columns() -> dict[str, Example]:
    data = write_columns({"n": Numbers.of([7, None, 300]), "t": ("a", "\u00e9")}, {"epoch": 2})
    length = int.from_bytes(data[8:12], "little")
    header, body = data[12 : 12 + length], data[12 + length :]
    said = json.loads(header)["columns"]
    assert [(one["at"], one["bytes"]) for one in said] == [(0, 6), (16, 15)]
    assert said[0]["nulls"] == 8
    parts: list[Part] = [
        ("magic", "bytes8", MAGIC),
        ("header bytes", "bytes4", data[8:12]),
        ("header", f"bytes{length}", header),
        ("n", "bytes6", body[:6]),
        ("padding", "bytes2", body[6:8]),
        ("n, nulls", "bytes8", body[8:16]),
        ("t, ends", "bytes12", body[16:28]),
        ("t, texts", "bytes3", body[28:31]),
        ("padding", "bytes1", body[31:]),
    ]
    assert body[:6] == b"\x07\x00\x00\x00\x2c\x01"
    assert body[28:31] == "a\u00e9".encode()
    return {"columns-file": layout(data, *parts, header=header.decode().rstrip())}
