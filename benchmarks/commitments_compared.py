"""A node's own commitment as a Merkle sum tree and in KZG form: to make, to answer one challenge, to check, bytes, gas.

Both commit to the same rows and values and have roots of the same form. Times are processor times, the least of several;
gas is that of a transaction with `KzgProofs.check_job`, by the
in-memory EVM under prague rules; what a Merkle answer costs is in docs/costs.md.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from meridian.models import kzg
from meridian.node.kzg_setup import ethereum_setup
from meridian.primitives import hashing, sumtree
from meridian.primitives.hashing import JOB_LEAF, JOB_NODE, sha256_rows
from meridian.primitives.sumtree import LaneKind, SumTree

ROW_BYTES: Final = 100
VALUES_BELOW: Final = 1 << 20


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--jobs", type=int, nargs="+", default=[500, 4_096, 40_960])
    parser.add_argument("--turns", type=int, default=3)


def measure(jobs: list[int], turns: int) -> dict[str, Any]:
    """Measure each number of jobs of one node."""
    sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "contracts"))
    from kzg_words import proofs_contract  # noqa: PLC0415 - found there only now

    hashing.prepare()
    setup, contract = ethereum_setup(), proofs_contract()
    return {"rows": [_one(count, turns, setup, contract) for count in jobs]}


def _one(jobs: int, turns: int, setup: Any, contract: Any) -> dict[str, Any]:
    chance = random.Random(jobs)
    rows = [chance.randbytes(ROW_BYTES) for _ in range(jobs)]
    values = [chance.randrange(VALUES_BELOW) for _ in range(jobs)]
    index = jobs // 2
    merkle_s, tree = _least(lambda: _merkle(rows, values), turns)
    kzg_s, node = _least(lambda: kzg.NodeCommitment(rows, values, setup), turns)
    answer_s, path = _least(lambda: tree.path(index), turns)
    opening_s, opening = _least(lambda: node.open(index), turns)
    leaf = sumtree.leaf_node(
        hashing.tagged(JOB_LEAF, rows[index]), 1, LaneKind.U128.join((values[index],))
    )

    def check() -> None:
        root = sumtree.fold(leaf, index, jobs, path, JOB_NODE, LaneKind.U128)
        assert root == tree.root

    check_s, _ = _least(check, turns)
    said = (node.root, node.annotation, index, rows[index], values[index], opening, setup)
    verify_s, _ = _least(lambda: kzg.verify_job(*said), turns)
    from kzg_words import opening_words  # noqa: PLC0415

    gas = contract.send(
        "check_job",
        node.root,
        *node.annotation,
        index,
        rows[index],
        values[index],
        opening_words(opening),
    ).gas("prague")
    return {
        "jobs": jobs,
        "merkle": {
            "commit_us_a_job": 1e6 * merkle_s / jobs,
            "answer_ms": 1e3 * answer_s,
            "check_ms": 1e3 * check_s,
            "answer_bytes": sumtree.NODE_BYTES * len(path),
        },
        "kzg": {
            "commit_us_a_job": 1e6 * kzg_s / jobs,
            "answer_ms": 1e3 * opening_s,
            "check_ms": 1e3 * verify_s,
            "answer_bytes": opening.size,
            "check_gas": gas,
        },
    }


def _merkle(rows: list[bytes], values: list[int]) -> SumTree:
    matrix = np.frombuffer(b"".join(rows), np.uint8).reshape(-1, ROW_BYTES)
    leaves = np.zeros((len(rows), sumtree.NODE_BYTES), np.uint8)
    sha256_rows(matrix, JOB_LEAF, leaves)
    leaves[:, 39] = 1
    leaves[:, 48:] = np.array(values, ">u8").view(np.uint8).reshape(-1, 8)
    return SumTree(leaves, JOB_NODE, LaneKind.U128)


def _least(work: Callable[[], Any], turns: int) -> tuple[float, Any]:
    least, result = float("inf"), None
    for _ in range(turns):
        begun = time.process_time()
        result = work()
        least = min(least, time.process_time() - begun)
    return least, result


def report(found: dict[str, Any]) -> None:
    """Print the comparison."""
    print(
        f"{'jobs':>8}{'':>10}{'commit us/job':>15}{'answer ms':>11}{'check ms':>10}{'bytes':>8}{'gas':>10}"
    )
    for row in found["rows"]:
        for form in ("merkle", "kzg"):
            one = row[form]
            print(
                f"{row['jobs']:>8}{form:>10}{one['commit_us_a_job']:>15.2f}{one['answer_ms']:>11.3f}"
                f"{one['check_ms']:>10.3f}{one['answer_bytes']:>8}{one.get('check_gas', ''):>10}"
            )
        ratio = row["kzg"]["commit_us_a_job"] / row["merkle"]["commit_us_a_job"]
        print(f"{'':>18}kzg takes {ratio:.0f} times the processor time to commit")
