"""A node's own commitment as a job tree and in KZG form: to make, to answer a challenge, to check, bytes, gas.

Both are those of the summary model: the same weighed rows, the same points of the weight asked for. Times are processor
times, the least of several; gas is that of the whole answer in `Summaries` and `KzgSummaries`, by the in-memory EVM under
prague rules.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from meridian.models.summary_kzg import KzgNodeJobs, check_kzg_answer
from meridian.models.summary_sampling import points
from meridian.models.summary_tree import NodeJobs, check_answer
from meridian.node.kzg_setup import ethereum_setup
from meridian.primitives import hashing
from meridian.primitives.hashing import ByteMatrix

FORMS: Final = {"tree": "Summaries", "kzg": "KzgSummaries"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--jobs", type=int, nargs="+", default=[500, 4_096, 40_960])
    parser.add_argument("--turns", type=int, default=3)


def measure(jobs: list[int], turns: int) -> dict[str, Any]:
    """Measure each number of jobs of one node."""
    sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "contracts"))
    hashing.prepare()
    ethereum_setup()
    rows = [{"jobs": count, **_one(count, turns)} for count in jobs]
    return {"samples": _world().TERMS.samples, "rows": rows}


def _world() -> Any:
    import summary_world  # noqa: PLC0415 - `measure` says where it is

    return summary_world


def _one(count: int, turns: int) -> dict[str, Any]:
    rows = _rows(count)
    return {
        "tree": _form("tree", lambda: NodeJobs(rows), turns, _gap_bytes),
        "kzg": _form(
            "kzg", lambda: KzgNodeJobs(rows, ethereum_setup()), turns, lambda one: one.size
        ),
    }


def _rows(count: int) -> ByteMatrix:
    world = _world()
    one = np.frombuffer(world.job_row("a job", 1), np.uint8)
    rows = np.tile(one, (count, 1))
    rows[:, 4:12] = (
        (np.arange(count, dtype=np.uint64) << np.uint64(20))
        .astype(">u8")
        .view(np.uint8)
        .reshape(-1, 8)
    )
    return rows


def _form(
    name: str, make: Callable[[], Any], turns: int, size: Callable[[Any], int]
) -> dict[str, Any]:
    world = _world()
    commit_s, jobs = _least(make, turns)
    node = world.SummaryNode("measured", jobs)
    chain = world.SummaryWorld(name=FORMS[name])
    chain.register(node)
    chain.commit(node)
    chain.challenge(node)
    seed = chain.draw(node)
    samples, value_max = world.TERMS.samples, world.TERMS.value_max
    answer_s, shown = _least(lambda: jobs.answer(seed, samples), turns)
    asked = points(seed, node.summary.weight, samples)
    said = node.summary, shown, asked, world.CALENDAR, world.EPOCH, value_max
    if name == "kzg":
        check_s, _ = _least(lambda: check_kzg_answer(*said, ethereum_setup()), turns)
    else:
        check_s, _ = _least(lambda: check_answer(*said), turns)
    return {
        "commit_us_a_job": 1e6 * commit_s / node.summary.jobs,
        "answer_ms": 1e3 * answer_s,
        "check_ms": 1e3 * check_s,
        "bytes_a_point": sum(map(size, shown)) / samples,
        "gas": chain.answer(node, shown).gas("prague"),
    }


def _gap_bytes(gap: Any) -> int:
    return 56 * (len(gap.path) + len(gap.lower))


def _least(work: Callable[[], Any], turns: int) -> tuple[float, Any]:
    least, result = float("inf"), None
    for _ in range(turns):
        begun = time.process_time()
        result = work()
        least = min(least, time.process_time() - begun)
    return least, result


def report(found: dict[str, Any]) -> None:
    """Print the comparison."""
    print(f"an answer shows {found['samples']} points")
    print(
        f"{'jobs':>8}{'':>6}{'commit us/job':>15}{'answer ms':>11}{'check ms':>10}"
        f"{'bytes/point':>13}{'gas':>11}"
    )
    for row in found["rows"]:
        for form in FORMS:
            one = row[form]
            print(
                f"{row['jobs']:>8}{form:>6}{one['commit_us_a_job']:>15.2f}{one['answer_ms']:>11.2f}"
                f"{one['check_ms']:>10.2f}{one['bytes_a_point']:>13.0f}{one['gas']:>11,}"
            )
        ratios = [row["kzg"][key] / row["tree"][key] for key in ("commit_us_a_job", "gas")]
        print(
            f"{'':>14}kzg: {ratios[0]:.0f} times the processor time, {ratios[1]:.1f} times the gas"
        )
