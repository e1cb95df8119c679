"""The work of a small network in which every job counts the same, so that the contracts can recompute every reward."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from meridian.measure.schema import Field, Lanes, NetworkSchema
from meridian.networks.definition import JobSource, NetworkDefinition
from meridian.networks.lines import TimeTexts, json_text, record_template
from meridian.primitives.sumtree import LaneKind

NAME: Final = "village"
EPOCH_SECONDS: Final = 2
FIRST_EPOCH: Final = 1
NODES: Final = ("anna", "bert", "carl", "dora", "emil")
JOBS: Final = {"anna": 12, "bert": 8, "carl": 5, "dora": 3, "emil": 2}
"""Jobs of each node in each epoch."""

SCHEMA: Final = NetworkSchema(
    id=77,
    name=NAME,
    evaluation_fields=(Field.integer("bytes_sent"),),
    additional_fields=(),
    lanes=Lanes(LaneKind.PAIR_U64, ("bytes_sent",)),
)
DEFINITION: Final = NetworkDefinition(name=NAME, schema=SCHEMA, function="count")
RULE_JOBS: Final = 1
"""The contracts' rule that fits: a node's weight is its number of jobs."""


@dataclass(frozen=True, slots=True)
class Job:
    """One job of the story."""

    node_id: str
    job_id: str
    ended_us: int

    def line(self, times: TimeTexts) -> bytes:
        """Return its record."""
        started, ended = times(self.ended_us - 1_000), times(self.ended_us)
        names = json_text(self.job_id), json_text(self.node_id)
        size = 1_000 + len(self.job_id)
        return (record_template(SCHEMA) % (*names, started, ended, size)).encode()


def batch_of(jobs: Sequence[Job]) -> bytes:
    """Return an ingest batch."""
    times = TimeTexts()
    return b"\n".join(job.line(times) for job in jobs) + b"\n"


@dataclass(frozen=True, slots=True)
class Work:
    """The jobs of a village that was founded at `genesis_s`."""

    genesis_s: int

    def end_us(self, epoch: int) -> int:
        """Return when an epoch ends."""
        return (self.genesis_s + (epoch - FIRST_EPOCH + 1) * EPOCH_SECONDS) * 1_000_000

    def jobs_of(self, epoch: int) -> list[Job]:
        """Return the jobs of an epoch in the order of time."""
        start_us = self.end_us(epoch - 1)
        found = [
            Job(name, f"{name}-{epoch}-{number}", start_us + 10_000 * (1 + number) + place)
            for place, (name, count) in enumerate(JOBS.items())
            for number in range(count)
        ]
        return sorted(found, key=lambda job: job.ended_us)

    def source(self, epochs: int) -> JobSource:
        """Return the jobs of some epochs, one batch for each."""
        numbers = range(FIRST_EPOCH, FIRST_EPOCH + epochs)

        def batches() -> Iterator[bytes]:
            for epoch in numbers:
                yield batch_of(self.jobs_of(epoch))

        return JobSource(
            definition=DEFINITION,
            genesis_s=self.genesis_s,
            epoch_seconds=EPOCH_SECONDS,
            first_epoch=FIRST_EPOCH,
            n_epochs=epochs,
            nodes=dict.fromkeys(NODES),
            jobs=epochs * sum(JOBS.values()),
            batches=batches,
        )
