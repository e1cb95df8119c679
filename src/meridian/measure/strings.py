"""Columns of texts as numpy bytes: what hashing, packing and parsing need from an Arrow string array."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian.primitives.hashing import ByteMatrix, bulk


def text_buffers(texts: pa.StringArray) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Return the bytes under a column, and where in them each text starts and the last one ends; nothing is copied."""
    assert texts.type == pa.string(), "wider offsets would be misread"
    _, offset_buffer, data_buffer = texts.buffers()
    if offset_buffer is None or len(texts) == 0:
        return np.zeros(0, dtype=np.uint8), np.zeros(len(texts) + 1, dtype=np.int32)
    first = np.dtype(np.int32).itemsize * texts.offset
    offsets = np.frombuffer(offset_buffer, dtype=np.int32, count=len(texts) + 1, offset=first)
    if data_buffer is None:
        return np.zeros(0, dtype=np.uint8), offsets
    return np.frombuffer(data_buffer, dtype=np.uint8), offsets


def _buffers(texts: pa.StringArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Return the offsets from the first text's start on, and the bytes of these texts alone."""
    data, offsets = text_buffers(texts)
    return (offsets - offsets[0]).astype(np.int64), data[offsets[0] : offsets[-1]]


def byte_lengths(texts: pa.StringArray) -> npt.NDArray[np.int64]:
    """Return the UTF-8 length of each text; what a null holds has no meaning, usually 0."""
    _, offsets = text_buffers(texts)
    return np.diff(offsets).astype(np.int64)


def byte_matrix(texts: pa.StringArray, width: int) -> ByteMatrix:
    """Return the texts as rows of `width` bytes: cut where longer, padded with zeros where shorter."""
    kernels = bulk(len(texts))
    if kernels is not None and width >= 2:
        rows = np.empty((len(texts), width), dtype=np.uint8)
        kernels.put_texts(*text_buffers(texts), rows)
        return rows
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
