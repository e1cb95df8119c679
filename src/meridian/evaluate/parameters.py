"""The parameters artefact: everything that an epoch's evaluation needs besides code and data.

Its digest is ``parametersDigest`` in the contract's schedule, so neither a threshold nor the kind of average nor the
rule that splits the money can change without the sponsor's schedule showing it.
"""

from dataclasses import dataclass, field
from typing import Any, Final, Self

from meridian.errors import InvalidInput
from meridian.evaluate.aggregate import aggregate_named
from meridian.evaluate.reliability import reliability_rule
from meridian.primitives import dagcbor
from meridian.primitives.cid import digest_of
from meridian.primitives.hashing import DIGEST_BYTES

ALLOCATIONS: Final = ("largest_remainder", "floor")
"""The rules of `meridian.reward.allocation`, which this layer may not import."""

LAYERS_MAX: Final = 32

_KEYS: Final = frozenset(
    {"function", "aggregate", "allocation", "schema", "reliability", "economy"}
)
_OPTIONAL: Final = frozenset({"layers"})
"""Keys that are left out where they are empty."""


@dataclass(frozen=True, slots=True)
class EvaluationParameters:
    """How an epoch is evaluated, averaged and paid."""

    function: dict[str, Any] = field(default_factory=dict)
    """The function's own parameters."""
    aggregate: str = "wmedian"
    allocation: str = "largest_remainder"
    schema: bytes = bytes(32)
    """Digest of the network's schema: what a job's fields and lanes mean is pinned on chain with the rest."""
    reliability: dict[str, Any] = field(default_factory=dict)
    """How evaluators' reliability is learnt (`reliability.ReliabilityRule`); empty: all count the same for ever."""
    economy: dict[str, Any] = field(default_factory=dict)
    """Growth pool, collateral and what is owed (`meridian.reward.economy`, which this layer may not import)."""

    layers: list[dict[str, Any]] = field(default_factory=list)
    """The fraud layers in the order in which they decide: each a map of ``layer``, a digest, and ``parameters``."""

    def __post_init__(self) -> None:
        _check_layers(self.layers)
        if not isinstance(self.function, dict):
            raise InvalidInput("function", "its parameters are not a map")
        if not isinstance(self.economy, dict):
            raise InvalidInput("economy", "is not a map")
        reliability_rule(self.reliability)
        if not isinstance(self.schema, bytes):
            raise InvalidInput("schema", "is not a byte string")
        if len(self.schema) != DIGEST_BYTES:
            raise InvalidInput("schema", "is not a digest of 32 bytes")
        aggregate_named(self.aggregate)
        if self.allocation not in ALLOCATIONS:
            raise InvalidInput(
                "allocation", f"{self.allocation!r} is not one of {', '.join(ALLOCATIONS)}"
            )

    def encode(self) -> bytes:
        """Return the artefact (DAG-CBOR)."""
        value = {name: getattr(self, name) for name in _KEYS | _OPTIONAL}
        return dagcbor.encode(
            {name: item for name, item in value.items() if item or name not in _OPTIONAL}
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read the artefact.

        Raises:
            InvalidInput: If it is not exactly what `encode` writes.
        """
        value = dagcbor.decode(data)
        if not isinstance(value, dict) or set(value) - _OPTIONAL != _KEYS:
            raise InvalidInput("parameters", f"are not a map of {', '.join(sorted(_KEYS))}")
        for name in sorted(_OPTIONAL & set(value)):
            if not value[name]:
                raise InvalidInput(name, "is empty, and so must be left out")
        return cls(**value)

    @property
    def digest(self) -> bytes:
        """The content address that the schedule holds."""
        return digest_of(self.encode())


def _check_layers(layers: Any) -> None:
    if not isinstance(layers, list) or len(layers) > LAYERS_MAX:
        raise InvalidInput("layers", f"are not a list of at most {LAYERS_MAX}")
    for use in layers:
        if not isinstance(use, dict) or set(use) != {"layer", "parameters"}:
            raise InvalidInput("layers", "one is not a map of `layer` and `parameters`")
        if not isinstance(use["layer"], bytes) or len(use["layer"]) != DIGEST_BYTES:
            raise InvalidInput("layers", "a layer is not named by a digest of 32 bytes")
        if not isinstance(use["parameters"], dict):
            raise InvalidInput("layers", "the parameters of one are not a map")
