"""Sealed layers: what the public sees of a fraud layer whose rules must not be known, and what the evaluators hold.

The public artefact is a name, a version and a commitment to the private bundle. The private bundle is the layer itself,
its parameters and a random salt of 32 bytes, which makes the commitment say nothing and seeds the salts of the reasons.
"""

from dataclasses import dataclass, field
from typing import Any, Final, Self

from meridian.errors import InvalidInput
from meridian.evaluate.layer import BUNDLE_BYTES_MAX, Layer, check_layer_name
from meridian.primitives import dagcbor
from meridian.primitives.cid import digest_of
from meridian.primitives.hashing import DIGEST_BYTES, SEALED_LAYER, tagged

SALT_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class SealedLayer:
    """The public artefact of a sealed layer."""

    name: str
    version: int
    sealed: bytes
    """Commitment to the private bundle, 32 bytes."""

    def __post_init__(self) -> None:
        check_layer_name(self.name, self.version)
        if len(self.sealed) != DIGEST_BYTES:
            raise InvalidInput("sealed", "is not a commitment of 32 bytes")

    def encode(self) -> bytes:
        """Return the artefact (DAG-CBOR)."""
        return dagcbor.encode({"name": self.name, "version": self.version, "sealed": self.sealed})

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read the artefact.

        Raises:
            InvalidInput: If it is not exactly what `encode` writes.
        """
        value = dagcbor.decode(data)
        if not isinstance(value, dict) or set(value) != {"name", "version", "sealed"}:
            raise InvalidInput("layer", "is not the public artefact of a sealed layer")
        if not isinstance(value["sealed"], bytes):
            raise InvalidInput("sealed", "is not a byte string")
        return cls(**value)

    @property
    def digest(self) -> bytes:
        """The content address of the artefact."""
        return digest_of(self.encode())


@dataclass(frozen=True, slots=True)
class PrivateLayer:
    """The private bundle: only evaluators hold it."""

    layer: Layer
    parameters: dict[str, Any]
    salt: bytes = field(repr=False)

    def __post_init__(self) -> None:
        self.layer.values(self.parameters)
        if len(self.salt) != SALT_BYTES:
            raise InvalidInput("salt", f"is not {SALT_BYTES} bytes")

    def encode(self) -> bytes:
        """Return the bundle (DAG-CBOR)."""
        return dagcbor.encode(
            {"layer": self.layer.encode(), "parameters": self.parameters, "salt": self.salt}
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a bundle.

        Raises:
            InvalidInput: If it is not exactly what `encode` writes.
        """
        if len(data) > 2 * BUNDLE_BYTES_MAX:
            raise InvalidInput("layer", f"is longer than {2 * BUNDLE_BYTES_MAX} bytes")
        value = dagcbor.decode(data)
        kinds = {"layer": bytes, "parameters": dict, "salt": bytes}
        if not isinstance(value, dict) or {n: type(v) for n, v in value.items()} != kinds:
            raise InvalidInput("layer", "is not the private bundle of a sealed layer")
        return cls(Layer.decode(value["layer"]), value["parameters"], value["salt"])

    @property
    def public(self) -> SealedLayer:
        """What may be published."""
        commitment = tagged(SEALED_LAYER, self.encode())
        return SealedLayer(self.layer.name, self.layer.version, commitment)


def is_sealed(data: bytes) -> bool:
    """Tell whether an artefact of a layer is the public one of a sealed layer."""
    value = dagcbor.decode(data)
    return isinstance(value, dict) and "sealed" in value
