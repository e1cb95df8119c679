"""How deeply a JSON text is nested, found out without reading it as JSON.

JSON readers walk into nested values by recursion in C, bounded only by the interpreter's recursion limit; where a library
has raised that limit (compilers and EVMs do), some 30,000 brackets end the process with a segmentation fault, in msgspec
0.22 as in the standard library. So no text from outside reaches a reader before its depth is known here.
"""

from typing import Final

import numpy as np

DEPTH_MAX: Final = 64
"""A record needs 4."""

BRACKETS_FEW: Final = 200
"""Texts with no more opening brackets than this cannot be nested dangerously, and are not looked at."""

_CHUNK_BYTES: Final = 1 << 20
_QUOTE, _COMMA, _OPEN, _CLOSE = ord('"'), ord(","), b"[{", b"]}"


def few_brackets(text: bytes) -> bool:
    """Tell whether a text cannot be nested dangerously, whatever it is."""
    return text.count(b"[") + text.count(b"{") <= BRACKETS_FEW


def too_deep(text: bytes) -> bool:
    """Tell whether a text passes `DEPTH_MAX`, as far as it is JSON at all."""
    return not few_brackets(text) and nesting(text) > DEPTH_MAX


def nesting(text: bytes) -> int:
    """Return the greatest depth of brackets outside strings."""
    return shape(text)[0]


def shape(text: bytes) -> tuple[int, int]:
    """Return the greatest depth of brackets, and the commas at depth 1: an array has one item more than those.

    `record_kernel.shape` is the same, compiled.
    """
    plain = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    steps = np.zeros(256, dtype=np.int8)
    steps[list(_OPEN)], steps[list(_CLOSE)] = 1, -1
    depth = deepest = commas = 0
    inside = 0
    for start in range(0, len(plain), _CHUNK_BYTES):
        chunk = np.frombuffer(
            plain, dtype=np.uint8, offset=start, count=min(_CHUNK_BYTES, len(plain) - start)
        )
        quoted = (np.cumsum(chunk == _QUOTE) + inside) & 1
        depths = np.cumsum(np.where(quoted == 1, 0, steps[chunk]), dtype=np.int64) + depth
        deepest = max(deepest, int(depths.max()))
        commas += int(np.count_nonzero((chunk == _COMMA) & (depths == 1) & (quoted == 0)))
        depth, inside = int(depths[-1]), int(quoted[-1])
    return deepest, commas
