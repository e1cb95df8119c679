"""Made-up jobs that every measurement model can take: one epoch, a job counts one, the same bytes from the same seed.

The weight of a node is its number of jobs (with `success`: of those that succeeded), which is a plain sum of one integer
a job; so a contract can compute it as well as an evaluator. The client of a job is private.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from meridian.measure.schema import Field, Lanes, NetworkSchema
from meridian.networks.definition import JobSource, NetworkDefinition
from meridian.networks.generator import Draws, Traffic
from meridian.networks.lines import TimeTexts, batches_of, record_template
from meridian.primitives.cid import digest_of
from meridian.primitives.sumtree import LaneKind

GENESIS_S: Final = 1_682_899_200
"""2023-05-01 00:00:00 UTC."""
EPOCH_SECONDS: Final = 3_600
FIRST_EPOCH: Final = 1
FAILED_PERCENT: Final = 10

SCHEMA: Final = NetworkSchema(
    id=8,
    name="comparison",
    evaluation_fields=(Field.integer("success", maximum=1), Field.integer("bytes_sent")),
    additional_fields=(Field.integer("client"),),
    lanes=Lanes(LaneKind.PAIR_U64, ("bytes_sent", "success")),
)

DEFINITION: Final = NetworkDefinition(
    name="comparison",
    schema=SCHEMA,
    function="count",
    description="Made-up jobs for comparing the measurement models, paid by their number",
)


def generate(traffic: Traffic, *, success: bool = False) -> JobSource:
    """Return a source of made-up jobs, in one epoch whatever the traffic says.

    Args:
        traffic: Seed, number of jobs and of nodes.
        success: Count only the jobs that succeeded, nine of ten.
    """
    definition = DEFINITION
    if success:
        rule = {"success": {"field": "success", "allowed": [1]}}
        definition = replace(DEFINITION, function_parameters=rule)
    return JobSource(
        definition=definition,
        genesis_s=GENESIS_S,
        epoch_seconds=EPOCH_SECONDS,
        first_epoch=FIRST_EPOCH,
        n_epochs=1,
        nodes=dict.fromkeys(_node_ids(traffic)),
        jobs=traffic.jobs,
        batches=lambda: batches_of(_lines(traffic)),
    )


def _node_ids(traffic: Traffic) -> list[str]:
    return [
        f"node-{digest_of(f'{traffic.seed}/node/{number}'.encode()).hex()[:16]}"
        for number in range(traffic.nodes)
    ]


def _lines(traffic: Traffic) -> Iterator[str]:
    draws, count = Draws(traffic.seed), traffic.jobs
    popularity = np.cumsum(1 + draws.below("popularity", traffic.nodes, 20) ** 2)
    drawn = draws.below("node", count, int(popularity[-1]))
    nodes = np.searchsorted(popularity, drawn, side="right")
    nodes[: traffic.nodes] = np.arange(traffic.nodes)[:count]  # nobody is without a job
    ended = GENESIS_S * 1_000_000 + np.sort(draws.below("end", count, EPOCH_SECONDS * 1_000_000))
    columns = (
        nodes,
        ended - 1_000 - draws.below("duration", count, 2_000_000),
        ended,
        (draws.below("success", count, 100) >= FAILED_PERCENT).astype(np.int64),
        1_024 + draws.below("size", count, 1 << 20),
        draws.below("client", count, 20_000),
    )
    template, time_text = record_template(SCHEMA), TimeTexts()
    names = [f'"{node_id}"' for node_id in _node_ids(traffic)]
    rows = zip(*(column.tolist() for column in columns), strict=True)
    for number, (node, started_us, ended_us, succeeded, size, client) in enumerate(rows):
        yield template % (
            f'"job-{number}"', names[node], time_text(started_us), time_text(ended_us),
            succeeded, size, client,
        )  # fmt: skip
