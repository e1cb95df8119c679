"""Rows and claims of many nodes: encode, decode, decide, split the money, and prove a claim; processor time and memory.

One process holds what one evaluator holds: the rows of all members, and the claims of all nodes.
"""

import argparse
import os
import resource
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import numpy as np

from meridian.evaluate.parameters import EvaluationParameters
from meridian.evaluate.row import Row, RowHeader, row_root
from meridian.networks.generator import Draws
from meridian.primitives.ids import Address, NodeKey
from meridian.reward.claims import ClaimsState, verify_claim
from meridian.reward.ledger import Ledger
from meridian.reward.outcome import compute_outcome

Result = dict[str, Any]
T = TypeVar("T")

BUDGET: Final = 10**24
PROOFS: Final = 1_000


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--nodes", type=int, default=1_000_000)
    parser.add_argument("--evaluators", type=int, default=4)


def measure(nodes: int, evaluators: int) -> Result:
    """Take one epoch of so many nodes and members through outcome and claims."""
    seconds = dict[str, float]()

    def timed(name: str, call: Callable[[], T]) -> T:
        started = time.process_time()
        value = call()
        seconds[name] = time.process_time() - started
        return value

    draws, parameters = Draws(1), EvaluationParameters()
    parts = [draws.below(f"key/{part}", nodes, 1 << 62) for part in range(4)]
    raw = np.stack(parts, axis=1).view(np.uint8).reshape(nodes, 32)
    keys = tuple(sorted(bytes(row) for row in raw))
    high, low = (draws.below(f"weight/{part}", nodes, 1 << 40).tolist() for part in range(2))
    weights = tuple((a << 40) | b for a, b in zip(high, low, strict=True))
    header = RowHeader(bytes(32), 1, bytes(32), bytes(32), parameters.digest, bytes(32))
    row = Row(header, bytes(32), keys, weights)
    body = timed("encode a row", row.encode)
    decoded = timed("decode a row", lambda: Row.decode(body))
    assert decoded == row
    timed("root of a row", lambda: row_root(body))
    del row, decoded, weights, raw
    members = [Address(bytes([at]) * 20) for at in range(1, evaluators + 1)]
    payees = {NodeKey(key): Address(key[:20]) for key in keys}
    outcome = timed(
        "outcome",
        lambda: compute_outcome(
            [(member, body) for member in members],
            members=members,
            parameters=parameters,
            budget=BUDGET,
            previous=Ledger.empty(),
            expected=header,
            payees=payees,
        ),
    )
    assert outcome.allocated == BUDGET
    root = timed("reward root", lambda: outcome.reward_root)
    data = timed("encode claims", outcome.claims.encode)
    claims = timed("decode claims", lambda: ClaimsState.decode(data))
    proofs = timed(f"{PROOFS} proofs", lambda: [claims.proof(NodeKey(k)) for k in keys[:PROOFS]])
    assert all(verify_claim(proof, root, outcome.total) for proof in proofs)
    return {
        "nodes": nodes,
        "evaluators": evaluators,
        "row_bytes": len(body),
        "claims_bytes": len(data),
        "cpu_s": seconds,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "load": os.getloadavg()[0],
    }


def report(found: Result) -> None:
    """Print a table."""
    print(f"{found['nodes']:,} nodes, {found['evaluators']} rows, load {found['load']:.1f}")
    print("\n| step | processor s |\n|---|---|")
    for name, cpu_s in found["cpu_s"].items():
        print(f"| {name} | {cpu_s:.2f} |")
    print(
        f"\nrow {found['row_bytes']:,} bytes, claims {found['claims_bytes']:,} bytes, peak {found['peak_mib']:,} MiB"
    )
