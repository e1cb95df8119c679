"""DAG-CBOR, the strict canonical subset of CBOR, for artefacts (manifests, schemas, parameters).

Integers beyond 64 bits are written by the caller as big-endian byte strings, as the IPLD specification has no bignums.
Source: https://ipld.io/specs/codecs/dag-cbor/spec/
"""

from typing import Any, Final

import cbrrr

from meridian.errors import InvalidInput

DEPTH_MAX: Final = 64
"""Nesting of an artefact; ours need five."""

_STRINGS: Final = (2, 3)
_ARRAY: Final = 4
_MAP: Final = 5
_TAG: Final = 6


def encode(value: Any) -> bytes:
    """Return the one DAG-CBOR encoding of a value of dicts, lists, text, bytes, integers, booleans and None.

    Raises:
        InvalidInput: If the value holds something that DAG-CBOR cannot say.
    """
    if _holds_float(value):
        raise InvalidInput("dag-cbor", "floats are not allowed in artefacts")
    try:
        return bytes(cbrrr.encode_dag_cbor(value))
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidInput("dag-cbor", str(error)) from error


def decode(data: bytes) -> Any:
    """Read a DAG-CBOR value; anything non-canonical is refused.

    Raises:
        InvalidInput: If the bytes are not the one encoding of a value.
    """
    _check_depth(data)
    try:
        value = cbrrr.decode_dag_cbor(data)
    except (cbrrr.CbrrrDecodeError, ValueError, TypeError, RecursionError) as error:
        raise InvalidInput("dag-cbor", str(error)) from error
    if _holds_float(value):
        raise InvalidInput("dag-cbor", "floats are not allowed in artefacts")
    return value


def _check_depth(data: bytes) -> None:
    """Refuse deep nesting before the recursive decoder sees it: its recursion could end the process.

    Walks the items' heads only; whatever else is wrong is left to the decoder.
    """
    open_items: list[int] = []
    at, end = 0, len(data)
    while at < end:
        major, info = data[at] >> 5, data[at] & 31
        width = 1 << (info - 24) if 24 <= info <= 27 else 0
        argument = int.from_bytes(data[at + 1 : at + 1 + width], "big") if width else info
        at += 1 + width + (argument if major in _STRINGS else 0)
        if open_items:
            open_items[-1] -= 1
        inner = (
            argument * (2 if major == _MAP else 1)
            if major in (_ARRAY, _MAP)
            else int(major == _TAG)
        )
        if inner:
            open_items.append(inner)
            if len(open_items) > DEPTH_MAX:
                raise InvalidInput("dag-cbor", f"nested deeper than {DEPTH_MAX}")
        while open_items and open_items[-1] == 0:
            open_items.pop()


def _holds_float(value: Any) -> bool:
    items = [value]
    for item in items:  # which grows meanwhile
        if isinstance(item, bytes | str | int):
            continue
        if isinstance(item, dict):
            items += item.values()
        elif isinstance(item, list | tuple):
            items += item
        elif isinstance(item, float):
            return True
    return False
