"""The fraud layers of this version, by name and by digest, and any other layer from its published bytes.

The definitions are read from the package once, when they are first asked for: a constant of the program, as in
`meridian.evaluate.function`.
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from meridian.errors import InvalidInput, NotFound
from meridian.evaluate.flagging import ActiveLayer
from meridian.evaluate.layer import Layer
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


def active_layers(
    uses: Sequence[Mapping[str, Any]], fetch: Callable[[bytes], bytes]
) -> tuple[ActiveLayer, ...]:
    """Return the layers that the parameters artefact names, ready to run.

    Args:
        uses: Its key ``layers``.
        fetch: Digest -> the published bytes, for layers that do not ship.

    Raises:
        InvalidInput: If fetched bytes are not those of the digest, are no layer, or parameters do not suit it.
    """
    active = []
    for use in uses:
        layer = _by_digest().get(use["layer"])
        if layer is None:
            data = fetch(use["layer"])
            if digest_of(data) != use["layer"]:
                raise InvalidInput("layers", f"the bytes do not hash to {use['layer'].hex()}")
            layer = Layer.decode(data)
        active.append(ActiveLayer(layer, layer.values(use["parameters"])))
    return tuple(active)
