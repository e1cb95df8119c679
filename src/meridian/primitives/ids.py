"""Identifiers and their text forms.

A node is known by its text id (the seed's ``peer_id``); in trees and contracts stands its key, the SHA-256 of that
text, so that ids of any length sort and fit in 32 bytes. Accounts are 20-byte EVM addresses, written in lower case:
the real balances in which 59 addresses occur twice in different letter case (see ``spark_balances``) are the reason.
"""

import hashlib
import re
from typing import NewType

from meridian.errors import InvalidInput

Address = NewType("Address", bytes)
"""A 20-byte EVM account."""

NodeKey = NewType("NodeKey", bytes)
"""SHA-256 of a node's text id, 32 bytes."""

ZERO_ADDRESS = Address(bytes(20))

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


def node_key(node_id: str) -> NodeKey:
    """Return the 32-byte key under which a node stands in trees and contracts."""
    return NodeKey(hashlib.sha256(node_id.encode()).digest())


def job_key(job_id: str) -> bytes:
    """Return the 32-byte sort key of a job inside its node's tree."""
    return hashlib.sha256(job_id.encode()).digest()


def network_id(name: str) -> bytes:
    """Return the 32 bytes that every signature of the network `name` binds."""
    return hashlib.sha256(b"meridian/network/1:" + name.encode()).digest()


def address_text(address: Address) -> str:
    """Return the one text form of an address: ``0x`` and 40 lower-case hex digits."""
    return "0x" + address.hex()


def parse_address(text: str, field: str = "address") -> Address:
    """Read an address in any letter case.

    Raises:
        InvalidInput: If the text is not ``0x`` and 40 hex digits.
    """
    if not _ADDRESS.fullmatch(text):
        raise InvalidInput(field, f"{text!r} is not 0x followed by 40 hex digits")
    return Address(bytes.fromhex(text[2:]))


def parse_digest(text: str, field: str = "digest") -> bytes:
    """Read 32 bytes of hex, with or without ``0x``.

    Raises:
        InvalidInput: If the text is anything else.
    """
    digits = text.removeprefix("0x")
    if not re.fullmatch(r"[0-9a-fA-F]{64}", digits):
        raise InvalidInput(field, f"{text!r} is not 64 hex digits")
    return bytes.fromhex(digits)
