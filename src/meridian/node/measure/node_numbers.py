"""Numbers for the ids of nodes, in the order in which they are seen: found by a compiled table where there is one."""

from types import ModuleType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from meridian.measure.columns import array_values
from meridian.measure.job_tuples import U32
from meridian.measure.strings import text_buffers
from meridian.primitives.hashing import bulk

_SLOTS_MIN: Final = 1 << 12


_loaded: ModuleType | None = None
"""The compiled functions, once `prepare` has loaded them."""


def prepare() -> None:
    """Load the compiled table for `known`, which goes on with a dictionary until then; may be called in a thread."""
    global _loaded  # noqa: PLW0603 - code is loaded once in a process
    _loaded = _kernels()


class NodeNumbers:
    """The nodes that were seen."""

    def __init__(self) -> None:
        self.names: list[str] = []
        """All nodes; a node's number is its place."""
        self._numbers: dict[str, int] = {}
        self._slots = np.zeros(0, dtype=np.uint32)
        self._data = np.zeros(0, dtype=np.uint8)
        self._offsets = np.zeros(1, dtype=np.int32)
        self._entered = 0

    def of(self, node_ids: pa.StringArray, jobs: int) -> U32:
        """Return the number of each job's node.

        Args:
            node_ids: Without nulls.
            jobs: How many are asked for in all, which decides whether compiled code is worth loading.
        """
        kernels = _kernels() if bulk(jobs) is not None else None
        if kernels is None:
            return self._by_dictionary(node_ids)
        found = self._found(kernels, node_ids)
        unknown = found == 0
        if unknown.any():
            for name in pc.unique(node_ids.filter(pa.array(unknown))).to_pylist():
                self.number(name)
            self._enter(kernels)
            found = self._found(kernels, node_ids)
        return found - np.uint32(1)

    def known(self, node_ids: pa.StringArray) -> npt.NDArray[np.int64]:
        """Return the number of each job's node, -1 where it has none yet; none is given."""
        if _loaded is None or bulk(len(node_ids)) is None:
            encoded = pc.dictionary_encode(node_ids)
            names = encoded.dictionary.to_pylist()
            numbers = np.array([self._numbers.get(name, -1) for name in names], dtype=np.int64)
            by_dictionary: npt.NDArray[np.int64] = numbers[array_values(encoded.indices)]
            return by_dictionary
        if self._entered < len(self.names):
            self._enter(_loaded)
        return self._found(_loaded, node_ids).astype(np.int64) - 1

    def _by_dictionary(self, node_ids: pa.StringArray) -> U32:
        encoded = pc.dictionary_encode(node_ids)
        names = encoded.dictionary.to_pylist()
        numbers = np.array([self.number(name) for name in names], dtype=np.uint32)
        chosen: npt.NDArray[np.uint32] = numbers[array_values(encoded.indices)]
        return chosen

    def number(self, name: str) -> int:
        """Return a node's number, given now if it has none."""
        number = self._numbers.setdefault(name, len(self.names))
        if number == len(self.names):
            self.names.append(name)
        return number

    def _found(self, kernels: Any, node_ids: pa.StringArray) -> U32:
        out = np.zeros(len(node_ids), dtype=np.uint32)
        if len(self._slots):
            data, offsets = text_buffers(node_ids)
            kernels.find(self._slots, self._data, self._offsets, data, offsets, out)
        return out

    def _enter(self, kernels: Any) -> None:
        """Enter the nodes that are not in the table yet; it is at most half full."""
        names = self.names
        data, offsets = text_buffers(pa.array(names[self._entered :], pa.string()))
        self._data = _appended(self._data, int(self._offsets[self._entered]), data)
        ends = self._offsets[self._entered] + offsets[1:]
        self._offsets = _appended(self._offsets, self._entered + 1, ends)
        if 2 * len(names) > len(self._slots):
            size = max(_SLOTS_MIN, 4 << len(names).bit_length())
            self._slots, self._entered = np.zeros(size, dtype=np.uint32), 0
        kernels.enter(self._slots, self._data, self._offsets[: len(names) + 1], self._entered)
        self._entered = len(names)


def _appended(array: npt.NDArray[Any], used: int, more: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array whose first `used` values are followed by more; copied only where it has no room."""
    needed = used + len(more)
    if needed > len(array):
        grown = np.empty(2 * needed, dtype=array.dtype)
        grown[:used] = array[:used]
        array = grown
    array[used:needed] = more
    return array


def _kernels() -> Any:
    try:
        from meridian.primitives.kernels import tuples  # noqa: PLC0415  (numba)
    except Exception:  # noqa: BLE001  (whatever keeps a compiler from working, a dictionary does the same)
        return None
    return tuples
