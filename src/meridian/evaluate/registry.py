"""The evaluation functions that this version ships, by name and by the digest that the contract's schedule holds."""

from typing import Final

from meridian.errors import NotFound
from meridian.evaluate.function import EvaluationFunction
from meridian.evaluate.functions import attestation, count, saturn, spark

FUNCTIONS: Final = {
    function.name: function
    for function in (count.FUNCTION, attestation.FUNCTION, saturn.FUNCTION, spark.FUNCTION)
}


def function_named(name: str) -> EvaluationFunction:
    """Return a function by name.

    Raises:
        NotFound: If none ships under that name.
    """
    if name not in FUNCTIONS:
        raise NotFound(f"no evaluation function {name!r}; known are {', '.join(sorted(FUNCTIONS))}")
    return FUNCTIONS[name]


def function_with_digest(digest: bytes) -> EvaluationFunction:
    """Return the function whose code is exactly the one that a schedule names.

    Raises:
        NotFound: If this version does not hold that code: another version must evaluate that epoch.
    """
    for function in FUNCTIONS.values():
        if function.digest == digest:
            return function
    raise NotFound(f"no evaluation function with digest {digest.hex()} in this version")
