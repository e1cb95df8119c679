"""The inputs root: one digest over the auxiliary inputs of an epoch (health checks, randomness, previous state).

Nothing else may be read by a function, and every report binds this root.
"""

from collections.abc import Mapping
from typing import Final

from meridian.errors import InvalidInput
from meridian.primitives.cid import digest_of
from meridian.primitives.codec import Writer
from meridian.primitives.hashing import INPUTS_ROOT, tagged

INPUTS_MAX: Final = 64
NAME_BYTES_MAX: Final = 64


def inputs_root(digests: Mapping[str, bytes]) -> bytes:
    """Return the root over inputs by name: SHA-256(tag, then name and digest of each, sorted by the name's UTF-8).

    Args:
        digests: Name -> the 32-byte digest of the input artefact.

    Raises:
        InvalidInput: If there are too many inputs, or a name or digest has the wrong length.
    """
    if len(digests) > INPUTS_MAX:
        raise InvalidInput("inputs", f"{len(digests)} inputs; at most {INPUTS_MAX} are allowed")
    writer = Writer()
    for name, digest in sorted((name.encode(), digest) for name, digest in digests.items()):
        if not 1 <= len(name) <= NAME_BYTES_MAX:
            raise InvalidInput("inputs", f"a name has 1..{NAME_BYTES_MAX} bytes, not {len(name)}")
        writer.blob(name).fixed(digest, 32)
    return tagged(INPUTS_ROOT, writer.bytes())


def inputs_root_of(inputs: Mapping[str, bytes]) -> bytes:
    """Return the root over inputs given as their bytes."""
    return inputs_root({name: digest_of(data) for name, data in inputs.items()})
