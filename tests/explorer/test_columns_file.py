"""Columns files: what is written is read, whatever it is; what is none is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian.errors import InvalidInput
from meridian.explorer.columns import MAGIC, Numbers, joined, read_columns, write_columns

NUMBERS = st.lists(
    st.none()
    | st.integers(0, 300)
    | st.integers(0, (1 << 64) - 1)
    | st.integers(0, (1 << 128) - 1),
    max_size=40,
)


@given(NUMBERS, st.lists(st.text(max_size=12), max_size=12), st.binary(max_size=90))
def test_what_is_written_is_read(numbers, texts, data):
    rows = np.frombuffer(data[: len(data) // 3 * 3], dtype=np.uint8).reshape(-1, 3)
    written = write_columns(
        {"n": Numbers.of(numbers), "t": tuple(texts), "b": rows}, {"epoch": 3, "what": "é"}
    )
    table = read_columns(written)
    assert table.facts == {"epoch": 3, "what": "é"}
    assert table.numbers("n").values() == numbers
    assert table.texts("t") == tuple(texts)
    assert (table.fixed("b") == rows).all()


@given(st.lists(NUMBERS, min_size=1, max_size=4))
def test_joined_columns_have_all_rows(parts):
    together = joined([Numbers.of(part) for part in parts])
    assert together.values() == [value for part in parts for value in part]
    order = np.arange(len(together))[::-1]
    assert together.take(order).values() == together.values()[::-1]


@pytest.mark.parametrize(
    ("greatest", "kind"),
    [(255, "u8"), (256, "u16"), (1 << 16, "u32"), (1 << 32, "u64"), (1 << 64, "u128")],
)
def test_a_column_is_as_narrow_as_its_numbers_allow(greatest, kind):
    data = write_columns({"n": Numbers.of([0, greatest])})
    assert f'"type":"{kind}"'.encode() in data
    assert read_columns(data).numbers("n").values() == [0, greatest]


@pytest.mark.parametrize("value", [-1, 1 << 128])
def test_numbers_that_have_no_room_are_refused(value):
    with pytest.raises(InvalidInput):
        Numbers.of([value])


def test_bytes_that_are_no_columns_file_are_refused():
    good = write_columns({"n": Numbers.of([1, None, 70_000]), "t": ("a", "bc")})
    assert good[-1] == 0, "one byte of padding"
    for length in range(len(good) - 1):
        with pytest.raises(InvalidInput):
            read_columns(good[:length])
    with pytest.raises(InvalidInput):
        read_columns(b"X" + good[1:])
    far = good.replace(b'"at":0,', b'"at":9,').replace(b'"at":24', b'"at":99')
    with pytest.raises(InvalidInput):
        read_columns(far)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data):
    for prefix in (b"", MAGIC, MAGIC + b"\x40\0\0\0"):
        with pytest.raises(InvalidInput):
            read_columns(prefix + data)


@pytest.mark.parametrize("ask", ["numbers", "fixed", "texts"])
def test_a_column_of_another_kind_is_refused_by_name(ask):
    table = read_columns(write_columns({}))
    with pytest.raises(InvalidInput, match="missing"):
        getattr(table, ask)("missing")
