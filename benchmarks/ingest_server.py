"""The measure service for `ingest`, pinned to one core; a promise may be left out, which the product cannot do.

`python -m benchmarks.ingest_server CONFIG WITHOUT`, WITHOUT being ``nothing``, ``fsync``, ``receipts`` or ``dedup``.
"""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from meridian.measure import record
from meridian.measure.receipt import SignedReceipt
from meridian.measure.seen_jobs import SeenJobs
from meridian.node.measure import grouping, node_numbers, service
from meridian.node.measure.config import MeasureConfig
from meridian.primitives import hashing


def leave_out(what: str) -> None:
    """Take one promise out of this process."""
    if what == "fsync":
        os.fdatasync = lambda _descriptor: None
    elif what == "receipts":

        def no_roots(_lanes: Any, _leaves: Any, *, batch_of: Any, **_: Any) -> Any:
            return np.zeros((len(np.unique(batch_of)), 32), dtype=np.uint8)

        grouping.batch_roots = no_roots
        grouping.job_rows = lambda *_: None
        grouping.job_leaves = lambda _: None
        grouping.private_commitments = lambda _schema, table, _seeds: np.zeros(
            (table.num_rows, 32), dtype=np.uint8
        )
        SignedReceipt.sign_all = classmethod(
            lambda cls, receipts, domain, _key: [cls(one, domain, bytes(64)) for one in receipts]
        )
    elif what == "dedup":
        SeenJobs.repeated = lambda _self, hashes: np.zeros(len(hashes), dtype=np.bool_)
        SeenJobs.add = lambda *_: None


def main(path: str, without: str) -> int:
    """Serve."""
    os.sched_setaffinity(0, {0})
    hashing.prepare()
    record.prepare()
    node_numbers.prepare()
    leave_out(without)
    return service.run(MeasureConfig.load(Path(path)))


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
