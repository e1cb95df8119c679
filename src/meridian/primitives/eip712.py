"""EIP-712 typed data, so that what is signed off chain can be checked on chain.

Every signature binds the domain (name, version, chain, contract); the structs of this system bind network and epoch
as well. Only static types and texts are needed. Source: https://eips.ethereum.org/EIPS/eip-712
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from eth_hash.auto import keccak as _keccak

from meridian.errors import InvalidInput
from meridian.primitives.hashing import DIGEST_BYTES, bulk
from meridian.primitives.ids import Address

_START: Final = b"\x19\x01"
_KERNEL_MESSAGES: Final = 8
"""The kernel takes as long for fewer."""

Value = int | bytes | str
"""An unsigned integer, the bytes of a ``bytes32``, a ``bytes24`` or an ``address``, or a ``string``."""


def keccak(data: bytes) -> bytes:
    """Return Keccak-256, the EVM's hash."""
    return bytes(_keccak(data))


@functools.cache
def _type_hash(description: str) -> bytes:
    return keccak(description.encode())


def _word(kind: str, value: Value, field: str) -> bytes:
    if kind == "bytes32" and isinstance(value, bytes) and len(value) == 32:
        return value
    if kind == "bytes24" and isinstance(value, bytes) and len(value) == 24:
        return value + bytes(8)
    if kind == "bool" and isinstance(value, int) and value in (0, 1):
        return value.to_bytes(32, "big")
    if kind == "address" and isinstance(value, bytes) and len(value) == 20:
        return bytes(12) + value
    if kind == "string" and isinstance(value, str):
        return keccak(value.encode())
    if kind.startswith("uint") and isinstance(value, int) and 0 <= value < 1 << int(kind[4:]):
        return value.to_bytes(32, "big")
    raise InvalidInput(field, f"{value!r} is not a {kind}")


@dataclass(frozen=True, slots=True)
class StructType:
    """A struct type: its name and its fields, in order."""

    name: str
    fields: tuple[tuple[str, str], ...]
    """Pairs of field name and type: ``bytes32``, ``bytes24``, ``address``, ``string`` or ``uintN``."""
    _type_hash: bytes = field(init=False, repr=False, compare=False)
    _labels: tuple[tuple[str, str], ...] = field(init=False, repr=False, compare=False)
    """The fields by the names that errors give them."""

    def __post_init__(self) -> None:
        """Prepare what every hash needs: a receipt is signed for every request."""
        labels = tuple((f"{self.name}.{name}", kind) for name, kind in self.fields)
        object.__setattr__(self, "_labels", labels)
        object.__setattr__(self, "_type_hash", _type_hash(self.description))

    @property
    def description(self) -> str:
        """The ``encodeType`` text of the specification."""
        return f"{self.name}({','.join(f'{kind} {name}' for name, kind in self.fields)})"

    def hash(self, *values: Value) -> bytes:
        """Return ``hashStruct`` of one value for each field, in order.

        Raises:
            InvalidInput: If a value does not have its field's type; the field is named.
        """
        return keccak(self.encode(*values))

    def encode(self, *values: Value) -> bytes:
        """Return what `hash` is the hash of: the type's hash and ``encodeData``.

        Raises:
            InvalidInput: If a value does not have its field's type; the field is named.
        """
        if len(values) != len(self.fields):
            raise InvalidInput(self.name, f"{len(values)} values for {len(self.fields)} fields")
        words = [
            _word(kind, value, label)
            for (label, kind), value in zip(self._labels, values, strict=True)
        ]
        return self._type_hash + b"".join(words)


_DOMAIN_TYPE = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"


@dataclass(frozen=True, slots=True)
class Domain:
    """Where a signature is valid: one contract on one chain."""

    chain_id: int
    contract: Address
    name: str = "Meridian"
    version: str = "1"

    @property
    def separator(self) -> bytes:
        """The domain separator."""
        return _separator(self)


@functools.lru_cache(maxsize=256)
def _separator(domain: Domain) -> bytes:
    words: Sequence[bytes] = (
        _type_hash(_DOMAIN_TYPE),
        keccak(domain.name.encode()),
        keccak(domain.version.encode()),
        _word("uint256", domain.chain_id, "chain_id"),
        _word("address", domain.contract, "contract"),
    )
    return keccak(b"".join(words))


def digest(domain: Domain, struct_hash: bytes) -> bytes:
    """Return the 32 bytes that are signed for a struct in a domain."""
    return keccak(_START + domain.separator + struct_hash)


def digests(domain: Domain, encoded: Sequence[bytes]) -> list[bytes]:
    """Return the `digest` of many structs of one type (`StructType.encode`) in a domain, hashed side by side."""
    start = _START + domain.separator
    return _keccak_all([start + one for one in _keccak_all(encoded)])


def _keccak_all(messages: Sequence[bytes]) -> list[bytes]:
    """Return the hashes of messages of one length."""
    kernels = bulk(len(messages)) if len(messages) >= _KERNEL_MESSAGES else None
    if kernels is None:
        return [keccak(one) for one in messages]
    rows = np.frombuffer(b"".join(messages), dtype=np.uint8).reshape(len(messages), -1)
    joined = kernels.keccak(rows).tobytes()
    return [joined[at : at + DIGEST_BYTES] for at in range(0, len(joined), DIGEST_BYTES)]
