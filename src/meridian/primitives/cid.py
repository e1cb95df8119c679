"""Content identifiers: CIDv1 with SHA-256 in base32, the names under which artefacts are published.

Source: https://github.com/multiformats/cid. Inside our own formats only the 32-byte digest is stored.
"""

import base64
from typing import Final

from meridian.errors import InvalidInput
from meridian.primitives.hashing import DIGEST_BYTES, sha256

RAW: Final = 0x55
DAG_CBOR: Final = 0x71

_SHA2_256: Final = b"\x12\x20"


def digest_of(data: bytes) -> bytes:
    """Return the 32-byte digest that names `data`."""
    return sha256(data)


def cid_text(digest: bytes, codec: int = RAW) -> str:
    """Return the CIDv1 of a digest in base32, lower case, without padding."""
    if len(digest) != DIGEST_BYTES:
        raise InvalidInput("digest", f"{len(digest)} bytes where {DIGEST_BYTES} are needed")
    binary = bytes((1, codec)) + _SHA2_256 + digest
    return "b" + base64.b32encode(binary).decode().lower().rstrip("=")


def parse_cid(text: str) -> tuple[int, bytes]:
    """Read a CIDv1 that `cid_text` wrote.

    Returns:
        The codec and the 32-byte digest.

    Raises:
        InvalidInput: If it is anything else, another spelling of the same CID included.
    """
    try:
        binary = base64.b32decode(text[1:].upper() + "=" * (-(len(text) - 1) % 8))
    except ValueError:
        raise InvalidInput("cid", f"{text!r} is not base32") from None
    if len(binary) != 4 + DIGEST_BYTES or binary[0] != 1 or binary[2:4] != _SHA2_256:
        raise InvalidInput("cid", f"{text!r} is not a CIDv1 with SHA-256")
    codec, digest = binary[1], binary[4:]
    if cid_text(digest, codec) != text:
        raise InvalidInput("cid", f"{text!r} is not written in the canonical form")
    return codec, digest
