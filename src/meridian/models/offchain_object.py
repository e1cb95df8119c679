"""What a node of `offchain-store` puts into the store: one segment with its own jobs of an epoch.

    object   Parquet as `measure.columns` says: the node's jobs, each once, in the order of their keys, none late

Law: an object is of anybody's making, and evaluators read all of them. So its pages and the longest text of every column
are looked at before it is read, and one that asks for more memory than a segment may take is refused.
"""

import io
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from meridian.errors import InvalidInput
from meridian.measure.columns import (
    ID_BYTES_MAX,
    SEGMENT_ROWS_MAX,
    SEGMENT_TEXT_BYTES_MAX,
    column_values,
    read_segment,
    write_segment,
)
from meridian.measure.epoch import LATE_FLAG, Calendar
from meridian.measure.order import node_runs
from meridian.measure.own_records import OwnRecords, own_segment
from meridian.measure.parquet_limits import require_small_file
from meridian.measure.row import job_keys
from meridian.measure.schema import FieldKind, NetworkSchema
from meridian.models.offchain_statements import Located
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import node_key

OBJECT_BYTES_MAX: Final = 256 << 20
"""A longer one is not fetched, and so does not count."""
PAGES_BYTES_MAX: Final = 1 << 30
"""All pages of an object, decompressed."""

_SEED_TAG: Final = b"meridian/offchain-store/1"


def node_object(records: OwnRecords, schema: NetworkSchema, epoch: int, node_id: str) -> bytes:
    """Return what a node puts into the store: its records of an epoch; the same records give the same bytes."""
    seed = sha256(_SEED_TAG, epoch.to_bytes(8, "big"), node_key(node_id))
    return write_segment(own_segment(records, schema, {}, seed))


def own_table(
    schema: NetworkSchema, calendar: Calendar, epoch: int, told: Located, data: bytes
) -> tuple[str, pa.Table]:
    """Return a node's id and jobs, if the object is what its location says.

    Args:
        schema: The network's.
        calendar: The network's epochs.
        epoch: The epoch.
        told: The location.
        data: The object, of anybody's making.

    Raises:
        InvalidInput: If it is not.
    """
    _require_small(data, schema)
    table = read_segment(data, schema)
    names, _ = node_runs(table.column("node_id"))
    if len(names) != 1 or node_key(names[0]) != told.node_key:
        raise InvalidInput("node_id", "it holds other jobs than the node's own")
    if table.num_rows != told.count:
        raise InvalidInput("count", f"{told.count} jobs were told, and it holds {table.num_rows}")
    if (column_values(table, "flags") & LATE_FLAG).any():
        raise InvalidInput("flags", "a late job has no place in this model")
    strange = calendar.epochs_of(column_values(table, "ended_us")) != epoch
    if strange.any():
        raise InvalidInput("ended_us", f"{int(strange.sum())} jobs do not belong to epoch {epoch}")
    words = np.ascontiguousarray(job_keys(table.column("job_id"))).view(">u8").astype(np.uint64)
    if not _ascending(words):
        raise InvalidInput("job_id", "jobs are not in ascending order of their keys, each once")
    return names[0], table


def _ascending(words: npt.NDArray[np.uint64]) -> bool:
    """Tell whether rows of words ascend strictly."""
    before, after = words[:-1], words[1:]
    undecided = np.ones(len(before), dtype=np.bool_)
    for column in range(words.shape[1]):
        if (undecided & (before[:, column] > after[:, column])).any():
            return False
        undecided &= before[:, column] == after[:, column]
    return not undecided.any()


def _require_small(data: bytes, schema: NetworkSchema) -> None:
    """Refuse a file that becomes too large when it is read: texts are looked at as dictionaries first."""
    require_small_file(data, SEGMENT_ROWS_MAX, PAGES_BYTES_MAX)
    texts = {"node_id": ID_BYTES_MAX, "job_id": ID_BYTES_MAX}
    texts |= {item.name: item.max_bytes for item in schema.fields if item.kind is FieldKind.STRING}
    left = SEGMENT_TEXT_BYTES_MAX
    try:
        file = pq.ParquetFile(io.BytesIO(data), read_dictionary=list(texts))
        if set(texts) - set(file.schema_arrow.names):
            raise InvalidInput("segment", f"its columns are {file.schema_arrow.names}")
        for name, longest in texts.items():
            for chunk in file.read(columns=[name], use_threads=False).column(name).chunks:
                if not pa.types.is_dictionary(chunk.type):
                    raise InvalidInput(name, f"its type is {chunk.type}, not string")
                lengths = pc.fill_null(pc.binary_length(chunk.dictionary), 0)
                if len(lengths) and pc.max(lengths).as_py() > longest:
                    raise InvalidInput(name, f"a text passes {longest} bytes")
                left -= pc.sum(lengths.take(chunk.indices)).as_py() or 0
                if left < 0:
                    raise InvalidInput("segment", f"texts pass {SEGMENT_TEXT_BYTES_MAX} bytes")
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidInput("segment", f"it is not a Parquet segment: {error}") from error
