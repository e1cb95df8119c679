"""The CRC of any bytes is zlib's, whoever computes it."""

import zlib

from hypothesis import given
from hypothesis import strategies as st

from meridian.primitives import checksum, hashing

DATA = bytes(at * 7 % 253 for at in range(20_000))


@given(st.integers(0, 20_000), st.integers(0, 63), st.integers(0, 2**32 - 1))
def test_it_is_the_crc_of_zlib(end: int, start: int, value: int) -> None:
    hashing.prepare()
    view = memoryview(DATA)[start:end]
    assert checksum.crc32(view, value) == zlib.crc32(view, value)


def test_it_goes_on_from_what_came_before() -> None:
    hashing.prepare()
    assert checksum.crc32(DATA[9_000:], checksum.crc32(DATA[:9_000])) == zlib.crc32(DATA)
