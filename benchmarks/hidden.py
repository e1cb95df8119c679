"""The zero-knowledge prototypes: masked inclusion and proven verdicts, processor time and bytes against the number of jobs.

The alternative of the same run is to show the job: a Merkle path, and the rule run on open values.
"""

import argparse
import random
import time
from collections.abc import Callable
from typing import Any, Final

from meridian.models.zero_knowledge import one_of_many, verdicts
from meridian.models.zero_knowledge.group import Scalars, commit, root_of
from meridian.models.zero_knowledge.verdicts import ThresholdRule

SEED: Final = bytes(range(32))
CONTEXT: Final = b"benchmark"
RULE: Final = ThresholdRule(limit=1_000_000, bits=32)
STATUS: Final = 200


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--lists", type=int, nargs="+", default=[64, 512, 4_096])
    parser.add_argument("--judged", type=int, default=50, help="jobs whose verdicts are proven")


def measure(lists: list[int], judged: int) -> dict[str, Any]:
    """Measure both prototypes."""
    return {"masked": [_masked(length) for length in lists], "verdicts": _verdicts(judged)}


def _masked(length: int) -> dict[str, Any]:
    secrets = Scalars(SEED, b"list")
    opened = [(STATUS if at % 3 else 500, secrets.next()) for at in range(length)]
    commit_s, points = _timed(lambda: [commit(*one) for one in opened])
    at = length // 2 + (length // 2 % 3 == 0)
    prove_s, proof = _timed(
        lambda: one_of_many.prove(CONTEXT, points, at, STATUS, opened[at][1], SEED)
    )
    verify_s, _ = _timed(lambda: one_of_many.verify(CONTEXT, points, STATUS, proof))
    root_s, _ = _timed(lambda: root_of(points))
    return {
        "jobs": length,
        "commit_us_a_job": 1e6 * commit_s / length,
        "prove_ms": 1e3 * prove_s,
        "verify_ms": 1e3 * verify_s,
        "bytes": proof.size,
        "list_bytes": 33 * length,
        "root_ms": 1e3 * root_s,
    }


def _verdicts(jobs: int) -> dict[str, Any]:
    chance = random.Random(jobs)
    values = [chance.randrange(2 * RULE.limit) for _ in range(jobs)]
    judge_s, judged = _timed(lambda: verdicts.judge(CONTEXT, values, RULE, SEED))
    root = judged.root
    verify_s, _ = _timed(lambda: verdicts.verify(CONTEXT, root, judged, RULE))
    open_s, total = _timed(lambda: sum(value for value in values if value <= RULE.limit))
    assert total == judged.total
    return {
        "jobs": jobs,
        "judge_ms_a_job": 1e3 * judge_s / jobs,
        "verify_ms_a_job": 1e3 * verify_s / jobs,
        "bytes_a_job": judged.size / jobs,
        "open_us_a_job": 1e6 * open_s / jobs,
    }


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.process_time()
    result = work()
    return time.process_time() - begun, result


def report(found: dict[str, Any]) -> None:
    """Print what was measured."""
    print("masked inclusion: one job of a list has a value, nobody learns which")
    print(
        f"{'jobs':>8}{'commit us/job':>15}{'prove ms':>10}{'verify ms':>11}{'proof B':>9}{'list B':>9}"
    )
    for one in found["masked"]:
        print(
            f"{one['jobs']:>8}{one['commit_us_a_job']:>15.1f}{one['prove_ms']:>10.1f}"
            f"{one['verify_ms']:>11.1f}{one['bytes']:>9}{one['list_bytes']:>9}"
        )
    one = found["verdicts"]
    print(
        f"proven verdicts, {RULE.bits} bits, {one['jobs']} jobs: {one['judge_ms_a_job']:.1f} ms a job to prove, "
        f"{one['verify_ms_a_job']:.1f} ms to check, {one['bytes_a_job']:.0f} bytes a job; "
        f"the same rule on open values {one['open_us_a_job']:.2f} us"
    )
