"""What an evaluation function needs to see at once: one node's jobs, one figure of all jobs, or all of them.

A function of the core is known by its digest, one of a network's own by its kind. What is not known to add up is run
on all jobs in one piece, and says so: to guess would be to pay wrongly.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from meridian.errors import InvalidInput
from meridian.evaluate.bundle import Bundle
from meridian.evaluate.function import EvaluationFunction, Parameters
from meridian.evaluate.functions import saturn
from meridian.evaluate.jobs import NODE, NODE_ID
from meridian.evaluate.registry import FUNCTIONS
from meridian.scale.ranks import wanted_ranks


class Needs(Enum):
    """What a function must see at once."""

    NODE = auto()
    """The jobs of one node: weights and verdicts of each node stand alone."""
    RANKS = auto()
    """The same, after quantiles over all jobs, which are found by adding counts."""
    EPOCH = auto()
    """All jobs."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """How a function is run over shards."""

    needs: Needs
    reason: str
    """For people."""


_BY_NODE: Final = frozenset({"count", "attestation", "nym", saturn.NAME})
_WHOLE: Final = {
    "spark": "committees are made of the measurements of all stations",
    "spark-chain": "a task that two stations handed in counts once",
}


def treatment_of(function: EvaluationFunction, parameters: Parameters) -> Treatment:
    """Return how a function is run over shards."""
    shipped = FUNCTIONS.get(function.name)
    if shipped is not None and shipped.digest == function.digest:
        if function.name == saturn.NAME and wanted_ranks(parameters):
            return Treatment(Needs.RANKS, "limits are quantiles of all jobs, found by counts")
        if function.name in _BY_NODE:
            return Treatment(Needs.NODE, "every node stands alone")
        return Treatment(Needs.EPOCH, _WHOLE.get(function.name, "it may compare nodes"))
    return _own(function)


def _own(function: EvaluationFunction) -> Treatment:
    try:
        bundle = Bundle.decode(function.bundle)
    except InvalidInput:
        return Treatment(Needs.EPOCH, "its bundle cannot be looked into")
    if bundle.kind != "sql":
        return Treatment(Needs.EPOCH, "a function in Python may compare nodes")
    if {NODE, NODE_ID} & set(bundle.columns.values()):
        return Treatment(Needs.EPOCH, "it reads the number of a node, which is one among all")
    return Treatment(Needs.NODE, "SQL is grouped by node")
