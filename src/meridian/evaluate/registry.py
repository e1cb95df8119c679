"""The evaluation functions that this version ships, by name and by the digest that the contract's schedule holds."""

from collections.abc import Callable
from typing import Final

from meridian.errors import InvalidInput, NotFound
from meridian.evaluate.bundle import Bundle
from meridian.evaluate.function import EvaluationFunction
from meridian.evaluate.functions import attestation, count, nym, saturn, spark, spark_chain
from meridian.evaluate.own_functions import RunPython, function_of
from meridian.primitives.cid import digest_of

FUNCTIONS: Final = {
    function.name: function
    for function in (
        count.FUNCTION,
        attestation.FUNCTION,
        saturn.FUNCTION,
        spark.FUNCTION,
        spark_chain.FUNCTION,
        nym.FUNCTION,
    )
}


def function_named(name: str) -> EvaluationFunction:
    """Return a function by name.

    Raises:
        NotFound: If none ships under that name.
    """
    if name not in FUNCTIONS:
        raise NotFound(f"no evaluation function {name!r}; known are {', '.join(sorted(FUNCTIONS))}")
    return FUNCTIONS[name]


def resolve(
    digest: bytes, fetch: Callable[[bytes], bytes], run_python: RunPython | None
) -> EvaluationFunction:
    """Return the function that a schedule names: a shipped one, or the one that the published bundle is.

    Args:
        digest: What the schedule holds.
        fetch: The published artefacts; what it returns is checked here.
        run_python: The sandbox for functions in Python; None where there is none.

    Raises:
        InvalidInput: If the published bytes do not hash to the digest, or are no function.
        NotFound: If it is not published, or needs an engine that is not here.
    """
    try:
        return function_with_digest(digest)
    except NotFound:
        pass
    data = fetch(digest)
    if digest_of(data) != digest:
        raise InvalidInput("function", f"the published bytes do not hash to {digest.hex()}")
    return function_of(Bundle.decode(data), run_python)


def function_with_digest(digest: bytes) -> EvaluationFunction:
    """Return the function whose code is exactly the one that a schedule names.

    Raises:
        NotFound: If this version does not hold that code: another version must evaluate that epoch.
    """
    for function in FUNCTIONS.values():
        if function.digest == digest:
            return function
    raise NotFound(f"no evaluation function with digest {digest.hex()} in this version")
