"""Columns of texts as numpy bytes: what hashing, packing and parsing need from an Arrow string array."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian.primitives.hashing import ByteMatrix


def _buffers(texts: pa.StringArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Return the bytes of a column (with its slice applied), and where in them each text starts and the last ends."""
    _, offset_buffer, data_buffer = texts.buffers()
    if offset_buffer is None or len(texts) == 0:
        return np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.uint8)
    offsets = np.frombuffer(offset_buffer, dtype=np.int32, count=len(texts) + texts.offset + 1)
    data = (
        np.frombuffer(data_buffer, dtype=np.uint8)
        if data_buffer is not None
        else np.zeros(0, dtype=np.uint8)
    )
    offsets = offsets[texts.offset :].astype(np.int64)
    return offsets - offsets[0], data[offsets[0] : offsets[-1]]


def byte_lengths(texts: pa.StringArray) -> npt.NDArray[np.int64]:
    """Return the UTF-8 length of each text; what a null holds has no meaning, usually 0."""
    offsets, _ = _buffers(texts)
    return np.diff(offsets)


def byte_matrix(texts: pa.StringArray, width: int) -> ByteMatrix:
    """Return the texts as rows of `width` bytes: cut where longer, padded with zeros where shorter."""
    offsets, data = _buffers(texts)
    out = np.zeros((len(texts), width), dtype=np.uint8)
    if len(data) == 0:
        return out
    lengths = np.diff(offsets)
    longest = int(lengths.max())
    if longest > width:
        data = data[np.arange(len(data)) - np.repeat(offsets[:-1], lengths) < width]
        lengths = np.minimum(lengths, width)
    # Bytes and places stand in the same order, so one mask moves them all; a narrow one, for it is all of the work.
    narrow = np.min_scalar_type(width)
    out[np.arange(width, dtype=narrow) < lengths.astype(narrow)[:, None]] = data
    return out


def byte_strings(texts: pa.StringArray) -> list[bytes]:
    """Return the UTF-8 bytes of each text of a column without nulls."""
    offsets, data = _buffers(texts)
    joined = data.tobytes()
    bounds = offsets.tolist()
    return [joined[a:b] for a, b in pairwise(bounds)]
