"""JSON from strangers: one value, one meaning.

Python's reader takes the last of two equal keys, NaN, fractions where integers are meant, and nests until the
stack ends; all of these are refused here.
"""

import json
import re
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from meridian.errors import InvalidInput

DEPTH_MAX: Final = 32

_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{\]}]', re.DOTALL)
"""A whole string, or a bracket outside of one."""

T = TypeVar("T")


def read_json(body: bytes, kind: type[T], field: str = "body") -> T:
    """Return a value of the given type.

    Raises:
        InvalidInput: If the body is not UTF-8 or no JSON, names a key twice, holds a fraction, NaN or a
            number without end, nests too deeply, or does not fit the type; the field that does not is named.
    """
    _check_depth(body, field)
    try:
        value = json.loads(
            body.decode(),
            object_pairs_hook=_object,
            parse_float=_no_fraction,
            parse_constant=_no_fraction,
        )
    except InvalidInput:
        raise
    except ValueError as error:  # also UnicodeDecodeError, and an integer of too many digits
        raise InvalidInput(field, f"is no JSON: {error}") from error
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$.")
        raise InvalidInput(path.removesuffix("`") or field, reason) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(twice[:64], "stands twice")
    return found


def _no_fraction(text: str) -> NoReturn:
    raise ValueError(f"{text[:20]} is no integer")


def _check_depth(body: bytes, field: str) -> None:
    """Refuse deep nesting before the reader meets it: how deep that may go depends on the whole process."""
    if body.count(b"[") + body.count(b"{") <= DEPTH_MAX:
        return
    depth = 0
    for found in _TOKEN.finditer(body):
        token = found[0]
        if token in b"[{":
            depth += 1
            if depth > DEPTH_MAX:
                raise InvalidInput(field, f"is nested deeper than {DEPTH_MAX}")
        elif token in b"]}":
            depth -= 1
