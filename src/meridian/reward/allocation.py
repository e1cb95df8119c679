"""A budget split by integer weights: money is split once, here, and never from proportions.

Two rules. `largest_remainder` pays out the whole budget as soon as any weight is positive. `floor` pays each node
``budget * weight // sum``, as Rocket Pool does; what is left over is dust and stays in the pool, visible.
"""

from collections.abc import Callable, Sequence
from typing import Final

from meridian.errors import InvalidInput
from meridian.primitives import amounts


def _check(weights: Sequence[int], budget: int) -> None:
    if budget < 0:
        raise InvalidInput("budget", f"{budget} is negative")
    if any(weight < 0 for weight in weights):
        raise InvalidInput("weights", "a weight is negative")


def largest_remainder(weights: Sequence[int], budget: int) -> list[int]:
    """Split the whole budget; units left over by the floors go to the largest remainders.

    Args:
        weights: In ascending order of node keys, because equal remainders are served in this order.
        budget: Atto.

    Returns:
        Atto for each weight; their sum is the budget, or 0 where no weight is positive.
    """
    _check(weights, budget)
    return amounts.largest_remainder(weights, budget)


def floor(weights: Sequence[int], budget: int) -> list[int]:
    """Give each node the floor of its exact share; the rest stays in the pool.

    Returns:
        Atto for each weight.
    """
    _check(weights, budget)
    whole = sum(weights)
    return [budget * weight // whole if whole else 0 for weight in weights]


ALLOCATIONS: Final[dict[str, Callable[[Sequence[int], int], list[int]]]] = {
    "largest_remainder": largest_remainder,
    "floor": floor,
}
"""By the names that the parameters artefact uses."""
