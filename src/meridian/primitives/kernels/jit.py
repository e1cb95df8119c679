"""How the kernels are compiled: ahead of the first call, without the GIL, and kept on disk where there is a place for it.

Numba keeps compiled code beside the source (``__pycache__``), else in the user's cache folder, else (`NUMBA_CACHE_DIR`)
where it is told to. A process that may write nowhere, or finds the disk full, compiles for itself.
"""

from collections.abc import Callable
from typing import Any

from numba import cfunc, njit


def compiled(signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function for one signature; calls of it release the GIL."""

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return njit(signature, cache=True, nogil=True)(function)
        except (RuntimeError, OSError):  # no folder, or no room in it
            return njit(signature, nogil=True)(function)

    return decorate


def native(signature: Any, function: Callable[..., Any]) -> Any:
    """Compile a function that other compiled code calls by its `address`."""
    try:
        return cfunc(signature, cache=True)(function)
    except (RuntimeError, OSError):
        return cfunc(signature)(function)
