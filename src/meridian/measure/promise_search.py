"""Whether rows that somebody knows stand in a committed epoch: many at a time, and nothing is believed but the root.

Law: a row *stands* in an epoch if it is a leaf, byte for byte, of its node's job tree under the committed root. The node
rows are fetched and must lead to the root. Where the known rows of a node are all of its rows, their tree gives the root
in the node's row, and no job is fetched at all; that is the usual case of who submits all jobs of a node. Only for other
nodes the published jobs are fetched, in groups of at most `rows_max`, and must lead to the root in the node's row.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from meridian.errors import InvalidInput
from meridian.measure.columns import read_segment
from meridian.measure.commitment import Fetch, committed_root, job_roots, node_tree
from meridian.measure.manifest import Manifest, Nodes
from meridian.measure.order import node_runs, same_as_previous, sort_order
from meridian.measure.row import ROW_BYTES, rebuild_rows, row_keys
from meridian.measure.schema import NetworkSchema
from meridian.primitives.cid import digest_of
from meridian.primitives.hashing import DIGEST_BYTES, ByteMatrix

ROWS_MAX: Final = 2_000_000
"""Published rows that are held at a time; the rows of one node are never divided."""

Marks = npt.NDArray[np.int8]


class Mark(IntEnum):
    """What is known of a row in an epoch."""

    UNKNOWN = -1
    """What is published of its node does not lead to what is committed."""
    ABSENT = 0
    STANDS = 1


@dataclass(frozen=True, slots=True)
class _Group:
    """Known rows, sorted by (node key, job key), each once."""

    names: list[str]
    sizes: npt.NDArray[np.int64]
    rows: ByteMatrix


class CommittedEpoch:
    """An epoch under its root.

    Args:
        schema: The network's.
        epoch: Its number.
        root: The committed root, from the chain.
        manifest: The digest of the manifest, from the chain.
        fetch: Gives the bytes of a digest.
        rows_max: Published rows that are held at a time.

    Raises:
        InvalidInput: If what is published is not what is committed.
    """

    def __init__(
        self,
        schema: NetworkSchema,
        epoch: int,
        root: bytes,
        manifest: bytes,
        fetch: Fetch,
        rows_max: int = ROWS_MAX,
    ) -> None:
        self._schema, self._fetch, self._rows_max = schema, fetch, rows_max
        self._manifest = Manifest.decode(self._checked(manifest))
        self.nodes = Nodes.decode(self._checked(self._manifest.nodes))
        size, top = len(self.nodes.ids), node_tree(self.nodes.rows, schema.lanes.kind).root
        if self._manifest.schema != schema.digest:
            raise InvalidInput("schema", "the manifest names another than the network's")
        if committed_root(epoch, size, top) != root:
            raise InvalidInput("nodes", "the published rows do not lead to the committed root")
        self._place = {name: at for at, name in enumerate(self.nodes.ids)}
        self._counts = np.array(self.nodes.job_counts, dtype=np.int64)

    def _checked(self, digest: bytes) -> bytes:
        data = self._fetch(digest)
        if digest_of(data) != digest:
            raise InvalidInput("artefact", f"the bytes do not hash to {digest.hex()}")
        return data

    def annotation(self, node_id: str) -> bytes | None:
        """Return the number of jobs and the sums of a node, 24 bytes; None if it has no row."""
        place = self._place.get(node_id)
        return None if place is None else self.nodes.job_root(place)[DIGEST_BYTES:]

    def marks(self, node_ids: pa.ChunkedArray, rows: ByteMatrix) -> Marks:
        """Tell of each row whether it stands in the epoch.

        Args:
            node_ids: The node of each row.
            rows: Shape (n, 100), in any order.

        Raises:
            InvalidInput: If an artefact is not what its digest names, or no segment of the schema.
        """
        marks = np.full(len(rows), Mark.ABSENT, dtype=np.int8)
        if not len(rows):
            return marks
        order = sort_order(node_ids, row_keys(rows))
        node_ids, rows = node_ids.take(pa.array(order)), rows[order]
        twice = same_as_previous(node_ids, row_keys(rows))
        if not twice.any():
            names, sizes = node_runs(node_ids)
            marks[order] = self._compare(_Group(names, sizes, rows))
            return marks
        once = np.flatnonzero(~twice)
        names, sizes = node_runs(node_ids.take(pa.array(once)))
        group = _Group(names, sizes, rows[once])
        # A row that is known twice has the mark of its first; one that differs from it is looked up alone.
        of_first = np.cumsum(~twice) - 1
        same = (rows == group.rows[of_first]).all(axis=1)
        marks[order] = self._compare(group)[of_first]
        for at in np.flatnonzero(~same).tolist():
            marks[order[at]] = self.marks(node_ids.slice(at, 1), rows[at : at + 1])[0]
        return marks

    def _compare(self, group: _Group) -> Marks:
        found = np.full(len(group.rows), Mark.ABSENT, dtype=np.int8)
        starts = np.cumsum(group.sizes) - group.sizes
        roots = job_roots(self._schema, group.rows, group.sizes)
        wanted: dict[str, int] = {}
        for at, name in enumerate(group.names):
            place = self._place.get(name)
            if place is None:
                continue
            if roots[at].tobytes() == self.nodes.job_root(place):
                found[starts[at] : starts[at] + group.sizes[at]] = Mark.STANDS
            else:
                wanted[name] = at
        for name, published in self._published(list(wanted)):
            at = wanted[name]
            inside = slice(int(starts[at]), int(starts[at] + group.sizes[at]))
            if published is None:
                found[inside] = Mark.UNKNOWN
            else:
                found[inside] = _among(published, group.rows[inside])
        return found

    def _published(self, names: Sequence[str]) -> Iterator[tuple[str, ByteMatrix | None]]:
        """Yield the published rows of some nodes; None where they do not lead to what is committed."""
        places = sorted(self._place[name] for name in names)
        while places:
            held, taken = 0, 0
            while taken < len(places) and (not taken or held <= self._rows_max):
                held += int(self._counts[places[taken]])
                taken += 1
            yield from self._load(places[:taken])
            places = places[taken:]

    def _load(self, places: Sequence[int]) -> Iterator[tuple[str, ByteMatrix | None]]:
        names = [self.nodes.ids[place] for place in places]
        wanted = pa.array(names)
        ends = np.cumsum(self._counts)
        first, last = int(ends[places[0]] - self._counts[places[0]]), int(ends[places[-1]])
        ids, parts, start = [], [], 0
        for segment in self._manifest.segments:
            if start < last and first < start + segment.rows:
                table = read_segment(self._checked(segment.digest), self._schema)
                table = table.filter(pc.is_in(table.column("node_id"), wanted))
                ids += table.column("node_id").chunks
                parts.append(rebuild_rows(self._schema, table))
            start += segment.rows
        rows = np.concatenate(parts) if parts else np.zeros((0, ROW_BYTES), dtype=np.uint8)
        found, sizes = node_runs(pa.chunked_array(ids, pa.string()))
        roots = job_roots(self._schema, rows, sizes)
        ends = np.cumsum(sizes)
        at = {name: number for number, name in enumerate(found)}
        for name, place in zip(names, places, strict=True):
            number = at.get(name)
            if number is None or roots[number].tobytes() != self.nodes.job_root(place):
                yield name, None
            else:
                yield name, rows[ends[number] - sizes[number] : ends[number]]


def _among(published: ByteMatrix, known: ByteMatrix) -> Marks:
    """Tell which of some rows stand among others; both are sorted by key."""
    keys, wanted = _texts(published), _texts(known)
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    marks: Marks = (published[places] == known).all(axis=1).astype(np.int8)
    return marks


def _texts(rows: ByteMatrix) -> npt.NDArray[np.bytes_]:
    """Return the job keys as texts of 32 bytes, which compare as the keys do."""
    return np.ascontiguousarray(row_keys(rows)).view(f"S{DIGEST_BYTES}").ravel()
