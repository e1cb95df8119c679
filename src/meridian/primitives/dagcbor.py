"""DAG-CBOR, the strict canonical subset of CBOR, for artefacts (manifests, schemas, parameters).

Integers beyond 64 bits are written by the caller as big-endian byte strings, as the IPLD specification has no bignums.
Source: https://ipld.io/specs/codecs/dag-cbor/spec/
"""

from typing import Any

import cbrrr

from meridian.errors import InvalidInput


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
    try:
        value = cbrrr.decode_dag_cbor(data)
    except (cbrrr.CbrrrDecodeError, ValueError, TypeError, RecursionError) as error:
        raise InvalidInput("dag-cbor", str(error)) from error
    if _holds_float(value):
        raise InvalidInput("dag-cbor", "floats are not allowed in artefacts")
    return value


def _holds_float(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_holds_float(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(_holds_float(item) for item in value)
    return isinstance(value, float)
