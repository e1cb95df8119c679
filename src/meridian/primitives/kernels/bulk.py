"""The compiled kernels behind one face: which one the processor gets, its self-test, and calls with checked shapes."""

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from llvmlite import binding

from meridian.errors import InvalidInput
from meridian.primitives.kernels import columns, keccak, messages, vector
from meridian.primitives.kernels.jit import native

ByteMatrix = npt.NDArray[np.uint8]

_LANES: Final = {"lanes-16": 16, "lanes-8": 8, "lanes-4": 4}
_NO_ROWS: Final = np.zeros((0, 32), dtype=np.uint8)
_NO_PLACES: Final = np.zeros(0, dtype=np.int32)
_NO_TAG: Final = -1
_ROW: Final = 100
TEXT_MAX: Final = 1_024
"""Longer texts are not hashed here."""


def best_name() -> str:
    """Return the kernel for this processor."""
    features = binding.get_host_cpu_features()
    if features.get("avx512f") and features.get("avx512bw"):
        return "lanes-16"
    return "lanes-8" if features.get("avx2") else "lanes-4"


@dataclass(frozen=True, slots=True)
class Bulk:
    """One kernel, compiled."""

    name: str
    lanes: int
    address: int
    """Of the function that hashes `lanes` messages at a time."""
    _code: Any = field(repr=False)
    """Keeps the compiled function in memory."""

    @classmethod
    def load(cls, name: str) -> "Bulk":
        """Compile a kernel, or take it from numba's cache."""
        lanes = _LANES[name]
        code = native(vector.SIGNATURE, getattr(vector, f"lanes_{lanes}"))
        return cls(name, lanes, code.address, code)

    def rows(self, rows: ByteMatrix, tag: int | None, out: ByteMatrix) -> None:
        """Write SHA-256(tag | row) of each row to the first 32 bytes of the rows of `out`."""
        self._rows(rows, tag, out, -1)

    def leaves(self, rows: ByteMatrix, tag: int, lanes_at: int, out: ByteMatrix) -> None:
        """Write the 56-byte leaf node of each row: digest, a count of 1, and the row's 16 bytes from `lanes_at` on."""
        assert out.shape[1] == messages.NODE
        assert 0 <= lanes_at <= rows.shape[1] - 16
        self._rows(rows, tag, out, lanes_at)

    def _rows(self, rows: ByteMatrix, tag: int | None, out: ByteMatrix, lanes_at: int) -> None:
        assert len(out) == len(rows)
        assert out.shape[1] >= messages.DIGEST
        assert out.strides[1] == 1
        if not len(rows):
            return
        if rows.shape[1] > 1 and rows.strides[1] != 1:
            rows = np.ascontiguousarray(rows)
        code = _NO_TAG if tag is None else tag
        messages.hash_rows(self.address, self.lanes, rows, code, out, lanes_at)

    def level(
        self, level: ByteMatrix, sizes: npt.NDArray[np.int64], tag: int, *, wide: bool
    ) -> tuple[ByteMatrix, bool]:
        """Return the next level of a row of trees of 56-byte nodes, and whether a sum in it overflowed.

        Args:
            level: The nodes of all trees, one tree behind the other.
            sizes: How many nodes each tree has.
            tag: The domain tag of inner nodes.
            wide: Whether the 16 bytes of lanes are one u128, not two u64.
        """
        assert level.shape == (int(sizes.sum()), messages.NODE)
        above = np.empty((int(((sizes + 1) >> 1).sum()), messages.NODE), dtype=np.uint8)
        level = np.ascontiguousarray(level)
        sizes = np.ascontiguousarray(sizes, dtype=np.int64)
        over = messages.hash_level(self.address, self.lanes, level, sizes, tag, wide, above)
        return above, bool(over)

    def texts(
        self,
        data: npt.NDArray[np.uint8],
        offsets: npt.NDArray[np.int32],
        out: ByteMatrix,
        *,
        tag: int | None = None,
        seeds: ByteMatrix = _NO_ROWS,
        seed_of: npt.NDArray[np.int32] = _NO_PLACES,
    ) -> bool:
        """Write SHA-256(tag | seed | text) of each text.

        Args:
            data: The bytes that the offsets are about.
            offsets: Where each text starts and the last one ends.
            out: Row i gets the digest of text i.
            tag: First byte of each message.
            seeds: Contiguous rows of 32 bytes.
            seed_of: Which of them stands before each text; empty for none.

        Returns:
            False, with nothing done, if a text is longer than `TEXT_MAX`.

        Raises:
            InvalidInput: If the offsets do not ascend inside the data.
        """
        assert len(out) == len(offsets) - 1
        assert len(seed_of) in (0, len(out))
        assert seeds.shape[1] == messages.DIGEST
        assert seeds.flags.c_contiguous
        width = _common_width(data, offsets)
        if width and width <= TEXT_MAX and not len(seed_of):
            self._rows(data[offsets[0] : offsets[-1]].reshape(-1, width), tag, out, -1)
            return True
        code = _NO_TAG if tag is None else tag
        longest = messages.hash_texts(
            self.address, self.lanes, data, offsets, seeds, seed_of, code, TEXT_MAX, out
        )
        _check_offsets(is_good=longest >= 0)
        return bool(longest <= TEXT_MAX)

    @staticmethod
    def keccak(rows: ByteMatrix) -> ByteMatrix:
        """Return the Keccak-256 of each row, shape (n, 32)."""
        return keccak.hash_rows(rows)

    @staticmethod
    def put_rows(
        out: ByteMatrix,
        schema: int,
        flags: npt.NDArray[np.uint16],
        digests: tuple[ByteMatrix, ByteMatrix],
        times: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
        lanes: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    ) -> None:
        """Write the rows of jobs: 100 bytes, as `measure.row` has them.

        Args:
            out: The rows.
            schema: The schema's number.
            flags: Of each job.
            digests: Job keys and private commitments.
            times: When jobs started and ended.
            lanes: The two of them; empty ones are zero.
        """
        assert out.shape == (len(flags), _ROW)
        assert all(one.shape == (len(flags), messages.DIGEST) for one in digests)
        assert all(one.strides[1] == 1 for one in digests)
        assert all(len(one) == len(flags) for one in times)
        assert all(len(one) in (0, len(flags)) for one in lanes)
        columns.put_rows(out, schema, flags, digests[0], *times, *lanes, digests[1])

    @staticmethod
    def put_texts(
        data: npt.NDArray[np.uint8],
        offsets: npt.NDArray[np.int32],
        out: ByteMatrix,
    ) -> None:
        """Write each text to its row of `out`: cut where it is longer, followed by zeros where it is shorter.

        Args:
            data: The bytes that the offsets are about.
            offsets: Where each text starts and the last one ends.
            out: One row for each text.

        Raises:
            InvalidInput: If the offsets do not ascend inside the data.
        """
        assert len(out) == len(offsets) - 1
        assert out.strides[1] == 1
        _check_offsets(is_good=columns.put_texts(out, data, offsets))

    @staticmethod
    def pack(out: ByteMatrix, lines: npt.NDArray[np.int64], first: int) -> None:
        """Write the packed fields of jobs.

        Args:
            out: One row for each job.
            lines: One for each field, as `kernels.columns` has them; at least ``first + len(out)`` rows lie there.
            first: The first job.

        Raises:
            InvalidInput: If the offsets of texts do not ascend inside the data.
        """
        assert lines.shape[1] == columns.FIELDS
        assert out.strides[1] == 1
        _check_offsets(is_good=columns.pack(out, lines, first))


def _common_width(data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int32]) -> int:
    """Return the length of all texts if they have the same one and lie in the data; otherwise 0."""
    count = len(offsets) - 1
    if count < 1 or offsets[0] < 0 or offsets[-1] > len(data):
        return 0
    width = int(offsets[1]) - int(offsets[0])
    return width if width > 0 and bool((np.diff(offsets) == width).all()) else 0


def _check_offsets(*, is_good: bool) -> None:
    if not is_good:
        raise InvalidInput("texts", "a text begins or ends outside the column's bytes")
