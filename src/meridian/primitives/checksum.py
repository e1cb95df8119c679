"""CRC-32 as zlib has it, faster where the kernels are loaded and the processor multiplies without carry."""

import functools
import zlib
from typing import Any, Final

import numpy as np

from meridian.primitives.hashing import bulk

_FOLDED_MIN: Final = 4_096
"""Fewer bytes are not worth it."""
_WHOLE: Final = 64
_TEST_BYTES: Final = 5_003


def crc32(data: bytes | memoryview, value: int = 0) -> int:
    """Return the CRC-32 of bytes that follow those whose CRC is `value`."""
    size = len(data)
    if size < _FOLDED_MIN or bulk(_WHOLE) is None:
        return zlib.crc32(data, value)
    fold = _fold()
    return zlib.crc32(data, value) if fold is None else _folded(fold, data, value)


def _folded(fold: Any, data: bytes | memoryview, value: int) -> int:
    folded = np.empty(16, dtype=np.uint8)
    fold(np.frombuffer(data, dtype=np.uint8), value ^ 0xFFFFFFFF, folded)
    found = zlib.crc32(folded.data, 0xFFFFFFFF)
    return zlib.crc32(memoryview(data)[len(data) // _WHOLE * _WHOLE :], found)


@functools.cache
def _fold() -> Any:
    """Return the compiled loop, None where it cannot be had or is wrong."""
    try:
        from llvmlite import binding  # noqa: PLC0415  (with numba)

        if not binding.get_host_cpu_features().get("pclmul"):
            return None
        from meridian.primitives.kernels.crc_fold import fold  # noqa: PLC0415  (numba)
    except Exception:  # noqa: BLE001  (whatever keeps a compiler from working, zlib does the same)
        return None
    data = bytes(at * at % 251 for at in range(_TEST_BYTES))
    agrees = all(
        _folded(fold, data[: _WHOLE + rest], rest) == zlib.crc32(data[: _WHOLE + rest], rest)
        for rest in (0, 1, 63, 64, 200, _TEST_BYTES)
    )
    return fold if agrees else None
