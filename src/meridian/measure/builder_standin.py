"""Stands in for `epoch_builder` until it lands: the same calls, an epoch's rows in memory."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from meridian.measure.commitment import EpochCommitment, commit_rows
from meridian.measure.schema import NetworkSchema
from meridian.primitives.hashing import ByteMatrix
from meridian.primitives.ids import Address


class EpochBuilder:
    """As `meridian.measure.epoch_builder.EpochBuilder` will be."""

    def __init__(self, schema: NetworkSchema, epoch: int) -> None:
        self._schema, self._epoch = schema, epoch
        self._ids: list[pa.ChunkedArray] = []
        self._rows: list[ByteMatrix] = []

    def add(self, node_ids: pa.ChunkedArray, rows: ByteMatrix) -> None:
        """Take the next jobs."""
        self._ids.append(node_ids)
        self._rows.append(rows)

    def finish(self, payees: Mapping[str, Address]) -> EpochCommitment:
        """Return the commitment."""
        chunks = [chunk for ids in self._ids for chunk in ids.chunks]
        ids = pa.chunked_array(chunks, pa.string())
        rows = np.concatenate([np.zeros((0, 100), dtype=np.uint8), *self._rows])
        return commit_rows(self._schema, self._epoch, ids, rows, payees)
