"""Moving chosen rows of a column to given places of another: compiled where it can be, numpy where not.

Law: row ``rows[i]`` of the source goes to place ``places[i]`` of the target; both give the same bytes.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from meridian.errors import InvalidInput
from meridian.primitives.hashing import ByteMatrix

Places = npt.NDArray[np.uint32]
Bytes = npt.NDArray[np.uint8]


class Scatter:
    """How rows are moved.

    Args:
        compiled: Whether to use compiled loops; they are loaded here, which takes some tenths of a second, and a few
            seconds where they have not been compiled before.
    """

    def __init__(self, *, compiled: bool) -> None:
        self._kernels: Any = _load() if compiled else None

    @property
    def is_compiled(self) -> bool:
        """Whether compiled loops are in use."""
        return self._kernels is not None

    def values(
        self, source: npt.NDArray[Any], rows: Places, places: Places, out: npt.NDArray[Any]
    ) -> None:
        """Move numbers of 1, 2 or 8 bytes."""
        _require_inside(rows, len(source))
        _require_inside(places, len(out))
        if self._kernels is None:
            out[places] = source[rows]
        else:
            width = source.dtype.itemsize
            kind, move = _WIDTHS[width]
            getattr(self._kernels, move)(_aligned(source.view(kind)), rows, places, out.view(kind))

    def digests(self, source: ByteMatrix, rows: Places, places: Places, out: ByteMatrix) -> None:
        """Move rows of 32 bytes."""
        _require_inside(rows, len(source))
        _require_inside(places, len(out))
        if self._kernels is None:
            out[places] = source[rows]
        else:
            words = _aligned(np.ascontiguousarray(source).view(np.uint64))
            self._kernels.bytes_32(words, rows, places, out.view(np.uint64))

    def lengths(
        self,
        offsets: npt.NDArray[np.int32],
        rows: Places,
        places: Places,
        out: npt.NDArray[np.int32],
    ) -> None:
        """Write how many bytes texts have that lie between offsets."""
        _require_inside(rows, len(offsets) - 1)
        _require_inside(places, len(out))
        if self._kernels is None:
            out[places] = offsets[rows.astype(np.int64) + 1] - offsets[rows]
        else:
            self._kernels.lengths(_aligned(offsets), rows, places, out)

    def texts(
        self,
        data: Bytes,
        offsets: npt.NDArray[np.int32],
        rows: Places,
        places: Places,
        starts: npt.NDArray[np.int64],
        out: Bytes,
    ) -> None:
        """Move texts.

        Args:
            data: The bytes that the offsets are about.
            offsets: Where each text of the source starts and the last one ends.
            rows: Which texts.
            places: Where they go.
            starts: Where in `out` the text of each place starts, and the last one ends: as long as `lengths` said.
            out: Takes the bytes.

        Raises:
            InvalidInput: If the offsets are not those of texts in `data`.
        """
        _require_inside(rows, len(offsets) - 1)
        _require_inside(places, len(starts) - 1)
        sizes = offsets[1:] - offsets[:-1]
        if len(sizes) and (sizes.min() < 0 or offsets[0] < 0 or offsets[-1] > len(data)):
            raise InvalidInput("offsets", "they are not those of texts in the data")
        if self._kernels is None:
            chosen = sizes[rows].astype(np.int64)
            ends = np.cumsum(chosen)
            inside = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - chosen, chosen)
            at = np.repeat(offsets[rows].astype(np.int64), chosen) + inside
            out[np.repeat(starts[places], chosen) + inside] = data[at]
        else:
            self._kernels.texts(data, _aligned(offsets), rows, places, starts, out)


_WIDTHS: Final = {
    1: (np.uint8, "bytes_1"),
    2: (np.uint16, "bytes_2"),
    8: (np.int64, "bytes_8"),
}


def _load() -> Any:
    try:
        from meridian.primitives.kernels import scatter  # noqa: PLC0415  (numba)
    except Exception:  # noqa: BLE001  (whatever keeps a compiler from working, numpy does the same)
        return None
    return scatter


def _require_inside(places: Places, size: int) -> None:
    """Compiled code checks nothing by itself."""
    assert not len(places) or int(places.max()) < size, "every row and place exists"


def _aligned(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.require(values, requirements=["A", "C"])
