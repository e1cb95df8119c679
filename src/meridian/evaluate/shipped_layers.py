"""The fraud layers of this version, by name and by digest, and any other layer from its published bytes.

The definitions are read from the package once, when they are first asked for: a constant of the program, as in
`meridian.evaluate.function`.
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from meridian.errors import InvalidInput, NotFound
from meridian.evaluate.flagging import ActiveLayer
from meridian.evaluate.layer import Layer
from meridian.evaluate.sealed_layer import PrivateLayer, SealedLayer, is_sealed
from meridian.primitives.cid import digest_of


@cache
def shipped_layers() -> Mapping[str, Layer]:
    """Return the shipped layers by name."""
    layers = {}
    for entry in sorted(
        resources.files("meridian.evaluate.layers").iterdir(), key=lambda e: e.name
    ):
        if entry.name.endswith(".toml"):
            layer = layer_of_toml(entry.read_text("utf-8"))
            layers[layer.name] = layer
    return layers


def layer_of_toml(text: str) -> Layer:
    """Read a definition as people write it.

    Raises:
        InvalidInput: If it is not TOML, or not a layer.
    """
    try:
        return Layer.of(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput("layer", str(error)) from error


def layer_named(name: str) -> Layer:
    """Return a shipped layer.

    Raises:
        NotFound: If none ships under that name.
    """
    layers = shipped_layers()
    if name not in layers:
        raise NotFound(f"no fraud layer {name!r}; known are {', '.join(sorted(layers))}")
    return layers[name]


@cache
def _by_digest() -> Mapping[bytes, Layer]:
    return {layer.digest: layer for layer in shipped_layers().values()}


def resolve_layers(
    uses: Sequence[Mapping[str, Any]],
    fetch: Callable[[bytes], bytes],
    private: Mapping[bytes, PrivateLayer] = MappingProxyType({}),
) -> tuple[ActiveLayer | SealedLayer, ...]:
    """Return the layers that the parameters artefact names; a sealed one whose private bundle is not here stays sealed.

    Args:
        uses: Its key ``layers``.
        fetch: Digest -> the published bytes, for layers that do not ship.
        private: Commitment -> private bundle, of sealed layers.

    Raises:
        InvalidInput: If fetched bytes are not those of the digest, are no layer, or parameters do not suit it.
    """
    return tuple(_resolved(use, fetch, private) for use in uses)


def _resolved(
    use: Mapping[str, Any],
    fetch: Callable[[bytes], bytes],
    private: Mapping[bytes, PrivateLayer],
) -> ActiveLayer | SealedLayer:
    layer = _by_digest().get(use["layer"])
    if layer is None:
        data = fetch(use["layer"])
        if digest_of(data) != use["layer"]:
            raise InvalidInput("layers", f"the bytes do not hash to {use['layer'].hex()}")
        if is_sealed(data):
            sealed = SealedLayer.decode(data)
            if use["parameters"]:
                raise InvalidInput("layers", f"the parameters of {sealed.name!r} are in its bundle")
            found = private.get(sealed.sealed)
            return sealed if found is None else _unsealed(found)
        layer = Layer.decode(data)
    return ActiveLayer(layer, layer.values(use["parameters"]))


def _unsealed(private: PrivateLayer) -> ActiveLayer:
    return ActiveLayer(private.layer, private.layer.values(private.parameters), private.salt)


def active_layers(
    uses: Sequence[Mapping[str, Any]],
    fetch: Callable[[bytes], bytes],
    private: Mapping[bytes, PrivateLayer] = MappingProxyType({}),
) -> tuple[ActiveLayer, ...]:
    """Return the layers that the parameters artefact names, ready to run; see `resolve_layers`.

    Raises:
        InvalidInput: As `resolve_layers`.
        NotFound: If one is sealed and its private bundle is not here.
    """
    active = []
    for layer in resolve_layers(uses, fetch, private):
        if isinstance(layer, SealedLayer):
            raise NotFound(f"the private bundle of the sealed layer {layer.name!r} is not here")
        active.append(layer)
    return tuple(active)
