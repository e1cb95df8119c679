"""Made-up SPARK rounds of any size: the same bytes from the same seed on every machine.

Stations do the tasks that the round gives them, and report what the task's provider really does. Some do not: they do
others' tasks or tasks of no round, share a subnet with a neighbour, report a size that nobody else saw, give up, or
write times that cannot be. Participants own several stations and write their address in three ways. A round needs at
least `REQUIRED_COMMITTEE_SIZE` stations, or no committee is large enough to reward anybody.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np

from meridian.evaluate.spark.preprocess import checksum_text
from meridian.evaluate.spark.tasking import Task, Tasking
from meridian.measure.times import format_time
from meridian.networks.definition import JobSource
from meridian.networks.generator import Draws, Integers, Traffic
from meridian.networks.spark import (
    EPOCH_SECONDS,
    FILECOIN_EPOCH_S,
    FILECOIN_GENESIS_S,
    source_of,
)
from meridian.primitives.cid import cid_text, digest_of
from meridian.primitives.fil_address import fil_text
from meridian.primitives.ids import Address, address_text

START_EPOCH: Final = 4_111_111
"""Of the first round; 2024-07-22."""
FIRST_RANDOMNESS: Final = "fc90e50dcdf20886b56c038b30fa921a5e57c532ea448dadcc209e44eec0445e"
"""What the beacon really said for it."""
TASKS_MAX: Final = 1_000
MEMBERS: Final = 45
"""Of a committee, on average, where there are enough stations."""

_ENCODER: Final = msgspec.json.Encoder()
_WRITTEN: Final = (address_text, checksum_text, fil_text)


@dataclass(frozen=True, slots=True)
class _Round:
    """The tasks of a round, and what is true of each."""

    randomness: str
    per_node: int
    tasks: list[Task]
    index: int


def _station(traffic: Traffic, number: int) -> dict[str, str]:
    """Return what every record of a station says."""
    name = digest_of(f"{traffic.seed}/station/{number}".encode()).hex()
    owner = number // 3 if number % 5 else number
    participant = Address(digest_of(f"{traffic.seed}/participant/{owner}".encode())[:20])
    subnet = number - 1 if number % 8 == 1 else number
    return {
        "station_id": (name + name)[:88],
        "participant_address": _WRITTEN[number % 3](participant),
        "inet_group": digest_of(f"{traffic.seed}/subnet/{subnet}".encode()).hex()[:12],
        "spark_version": "1.20.0",
        "zinnia_version": "0.20.3",
    }


def _round(traffic: Traffic, index: int, jobs: int) -> _Round:
    per_node = -(-jobs // traffic.nodes)
    count = max(per_node, min(TASKS_MAX, jobs // MEMBERS))
    seed = f"{traffic.seed}/{index}"
    return _Round(
        randomness=digest_of(f"{seed}/randomness".encode()).hex() if index else FIRST_RANDOMNESS,
        per_node=per_node,
        tasks=[
            (cid_text(digest_of(f"{seed}/cid/{number}".encode())), f"f0{1_000 + number % 97}")
            for number in range(count)
        ],
        index=index,
    )


def _truth(number: int, task: Task) -> dict[str, Any]:
    """Return what every honest record of a task says."""
    cid, miner_id = task
    told = {
        "cid": cid,
        "miner_id": miner_id,
        "provider_id": f"12D3KooW{miner_id}",
        "provider_address": f"/ip4/198.51.100.{number % 97 + 1}/tcp/8080/http",
        "protocol": "http",
        "indexer_result": "OK",
        "timeout": False,
        "car_too_large": False,
        "status_code": 200,
        "head_status_code": 200,
        "byte_length": 1_000 + number,
        "car_checksum": f"1220{digest_of(cid.encode()).hex()}",
    }
    if number % 6 == 5:  # the provider does not have it
        told |= {"status_code": 404, "head_status_code": 404, "byte_length": 0, "car_checksum": ""}
    if number % 13 == 12:  # the index does not know it
        told |= {"indexer_result": "ERROR_404", "status_code": None, "head_status_code": None}
    return told


def _fate(number: int, record: dict[str, Any], tasks: list[Task], other: int) -> None:
    """Change a record by its fate, a number below 100; most stay as they are."""
    if number < 3:
        record["cid"], record["miner_id"] = tasks[other % len(tasks)]
    elif number < 5:
        record["cid"] = cid_text(digest_of(f"nowhere/{other}".encode()))
    elif number < 9:
        record |= {"byte_length": 1 + other % 7}
    elif number < 11:
        record |= {"timeout": True, "end_at": None, "byte_length": None}
    elif number < 12:
        record |= {"first_byte_at": None}
    elif number < 13:
        record |= {"indexer_result": None}


def _measurements(traffic: Traffic, draws: Draws, told: _Round, jobs: int) -> Iterator[bytes]:
    def below(stream: str, end: int) -> Integers:
        return draws.below(f"spark/{told.index}/{stream}", jobs, end)

    stations = [_station(traffic, number) for number in range(traffic.nodes)]
    tasking = Tasking(told.tasks, told.randomness, told.per_node)
    station, task = (
        grid.ravel() for grid in np.indices((traffic.nodes, len(told.tasks)), dtype=np.int64)
    )
    allowed = tasking.allowed([each["station_id"] for each in stations], station, task)
    pairs = np.flatnonzero(allowed)
    order = draws.below(f"spark/{told.index}/order", len(pairs), 1 << 40)
    pairs = pairs[np.argsort(order, kind="stable")][:jobs]
    truths = [_truth(number, each) for number, each in enumerate(told.tasks)]
    start_ms = (FILECOIN_GENESIS_S + START_EPOCH * FILECOIN_EPOCH_S) * 1_000
    start_ms += told.index * EPOCH_SECONDS * 1_000
    columns = zip(
        station[pairs].tolist(),
        task[pairs].tolist(),
        below("end", EPOCH_SECONDS * 1_000).tolist(),
        below("latency", 4_000).tolist(),
        below("fate", 100).tolist(),
        below("other", 1 << 30).tolist(),
        strict=True,
    )
    for number, (by, of, offset_ms, latency_ms, fate, other) in enumerate(columns):
        finished_ms = start_ms + offset_ms
        record = {
            "id": f"{told.index}-{number}",
            **stations[by],
            **truths[of],
            "start_at": _text(finished_ms - latency_ms - 20),
            "first_byte_at": _text(finished_ms - latency_ms // 2 - 10),
            "end_at": _text(finished_ms - 5),
            "finished_at": _text(finished_ms),
        }
        _fate(fate, record, told.tasks, other)
        yield _ENCODER.encode(record)


def _text(instant_ms: int) -> str:
    return format_time(instant_ms * 1_000).replace("000+00:00", "Z")


def lines(traffic: Traffic) -> Iterator[bytes]:
    """Yield a round and its raw measurements, one round after the other, as `networks.spark` reads them."""
    draws = Draws(traffic.seed)
    share, rest = divmod(traffic.jobs, traffic.epochs)
    for index in range(traffic.epochs):
        jobs = share + (index < rest)
        told = _round(traffic, index, jobs)
        details = {
            "startEpoch": str(START_EPOCH + index * EPOCH_SECONDS // FILECOIN_EPOCH_S),
            "maxTasksPerNode": told.per_node,
            "retrievalTasks": [{"cid": cid, "minerId": miner} for cid, miner in told.tasks],
        }
        yield _ENCODER.encode({"randomness": told.randomness, "round_details": details})
        yield from _measurements(traffic, draws, told, jobs)


def is_round(line: bytes) -> bool:
    """Tell whether a line of `lines` is a round; the others are measurements."""
    return line.startswith(b'{"randomness"')


def generate(traffic: Traffic) -> JobSource:
    """Return a source of made-up SPARK measurements, spread evenly over the rounds."""
    numbered = enumerate(lines(traffic), 1)
    return source_of((f"generated line {number}", line) for number, line in numbered)
