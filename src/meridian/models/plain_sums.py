"""What a contract can evaluate: a plain sum of one small integer a job; and the result that follows from such sums.

The models that evaluate on chain take networks whose function is `count`: a job is worth 1 where it counts, else 0, so
that a node's sum is the very weight that the function gives it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from meridian.errors import InvalidInput
from meridian.evaluate.function import OK, EpochInput, EvaluationFunction, Parameters
from meridian.evaluate.functions.count import FUNCTION
from meridian.primitives.amounts import proportions

VALUE_MAX: Final = 1
"""The greatest value of a job, which the contracts are deployed with."""


def is_plain_sum(function_digest: bytes) -> bool:
    """Tell whether a contract's plain sum gives the weights of the function with this digest."""
    return function_digest == FUNCTION.digest


def job_values(
    epoch: EpochInput, function: EvaluationFunction, parameters: Parameters
) -> list[int]:
    """Return what each job is worth, in table order.

    Raises:
        InvalidInput: If the function is no plain sum, or does not take its parameters.
    """
    if not is_plain_sum(function.digest):
        raise InvalidInput(
            "function",
            f"{function.name!r} is no plain sum of one integer a job, which is all that the contract can do; 'count' is",
        )
    verdicts = function.evaluate(epoch, parameters).verdicts
    return [int(code == OK) for code in verdicts]


def shares(weights: Sequence[int], funds_atto: int) -> list[int]:
    """Return each weight's share of the funds, rounded down: what the contracts pay; zeros if nobody has a weight."""
    total = sum(weights)
    return [funds_atto * weight // total if total else 0 for weight in weights]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeShare:
    """One node's line of an epoch's result."""

    node_id: str
    weight: int
    amount_atto: int


def sums_result(
    epoch: int,
    jobs: int,
    nodes: Sequence[NodeShare],
    *,
    budget_atto: int,
    paid_atto: int,
    gas: Mapping[str, int],
    **facts: Any,
) -> dict[str, Any]:
    """Return the entry of ``{"epochs": [...]}`` of an epoch, in the shape of `reward.result.epoch_result`.

    Args:
        epoch: Its number.
        jobs: How many were evaluated.
        nodes: Those that reported jobs.
        budget_atto: What the epoch was funded with.
        paid_atto: What was paid of it.
        gas: Step -> gas.
        facts: ``commitment_root``, ``report_hash``, ``signers``, ``transmitter`` where the model has them.
    """
    rows = sorted(nodes, key=lambda node: node.node_id)
    parts = proportions([node.weight for node in rows])
    return {
        "epoch": epoch,
        "jobs": jobs,
        "nodes": len(rows),
        "commitment_root": facts.get("commitment_root"),
        "report_hash": facts.get("report_hash"),
        "signers": list(facts.get("signers", ())),
        "transmitter": facts.get("transmitter"),
        "total_atto": str(budget_atto),
        "allocated_atto": str(sum(node.amount_atto for node in rows)),
        "paid_atto": str(paid_atto),
        "gas": dict(gas),
        "payees": [
            {
                "node_id": node.node_id,
                "weight": str(node.weight),
                "proportion": part,
                "amount_atto": str(node.amount_atto),
            }
            for node, part in zip(rows, parts, strict=True)
        ],
    }
