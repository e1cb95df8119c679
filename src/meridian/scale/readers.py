"""Readers of published segments, for workers that see a publication's files: on the same disk, or one that is mounted."""

import io
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from meridian.errors import InvalidInput, NotFound, StorageFailure
from meridian.measure.columns import read_segment, segment_columns
from meridian.measure.schema import NetworkSchema
from meridian.primitives.cid import cid_text, digest_of

KEPT_BYTES: Final = 256 << 20
"""Bytes of segments that a reader keeps between passes, beyond the last one."""


class SegmentFolder:
    """Segments as files that are named by their CIDs. What is read is what was checked against the digest.

    Args:
        folder: Where the files are, also for the workers.
        digests: Of the segments, in order.
        schema: The network's schema.
    """

    def __init__(self, folder: Path, digests: tuple[bytes, ...], schema: NetworkSchema) -> None:
        self._folder, self._digests, self._schema = folder, digests, schema
        self._kept: dict[int, bytes] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what travels: the names, not the bytes."""
        return type(self), (self._folder, self._digests, self._schema)

    def read(self, part: int, names: list[str]) -> pa.Table:
        """Return columns of a segment; where it is all of them, their types and values are checked too.

        Raises:
            NotFound: If the file is not there.
            InvalidInput: If it is not the segment that the digest names, or no segment.
            StorageFailure: If it cannot be read.
        """
        data = self._bytes(part)
        if names == segment_columns(self._schema).names:
            return read_segment(data, self._schema).select(names)
        try:
            file = pq.ParquetFile(io.BytesIO(data))
            return file.read(columns=names, use_threads=False).select(names)
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            raise InvalidInput(f"segment {part}", f"it is not a segment: {error}") from error

    def _bytes(self, part: int) -> bytes:
        found = self._kept.get(part)
        if found is not None:
            return found
        path = self._folder / cid_text(self._digests[part])
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise NotFound(f"{path}: segment {part} is not here") from None
        except OSError as error:
            raise StorageFailure(f"{path}: {error.strerror or error}") from error
        if digest_of(data) != self._digests[part]:
            raise InvalidInput(f"segment {part}", f"{path} does not hash to its name")
        while self._kept and sum(map(len, self._kept.values())) > KEPT_BYTES:
            del self._kept[next(iter(self._kept))]
        self._kept[part] = data
        return data
