"""The two forms of a proof file as they are written: one JSON object, and bytes of fixed widths.

Law: one value has one spelling in each form, and `verifier.decode` gives back what was written, so a file cannot carry
anything that is not checked. (Free in JSON are the order of keys, the space between values, and escapes in strings.)
"""

import json
from collections.abc import Callable
from typing import Any, Final

from meridian.errors import InvalidInput
from meridian.verifier import FIELDS, VERSION, Leaf, Malformed, Name, ProofFile, decode, pack

MEDIA_TYPE: Final = "application/vnd.meridian.proof"
"""Of the binary form."""

Document = dict[str, Any]


def document(file: ProofFile) -> Document:
    """Return the JSON object."""
    out: Document = {"meridian_proof": VERSION, "kind": file.kind}
    for field, form, *_ in FIELDS[file.kind]:
        value = file.fields[field]
        if form in {"name", "both"}:
            out |= _name(field, form, value)
        else:
            out[field] = _WRITERS[form](value)
    return out


def _name(field: str, form: str, name: Name) -> Document:
    key = {field.replace("_id", "_key"): name.key.hex()}
    if name.id is None:
        return key
    return {field: name.id} | (key if form == "both" else {})


def _leaf(leaf: Leaf) -> Document:
    return {
        "row": leaf.row.hex(),
        "index": leaf.index,
        "size": leaf.size,
        "path": [node.hex() for node in leaf.path],
    }


_WRITERS: Final[dict[str, Callable[[Any], Any]]] = {
    "text": str,
    "number": int,
    "lanes": str,
    "amount": str,
    "data": bytes.hex,
    "address": lambda value: "0x" + value.hex(),
    "path": lambda nodes: [node.hex() for node in nodes],
    "leaf": _leaf,
    "maybe": lambda leaf: None if leaf is None else _leaf(leaf),
}


def encode_json(file: ProofFile) -> bytes:
    """Return a proof file's bytes in JSON."""
    return json.dumps(document(file), indent=2).encode() + b"\n"


def encode_binary(file: ProofFile) -> bytes:
    """Return a proof file's bytes in the compact form."""
    return pack(document(file))


def decode_file(data: bytes) -> ProofFile:
    """Read a proof file in either form.

    Raises:
        InvalidInput: With the field that is wrong.
    """
    try:
        return decode(data)
    except Malformed as error:
        raise InvalidInput(error.field or "document", error.reason) from error
