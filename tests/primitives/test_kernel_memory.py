"""Kernels read nothing that was freed: with freed memory overwritten at once, trees come out the same."""

import os
import subprocess
import sys

PROGRAM = """
import numpy as np
from meridian.primitives import hashing, sumtree
from meridian.primitives.sumtree import LaneKind, SumTree

assert hashing.prepare() != hashing.HASHLIB, "no compiled kernel"
dice = np.random.default_rng(8)
for count in (5, 9, 23, 64, 333):
    leaves = dice.integers(0, 256, (count, 56)).astype(np.uint8)
    leaves[:, 32:42] = leaves[:, 48:50] = 0
    root = SumTree(leaves, 3, LaneKind.U128).root
    for at in range(count):
        path = SumTree(leaves, 3, LaneKind.U128).path(at)
        assert sumtree.fold(leaves[at].tobytes(), at, count, path, 3, LaneKind.U128) == root, count
    texts = [bytes(dice.integers(0, 256, int(n)).astype(np.uint8)) for n in dice.integers(0, 90, count)]
    rows = dice.integers(0, 256, (count, 100)).astype(np.uint8)
    digests = hashing.sha256_rows(rows, 2)
    assert [d.tobytes() for d in digests] == [hashing.tagged(2, r.tobytes()) for r in rows]
"""


def test_what_is_freed_is_not_read_again():
    """`MALLOC_PERTURB_` (glibc) writes over memory as it is freed; elsewhere this is one more comparison."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "MALLOC_PERTURB_": "165"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
