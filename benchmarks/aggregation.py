"""How long the averages of many evaluators' rows take: every method, weights of 64 and of 128 bits, some missing."""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from meridian.evaluate.aggregate import AGGREGATES, Values
from meridian.networks.generator import Draws
from meridian.primitives.quorum import faults_max

Result = dict[str, Any]

TARGET_S = 1.0
"""Processor seconds for 31 rows of 100,000 nodes, each method."""
PLAIN_NODES = 1_000
"""Nodes that the plain Python of the tests averages too."""
BITS = {"u64": 0, "u128": 60}
"""Width of a weight -> bits of its upper half."""


def rows_of(evaluators: int, nodes: int, width: str, missing_percent: int) -> list[list[Any]]:
    """Return a row for each evaluator: weights of the whole width, a part of them missing."""
    draws, rows = Draws(1), []
    for number in range(evaluators):
        low = draws.below(f"{number}/low", nodes, (1 << 63) - 1)
        high = draws.below(f"{number}/high", nodes, 1 << BITS[width])
        absent = draws.below(f"{number}/absent", nodes, 100) < missing_percent
        columns = zip(high.tolist(), low.tolist(), absent.tolist(), strict=True)
        rows.append([None if gone else (a << 64) | b for a, b, gone in columns])
    return rows


def _plain() -> dict[str, Callable[[list[int | None], int], int | None]]:
    """The four methods of the tests' oracle, for one node at a time."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from oracle import plain_averages as plain  # noqa: PLC0415 - of the tests, not installed

    def floor(said: list[int | None], k: int) -> int | None:
        exact = plain.plain_trimmed(said, k)
        return None if exact is None else int(exact)

    return {
        "wmedian": lambda said, n: plain.plain_wmedian(said, n, [1] * n),
        "trimmed": lambda said, n: floor(said, faults_max(n)),
        "median": plain.plain_median,
        "mean": lambda said, _: floor(said, 0),
    }


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.process_time()
    value = call()
    return time.process_time() - started, value


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--rows", dest="evaluators", type=int, default=31)
    parser.add_argument("--nodes", type=int, default=100_000)


def measure(evaluators: int, nodes: int, missing_percent: int = 3) -> list[Result]:
    """Average the rows by every method, some nodes also in plain Python, which must say the same."""
    results, plain = [], _plain()
    for width in BITS:
        rows: list[Values] = list(rows_of(evaluators, nodes, width, missing_percent))
        columns = [list(said) for said in zip(*(row[:PLAIN_NODES] for row in rows), strict=True)]
        for name, aggregate in AGGREGATES.items():
            cpu_s, found = _timed(lambda run=aggregate, rows=rows: run(rows, evaluators))
            plain_s, expected = _timed(
                lambda run=plain[name], columns=columns: [run(said, evaluators) for said in columns]
            )
            assert found[: len(expected)] == expected, f"{name} is not what plain Python says"
            ratio = (plain_s / len(expected)) / (cpu_s / nodes)
            results.append(
                {
                    "method": name,
                    "width": width,
                    "evaluators": evaluators,
                    "nodes": nodes,
                    "cpu_s": round(cpu_s, 3),
                    "plain_us_a_node": round(plain_s / len(expected) * 1e6, 1),
                    "ratio": round(ratio, 1),
                    "load": round(os.getloadavg()[0], 1),
                }
            )
    return results


def report(results: list[Result]) -> None:
    """Print a table."""
    print("method   width   rows    nodes   cpu s  plain us/node  ratio  load  target s")
    for one in results:
        print(
            f"{one['method']:<8} {one['width']:<5} {one['evaluators']:>6} {one['nodes']:>8,}"
            f" {one['cpu_s']:>7.2f} {one['plain_us_a_node']:>14.1f} {one['ratio']:>6.1f}"
            f" {one['load']:>5.1f} {TARGET_S:>9.1f}"
        )
