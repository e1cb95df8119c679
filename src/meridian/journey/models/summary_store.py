"""A node's own directory in the summary model: its key, its jobs, and the seed of their salts. Nothing of it is published.

nodes/0f3a.../operator.key        signs summaries, and is what registers
nodes/0f3a.../seed.key            from which the salts of the private fields come
nodes/0f3a.../epoch-000001.parquet  the records of an epoch, each job once
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian.errors import InvalidInput, NotFound
from meridian.evaluate.function import EpochInput, EvaluationFunction
from meridian.evaluate.parameters import EvaluationParameters
from meridian.evaluate.registry import function_with_digest
from meridian.measure.columns import read_segment, segment_columns, write_segment
from meridian.measure.order import same_as_previous
from meridian.measure.own_records import OwnRecords, own_segment
from meridian.measure.row import job_keys, rebuild_rows
from meridian.measure.schema import NetworkSchema
from meridian.models.plain_sums import job_values
from meridian.models.summary_tree import weighed
from meridian.networks.definition import JobSource, NetworkDefinition
from meridian.networks.local import NOBODY, epoch_inputs
from meridian.node.durable_file import read_whole, write_durably
from meridian.node.keystore import load_or_create_key, load_or_create_secret
from meridian.primitives.hashing import ByteMatrix
from meridian.primitives.ids import NodeKey, node_key
from meridian.primitives.keys import PrivateKey

FILE_BYTES_MAX: Final = 2 << 30


@dataclass(frozen=True, slots=True)
class NodeRules:
    """What a node must know of its network: which records there are, and what a job weighs."""

    schema: NetworkSchema
    function: EvaluationFunction
    parameters: EvaluationParameters

    @classmethod
    def of(cls, definition: NetworkDefinition) -> "NodeRules":
        """Return those of a network."""
        return cls(definition.schema, definition.evaluation_function, definition.parameters)

    def save(self, directory: Path) -> None:
        """Write them to where everybody can read them."""
        directory.mkdir(parents=True, exist_ok=True)
        write_durably(directory / "schema.cbor", self.schema.encode())
        write_durably(directory / "parameters.cbor", self.parameters.encode())

    @classmethod
    def load(cls, directory: Path, function: bytes) -> "NodeRules":
        """Read what `save` has written.

        Args:
            directory: Where.
            function: The digest of the network's function.

        Raises:
            InvalidInput: If a file is not of its form.
            NotFound: If a file is missing, or this version has no such function.
        """
        schema, parameters = (
            read_whole(directory / name, FILE_BYTES_MAX)
            for name in ("schema.cbor", "parameters.cbor")
        )
        found = function_with_digest(function)
        return cls(NetworkSchema.decode(schema), found, EvaluationParameters.decode(parameters))


class NodeStore:
    """What one node keeps.

    Args:
        root: The directory of all nodes of a run; in a real network each is on a machine of its own.
        node_id: The node.
        rules: The network's.
    """

    def __init__(self, root: Path, node_id: str, rules: NodeRules) -> None:
        self.node_id = node_id
        self.key: NodeKey = node_key(node_id)
        self.directory = root / self.key.hex()[:16]
        self._rules = rules

    @property
    def operator(self) -> PrivateKey:
        """The operator's key; made when absent."""
        return load_or_create_key(self.directory / "operator.key")

    def path(self, epoch: int) -> Path:
        """Return the file of an epoch's jobs."""
        return self.directory / f"epoch-{epoch:06d}.parquet"

    def keep(self, epoch: int, jobs: pa.Table) -> None:
        """Keep the jobs of an epoch, once: what is kept is never changed.

        Args:
            epoch: The epoch.
            jobs: Its records, each job once, in the order of their keys.
        """
        if self.path(epoch).exists():
            return
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        seed = load_or_create_secret(self.directory / "seed.key")
        segment = own_segment(OwnRecords(jobs, 0, 0), self._rules.schema, {}, seed)
        write_durably(self.path(epoch), write_segment(segment))

    def jobs(self, epoch: int) -> pa.Table:
        """Return the jobs of an epoch; none where nothing was kept.

        Raises:
            InvalidInput: If the file is not a segment of the network's.
        """
        schema = self._rules.schema
        try:
            data = read_whole(self.path(epoch), FILE_BYTES_MAX)
        except NotFound:
            return segment_columns(schema).empty_table()
        return read_segment(data, schema)

    def rows(self, epoch: int) -> ByteMatrix:
        """Return the weighed rows of an epoch's jobs, shape (n, 100): what the node's tree is made of.

        Raises:
            InvalidInput: If what is kept is not jobs of the network, or its function is no plain sum.
        """
        jobs = self.jobs(epoch)
        rows = rebuild_rows(self._rules.schema, jobs)
        return weighed(rows, self._values(epoch, jobs))

    def _values(self, epoch: int, jobs: pa.Table) -> npt.NDArray[np.uint64]:
        if not jobs.num_rows:
            return np.zeros(0, dtype=np.uint64)
        one = EpochInput(
            epoch=epoch,
            node_ids=(self.node_id,),
            node_keys=(self.key,),
            payees=(NOBODY,),
            jobs=jobs.append_column("node", pa.array(np.zeros(jobs.num_rows, dtype=np.int64))),
            inputs={},
        )
        rules = self._rules
        values = job_values(one, rules.function, dict(rules.parameters.function))
        return np.array(values, dtype=np.uint64)


@dataclass(slots=True)
class Split:
    """A source's jobs, each with the node that has it."""

    parts: list[tuple[int, str, pa.Table]] = field(default_factory=list)
    """Epoch, node id, its jobs in the order of their keys; a node has each of its ids once, in the first epoch of it."""
    refused: int = 0
    """Records that are not acceptable."""
    repeated: int = 0
    """Records whose id their node had before."""

    @property
    def node_ids(self) -> list[str]:
        """The ids of all nodes that have jobs, in order."""
        return sorted({node_id for _, node_id, _ in self.parts})


def split(source: JobSource) -> Split:
    """Return what each node of a source has: in a real network nobody sees this.

    Raises:
        InvalidInput: If no record is acceptable, or the network has fraud layers, which nobody could run.
    """
    if source.definition.layers:
        raise InvalidInput(
            "--network", "where jobs are not published, no fraud layer can judge them"
        )
    inputs, refused = epoch_inputs(source)
    found = Split(refused=len(refused))
    seen: dict[str, set[bytes]] = {}
    for epoch in inputs:
        for node_id, jobs in _by_node(epoch):
            keys = job_keys(jobs.column("job_id"))
            known = seen.setdefault(node_id, set())
            names = [key.tobytes() for key in keys]
            new = ~same_as_previous(jobs.column("node_id"), keys)
            new &= np.array([name not in known for name in names], dtype=np.bool_)
            known.update(names)
            found.repeated += len(names) - int(new.sum())
            if new.any():
                found.parts.append((epoch.epoch, node_id, jobs.filter(pa.array(new))))
    return found


def _by_node(epoch: EpochInput) -> Iterator[tuple[str, pa.Table]]:
    """Yield each node of an epoch with its jobs."""
    jobs = pa.Table.from_batches(epoch.jobs.to_batches(), schema=epoch.jobs.schema)
    places = np.asarray(jobs.column("node"))
    starts = np.searchsorted(places, np.arange(len(epoch.node_ids) + 1))
    columns = [name for name in jobs.column_names if name not in {"node", "index"}]
    plain = jobs.select(columns)
    for at, node_id in enumerate(epoch.node_ids):
        yield node_id, plain.slice(int(starts[at]), int(starts[at + 1] - starts[at]))
