"""Columns of texts as bytes: the fast way, and each text on its own."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from meridian.measure.strings import byte_lengths, byte_matrix, byte_strings

TEXTS = st.lists(st.text(max_size=12), max_size=20)


@given(TEXTS, st.integers(0, 300), st.integers(0, 5), st.integers(0, 20))
def test_texts_become_rows_cut_or_padded(texts, width, start, count):
    column = pa.array(texts, pa.string()).slice(start, count)
    own = [text.encode() for text in column.to_pylist()]
    rows = byte_matrix(column, width)
    assert rows.shape == (len(own), width)
    assert [row.tobytes() for row in rows] == [text[:width].ljust(width, b"\x00") for text in own]
    assert byte_strings(column) == own
    assert byte_lengths(column).tolist() == [len(text) for text in own]
