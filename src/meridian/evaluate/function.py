"""What an evaluation function is: integer weights and one verdict for each job, from sealed jobs and nothing else.

The law: same input, same bytes out, on any machine, with any number of threads and in any order of the rows. A function
reads only its `EpochInput` and its parameters.

A function is known by the digest of its *bundle*: its name, version, engine and the source text of the modules that it
is made of. The contract holds that digest for each epoch, so a change of code is a change of what is signed. The source
is read once, at import, through `importlib.resources`. The core may do that although it reads no files: these are the
very bytes that the import statement has just read from the same package, a constant of the program and not an input.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final, Protocol

import duckdb

from meridian.errors import InvalidInput
from meridian.evaluate.jobs import Jobs
from meridian.primitives import dagcbor
from meridian.primitives.cid import digest_of
from meridian.primitives.ids import Address

OK: Final = 0
"""The verdict code of a job that counts."""

REASONS_MAX: Final = 256
"""A verdict is one byte."""

WEIGHT_END: Final = 1 << 128
"""Weights are below this: they stand as u128 in rows."""

_SHARED_SOURCES: Final = ("engine.py", "function.py", "jobs.py", "judging.py")

Parameters = Mapping[str, Any]
"""A function's own parameters: integers, booleans, text, lists and maps of these."""


@dataclass(frozen=True, slots=True)
class EpochInput:
    """All that a function may read about an epoch."""

    epoch: int
    node_ids: tuple[str, ...]
    """The committed nodes, sorted by node key."""
    node_keys: tuple[bytes, ...]
    payees: tuple[Address, ...]
    jobs: Jobs
    """The segment columns and an integer column ``node``, the index into `node_ids`; a Table is one (`meridian.evaluate.jobs`)."""
    inputs: Mapping[str, bytes]
    """Auxiliary inputs by name, as they stand under the inputs root."""


@dataclass(frozen=True, slots=True)
class SealedVerdicts:
    """What is published of the true reasons of jobs that a sealed layer may have decided (`meridian.evaluate.sealed`)."""

    roots: tuple[bytes, ...]
    """For each node, the root over the salted true reasons of its jobs."""
    counts: tuple[tuple[str, int], ...]
    """For each sealed layer in order, its name and the number of jobs that it flagged."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one evaluator computes."""

    weights: tuple[int | None, ...]
    """For each node of the input; None abstains: the node has no jobs. Missing is never zero."""
    verdicts: bytes
    """One code for each job, in table order."""
    reasons: tuple[str, ...]
    """Code -> reason; code 0 is ``ok``."""
    summary: dict[str, int]
    """``jobs``, ``nodes``, the function's own totals, and a count for each reason."""
    sealed: SealedVerdicts | None = None
    """Where a sealed layer took part; then `verdicts` are what may be known."""


class Evaluate(Protocol):
    """The call of a function; `threads` may change its speed and nothing else."""

    def __call__(
        self, epoch: EpochInput, parameters: Parameters, *, threads: int = 1
    ) -> Evaluation:
        """Evaluate an epoch.

        Raises:
            InvalidInput: If the parameters or the inputs are not acceptable, or a sum overflows.
        """
        ...


@dataclass(frozen=True, slots=True)
class EvaluationFunction:
    """A versioned, content-addressed function."""

    name: str
    version: int
    bundle: bytes
    """DAG-CBOR of name, version, engine and sources; published as an artefact."""
    evaluate: Evaluate
    check: Callable[[Parameters], object]
    """Raises `InvalidInput` for parameters that `evaluate` would refuse."""

    @property
    def digest(self) -> bytes:
        """The content address of the bundle, which the contract's schedule holds."""
        return digest_of(self.bundle)


def bundle_of(name: str, version: int, *modules: str) -> bytes:
    """Return the bundle of the shipped function in module ``functions/<name>.py``.

    The shared modules that its result depends on are part of it, and so is the version of the SQL engine. Line ends
    are normalised, as a checkout may change them.

    Args:
        name: Of the function.
        version: Of the function.
        modules: Further modules that it is made of, as paths within this package.
    """
    package = resources.files("meridian.evaluate")
    paths = (*_SHARED_SOURCES, f"functions/{name.replace('-', '_')}.py", *modules)
    sources = {
        path: package.joinpath(*path.split("/")).read_bytes().replace(b"\r\n", b"\n")
        for path in paths
    }
    engine = f"duckdb {duckdb.__version__}"
    return dagcbor.encode({"name": name, "version": version, "engine": engine, "sources": sources})


def integer_parameter(parameters: Parameters, name: str, default: int, lowest: int = 0) -> int:
    """Return an integer parameter, or its default.

    Raises:
        InvalidInput: If it is not an integer of at least `lowest` that fits in 63 bits.
    """
    value = parameters.get(name, default)
    if type(value) is not int or not lowest <= value < 1 << 63:
        raise InvalidInput(name, f"{value!r} is not an integer of at least {lowest}")
    return value


def refuse_unknown(parameters: Parameters, known: frozenset[str]) -> None:
    """Refuse parameters that a function does not have: a misspelt one must not be silently ignored.

    Raises:
        InvalidInput: Naming the first unknown parameter.
    """
    for name in sorted(parameters):
        if name not in known:
            raise InvalidInput(
                name, f"is not a parameter; known are {', '.join(sorted(known)) or 'none'}"
            )
