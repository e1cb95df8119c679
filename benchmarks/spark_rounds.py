"""How long a SPARK round takes: JSON lines, sealed jobs, and one measurement after the other.

A round is made of columns: every station does its tasks, a few per cent of the measurements are wrong in each of the
ways that the rules know. The plain version is the oracle of the tests, on the measurements of some of the stations.
"""

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from meridian.evaluate.function import EpochInput, Evaluation
from meridian.evaluate.functions import spark
from meridian.evaluate.spark.round_lines import evaluate, read_round
from meridian.evaluate.spark.tasking import Tasking
from meridian.networks.generator import Draws
from meridian.primitives import dagcbor
from meridian.primitives.cid import cid_text, digest_of
from meridian.primitives.ids import Address, node_key

START_MS = 1_721_639_730_000
ROUND_MS = 1_200_000
SAMPLED_STATIONS = 200
RANDOMNESS = "fc90e50dcdf20886b56c038b30fa921a5e57c532ea448dadcc209e44eec0445e"

Result = dict[str, Any]
Columns = dict[str, np.ndarray]


class Round:
    """A made-up round as columns of texts and numbers, one entry for each measurement."""

    def __init__(self, measurements: int, stations: int, tasks: int) -> None:
        draws = Draws(1)
        self.per_node = -(-measurements // stations)
        self.tasks = [(cid_text(digest_of(b"cid %d" % n)), f"f0{n % 97}") for n in range(tasks)]
        ids = [digest_of(b"station %d" % n).hex() for n in range(stations)]
        self.stations = [(name + name)[:88] for name in ids]
        tasking = Tasking(self.tasks, RANDOMNESS, self.per_node)
        pairs = []
        for first in range(0, stations, 1_000):  # not all pairs of a station and a task at once
            some = np.arange(first, min(first + 1_000, stations))
            station, task = (grid.ravel() for grid in np.meshgrid(some, np.arange(tasks)))
            allowed = tasking.allowed(self.stations, station, task)
            pairs.append(np.stack([station[allowed], task[allowed]]))
        station, task = np.concatenate(pairs, axis=1)
        order = np.argsort(draws.below("order", len(station), 1 << 40), kind="stable")
        order = order[:measurements]
        self.station, self.task = station[order], task[order]
        count = len(order)
        fate = draws.below("fate", count, 100)
        other = draws.below("other", count, tasks)
        self.task = np.where(fate < 5, other, self.task)
        self.in_round = fate != 5
        self.byte_length = np.where((fate >= 6) & (fate < 10), other, 1_000 + self.task)
        self.timeout = (fate >= 10) & (fate < 12)
        self.finished_ms = START_MS + draws.below("end", count, ROUND_MS)
        self.group = self.station - (self.station % 8 == 1)

    def details(self) -> Result:
        listed = [{"cid": cid, "minerId": miner} for cid, miner in self.tasks]
        return {"maxTasksPerNode": self.per_node, "retrievalTasks": listed}

    def line(self, stations: int | None = None) -> bytes:
        """Return the round as a line, of all stations or of the first ones."""
        rows = range(len(self.station))
        if stations is not None:
            rows = np.flatnonzero(self.station < stations).tolist()
        measurements = [
            {
                "cid": self.tasks[self.task[row]][0] if self.in_round[row] else "bafynowhere",
                "minerId": self.tasks[self.task[row]][1],
                "stationId": self.stations[self.station[row]],
                "inet_group": f"subnet-{self.group[row]}",
                "finished_at": int(self.finished_ms[row]),
                "participantAddress": f"0x{int(self.station[row]) // 3:040x}",
                "providerId": f"12D3KooW{self.task[row]}",
                "indexerResult": "OK",
                "provider_address": f"/ip4/198.51.100.1/tcp/{self.task[row]}/http",
                "protocol": "http",
                "retrievalResult": "TIMEOUT" if self.timeout[row] else "OK",
                "byte_length": int(self.byte_length[row]),
                "carChecksum": "1220aa",
            }
            for row in rows
        ]
        document = {"randomness": RANDOMNESS, "round_details": self.details()}
        return json.dumps(document | {"measurements": measurements}).encode()

    def epoch(self) -> EpochInput:
        """Return the round as the jobs of an epoch."""
        order = sorted(range(len(self.stations)), key=lambda n: node_key(self.stations[n]))
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        rows = np.argsort(place[self.station], kind="stable")
        count = len(rows)
        cids = np.where(self.in_round, self.task, len(self.tasks))[rows]
        listed = [*(cid for cid, _ in self.tasks), "bafynowhere"]
        numbers = np.arange(len(self.tasks))
        ended_ms = self.finished_ms[rows]
        jobs = {
            "node": pa.array(place[self.station][rows]),
            "job_id": pa.array([f"job-{row}" for row in rows.tolist()]),
            "ended_us": pa.array(ended_ms * 1_000),
            "participant_address": _texts(
                [f"0x{n // 3:040x}" for n in range(len(order))], self.station[rows]
            ),
            "inet_group": _texts([f"subnet-{n}" for n in range(len(order))], self.group[rows]),
            "cid": _texts(listed, cids),
            "miner_id": _texts([miner for _, miner in self.tasks], self.task[rows]),
            "provider_id": _texts([f"12D3KooW{n}" for n in numbers], self.task[rows]),
            "indexer_result": pa.array(["OK"] * count),
            "provider_address": _texts(
                [f"/ip4/198.51.100.1/tcp/{n}/http" for n in numbers], self.task[rows]
            ),
            "protocol": pa.array(["http"] * count),
            "status code": pa.array(np.full(count, 200)),
            "head_status_code": pa.array(np.full(count, 200)),
            "timeout": pa.array(self.timeout[rows]),
            "car_too_large": pa.array(np.zeros(count, dtype=np.bool_)),
            "byte_length": pa.array(self.byte_length[rows]),
            "car_checksum": pa.array(["1220aa"] * count),
            "start_at_ms": pa.array(ended_ms - 900),
            "first_byte_at_ms": pa.array(ended_ms - 500),
            "end_at_ms": pa.array(ended_ms - 10),
        }
        inputs = {
            spark.ROUND_DETAILS: dagcbor.encode(self.details()),
            spark.RANDOMNESS: dagcbor.encode(RANDOMNESS),
        }
        names = tuple(self.stations[n] for n in order)
        keys = tuple(node_key(name) for name in names)
        payees = tuple(Address(key[:20]) for key in keys)
        return EpochInput(1, names, keys, payees, pa.table(jobs), inputs)


def _texts(values: list[str], numbers: np.ndarray) -> pa.Array:
    return pa.array(values).take(pa.array(numbers))


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--measurements", type=int, default=1_000_000)
    parser.add_argument("--stations", type=int, default=20_000)
    parser.add_argument("--tasks", type=int, default=1_000)


def measure(measurements: int, stations: int, tasks: int) -> Result:
    """Measure the three ways on one round; times are of the processor, all threads."""
    made = Round(measurements, stations, tasks)
    function_s, evaluation = _function(made.epoch())
    line = made.line()
    lines_s, text = _timed(lambda: json.dumps(evaluate(read_round(line)).document()))
    found = [pair[1] for pair in json.loads(text)["verdicts"]]
    assert found.count("MAJORITY_RESULT") == evaluation.summary["ok"], "the two ways disagree"
    return {
        "measurements": measurements,
        "stations": stations,
        "tasks": tasks,
        "megabytes": len(line) / 1e6,
        "function_s": function_s,
        "lines_s": lines_s,
        **_plain(made, SAMPLED_STATIONS),
        "verdicts": {k: v for k, v in evaluation.summary.items() if v},
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "load": os.getloadavg()[0],
    }


def _function(epoch: EpochInput) -> tuple[float, Evaluation]:
    return _timed(lambda: spark.evaluate(epoch, {}))


def _plain(made: Round, stations: int) -> Result:
    """Judge the measurements of some stations by the plain rules, and by the product as a check."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from oracle import spark_plain  # noqa: PLC0415 - of the tests, which are not installed

    line = made.line(stations)
    plain_s, expected = _timed(lambda: spark_plain.evaluate(spark_plain.loads(line)))
    assert json.loads(json.dumps(evaluate(read_round(line)).document())) == expected
    return {"plain_measurements": len(expected["verdicts"]), "plain_s": plain_s}


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.process_time()
    value = call()
    return time.process_time() - started, value


def report(result: Result) -> None:
    """Print a result for people."""
    r = result
    print(
        f"{r['measurements']:,} measurements, {r['stations']:,} stations, {r['tasks']:,} tasks, load {r['load']:.1f}"
    )
    plain_us = r["plain_s"] / r["plain_measurements"] * 1e6
    ways = (
        ("function spark over sealed jobs", r["function_s"], r["measurements"]),
        (f"evaluate-rounds, {r['megabytes']:,.0f} MB of JSON", r["lines_s"], r["measurements"]),
        ("one after the other (oracle)", r["plain_s"], r["plain_measurements"]),
    )
    for name, seconds, count in ways:
        each_us = seconds / count * 1e6
        print(
            f"  {name:<36} {seconds:7.2f} s for {count:>9,}: {each_us:6.2f} us each, {plain_us / each_us:5.1f} times as fast"
        )
    print(f"  peak memory {r['peak_megabytes']:,.0f} MB; {r['verdicts']}")
