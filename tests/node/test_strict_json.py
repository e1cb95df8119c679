"""JSON from strangers has one meaning or none."""

import msgspec
import pytest

from meridian.errors import InvalidInput
from meridian.node.strict_json import DEPTH_MAX, read_json


class Inner(msgspec.Struct):
    value: int


class Outer(msgspec.Struct):
    number: Inner


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"a": 1, "a": 2}', "a: stands twice"),
        (b"NaN", "NaN is no integer"),
        (b"-Infinity", "-Infinity is no integer"),
        (b"1.0", "1.0 is no integer"),
        (b"1e999", "1e999 is no integer"),
        (b"9" * 5_000, "is no JSON"),
        (b"\xff", "is no JSON"),
        (b"", "is no JSON"),
        (b"1 2", "is no JSON"),
        (b"[" * (DEPTH_MAX + 1) + b"]" * (DEPTH_MAX + 1), "is nested deeper than 32"),
        (b'{"a":' * 300_000, "is nested deeper than 32"),
        (b'["\\"]",' + b"[" * 100, "is nested deeper than 32"),
    ],
)
def test_refused(body, reason):
    with pytest.raises(InvalidInput, match=reason):
        read_json(body, object)


def test_brackets_in_text_are_text():
    body = b'["' + b"[{" * 100 + b'", "\\"[", "\\\\"' + b", []" * 50 + b"]"
    assert len(read_json(body, list)) == 53


def test_the_field_is_named():
    with pytest.raises(InvalidInput) as caught:
        read_json(b'{"number": {"value": "x"}}', Outer)
    assert caught.value.field == "number.value"
