"""What each node has to report of a source, where nodes report by themselves and a contract adds up."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from meridian.errors import InvalidInput
from meridian.models.plain_sums import job_values
from meridian.networks.definition import JobSource
from meridian.networks.local import epoch_inputs
from meridian.primitives.ids import job_key

_MICROSECONDS = 1_000_000
_U32_END = 1 << 32


@dataclass(frozen=True, slots=True)
class NodeJob:
    """One job as its node reports it to a contract with `job_sums`; the order of the fields is the contract's."""

    job_id: bytes
    """SHA-256 of the id's bytes."""
    started_s: int
    ended_s: int
    value: int

    @property
    def arguments(self) -> tuple[bytes, int, int, int]:
        """The contract's struct."""
        return self.job_id, self.started_s, self.ended_s, self.value


@dataclass(slots=True)
class NodeJobs:
    """The jobs of a source by epoch and node; a node reports each of its ids once, in the first epoch that has it."""

    by_epoch: dict[int, dict[str, list[NodeJob]]] = field(default_factory=dict)
    refused: int = 0
    """Records that are not acceptable."""
    repeated: int = 0
    """Records whose id their node had before."""

    def of(self, epoch: int) -> Mapping[str, list[NodeJob]]:
        """Return an epoch's jobs by node id; a node's in the order of their ids."""
        return self.by_epoch.get(epoch, {})

    @property
    def nodes(self) -> list[str]:
        """The ids of all nodes that have jobs, in order."""
        return sorted({node for jobs in self.by_epoch.values() for node in jobs})


def node_jobs(source: JobSource) -> NodeJobs:
    """Return what the nodes of a source report.

    Raises:
        InvalidInput: If the network's evaluation is no plain sum of one integer a job, or no record is acceptable.
    """
    definition = source.definition
    if definition.layers:
        raise InvalidInput("--network", "a contract's plain sum runs no fraud layers")
    inputs, refused = epoch_inputs(source)
    found, seen = NodeJobs(refused=len(refused)), set[tuple[str, bytes]]()
    for epoch in inputs:
        values = job_values(
            epoch, definition.evaluation_function, dict(definition.function_parameters)
        )
        columns = [
            epoch.jobs.column(name).to_pylist()
            for name in ("node", "job_id", "started_us", "ended_us")
        ]
        by_node = found.by_epoch.setdefault(epoch.epoch, {})
        for node, job_id, started_us, ended_us, value in zip(*columns, values, strict=True):
            node_id, key = epoch.node_ids[node], job_key(job_id)
            if (node_id, key) in seen:
                found.repeated += 1
                continue
            seen.add((node_id, key))
            times = started_us // _MICROSECONDS, ended_us // _MICROSECONDS
            if not 0 <= times[0] <= times[1] < _U32_END:
                raise InvalidInput("jobs", f"{job_id}: times beyond 32 bits of seconds")
            by_node.setdefault(node_id, []).append(NodeJob(key, *times, value))
    return found
