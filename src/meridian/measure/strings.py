"""Columns of texts as numpy bytes: what hashing, packing and parsing need from an Arrow string array."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian.primitives.hashing import ByteMatrix


def _buffers(texts: pa.StringArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Return the offsets of a column (with its slice applied) and its bytes."""
    _, offset_buffer, data_buffer = texts.buffers()
    if offset_buffer is None or len(texts) == 0:
        return np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.uint8)
    offsets = np.frombuffer(offset_buffer, dtype=np.int32, count=len(texts) + texts.offset + 1)
    data = (
        np.frombuffer(data_buffer, dtype=np.uint8)
        if data_buffer is not None
        else np.zeros(0, dtype=np.uint8)
    )
    return offsets[texts.offset :].astype(np.int64), data


def byte_lengths(texts: pa.StringArray) -> npt.NDArray[np.int64]:
    """Return the UTF-8 length of each text; what a null holds has no meaning, usually 0."""
    offsets, _ = _buffers(texts)
    return np.diff(offsets)


def byte_matrix(texts: pa.StringArray, width: int) -> ByteMatrix:
    """Return the texts as rows of `width` bytes: cut where longer, padded with zeros where shorter."""
    offsets, data = _buffers(texts)
    count = len(texts)
    if count == 0 or len(data) == 0:
        return np.zeros((count, width), dtype=np.uint8)
    columns = np.arange(width)
    at = offsets[:-1, None] + columns
    inside = columns < np.diff(offsets)[:, None]
    return np.where(inside, data[np.minimum(at, len(data) - 1)], np.uint8(0))


def byte_strings(texts: pa.StringArray) -> list[bytes]:
    """Return the UTF-8 bytes of each text of a column without nulls."""
    offsets, data = _buffers(texts)
    joined = data.tobytes()
    bounds = offsets.tolist()
    return [joined[a:b] for a, b in pairwise(bounds)]
