"""Signatures of a world: real secp256k1 in some seeds, modelled in the rest.

A modelled signature is the signer's address and a keyed hash over address and digest. Nobody in a world knows
the key of the hash, so a signature exists only if its owner made it: what real ones promise, at a hundredth of
their price. Frames keep their bytes, and the core is the same: only `keys.recover` is exchanged.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from meridian.ephemera import frame as frames
from meridian.ephemera.context import Context
from meridian.ephemera.message import Message
from meridian.errors import InvalidInput
from meridian.primitives import keys
from meridian.primitives.ids import Address
from meridian.primitives.keys import SIGNATURE_BYTES, PrivateKey

ADDRESS_BYTES = 20

_MODEL_KEY = b"known to nobody inside of a world"


class ModelKey(PrivateKey):
    """A key with a real address, whose signatures only `recover_modelled` accepts."""

    __slots__ = ()

    def sign(self, digest: bytes) -> bytes:
        """Return 64 bytes over a 32-byte digest."""
        if len(digest) != 32:
            raise InvalidInput("digest", f"{len(digest)} bytes where 32 are needed")
        return self.address + _proof(self.address, digest)


@functools.cache
def key_of(number: int, *, modelled: bool) -> PrivateKey:
    """The key of a participant of every world."""
    return (ModelKey if modelled else PrivateKey)((1 + number).to_bytes(32, "big"))


def recover_modelled(digest: bytes, signature: bytes) -> Address:
    """Return who signed `digest`; raises InvalidInput if nobody did."""
    address = Address(signature[:ADDRESS_BYTES]) if len(signature) == SIGNATURE_BYTES else None
    if address is None or not hmac.compare_digest(
        signature[ADDRESS_BYTES:], _proof(address, digest)
    ):
        raise InvalidInput("signature", "it belongs to no key")
    return address


@contextmanager
def modelled() -> Iterator[None]:
    """Run worlds with `ModelKey`: the core recovers modelled signatures and parses a frame only once."""
    exchanged = [
        (keys, "recover", recover_modelled),
        (frames, "decode", _once(frames.decode)),
        (frames, "epoch_of", functools.lru_cache(maxsize=4096)(frames.epoch_of)),
    ]
    originals = [getattr(module, name) for module, name, _ in exchanged]
    for module, name, model in exchanged:
        setattr(module, name, model)
    try:
        yield
    finally:
        for (module, name, _), original in zip(exchanged, originals, strict=True):
            setattr(module, name, original)


def _once(decode: Callable[[bytes, Context], Message]) -> Callable[[bytes, Context], Message]:
    """Every receiver of a broadcast parses the same bytes to the same immutable message."""
    known: dict[tuple[bytes, bytes], Message | InvalidInput] = {}

    def decode_once(frame: bytes, context: Context) -> Message:
        found = known.get((frame, context.digest))
        if found is None:
            try:
                found = decode(frame, context)
            except InvalidInput as refusal:
                found = refusal
            known[frame, context.digest] = found
        if isinstance(found, InvalidInput):
            raise InvalidInput(found.field, found.reason)
        return found

    return decode_once


def _proof(address: Address, digest: bytes) -> bytes:
    size = SIGNATURE_BYTES - ADDRESS_BYTES
    return hashlib.blake2b(address + digest, key=_MODEL_KEY, digest_size=size).digest()
