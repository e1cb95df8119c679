"""The private bundles of sealed fraud layers, in a directory that only the evaluator reads."""

import stat
from collections.abc import Mapping
from pathlib import Path

from meridian.errors import InvalidInput
from meridian.evaluate.sealed_layer import PrivateLayer


def load_private_layers(directory: Path | None) -> Mapping[bytes, PrivateLayer]:
    """Return commitment -> private bundle for the files ``*.cbor`` of a directory.

    Raises:
        InvalidInput: Naming the file, if one is not a private bundle, cannot be read, or can be read by others.
    """
    bundles: dict[bytes, PrivateLayer] = {}
    if directory is None:
        return bundles
    for path in sorted(directory.glob("*.cbor")):
        try:
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                raise InvalidInput(str(path), "others may read it; its mode must be 600")
            bundle = PrivateLayer.decode(path.read_bytes())
        except OSError as error:
            raise InvalidInput(str(path), str(error)) from error
        except InvalidInput as error:
            raise InvalidInput(str(path), error.reason) from error
        bundles[bundle.public.sealed] = bundle
    return bundles
