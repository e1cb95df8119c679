"""Signed hints: under which host and port a member says that its links listen.

A hint decides nothing about membership: it only says where to dial, and whoever answers there must still
prove the link key that is pinned for the member. It is signed by the member's own key and numbered, so
that nobody can send us to an old address again.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

from meridian.ephemera.limits import MEMBERS_MAX
from meridian.ephemera.messages.message import Realm
from meridian.errors import InvalidInput
from meridian.primitives import eip712
from meridian.primitives.eip712 import StructType
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import Address, address_text, parse_address
from meridian.primitives.keys import PrivateKey, signed_by

SEQUENCE_MAX: Final = (1 << 53) - 1

ADDRESS_HINT: Final = StructType(
    "AddressHint",
    (
        ("network", "bytes32"),
        ("member", "address"),
        ("host", "bytes32"),
        ("port", "uint16"),
        ("sequence", "uint64"),
    ),
)
"""The EIP-712 struct of a hint; `host` is the SHA-256 of its text."""

_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?|::[0-9a-fA-F:.]*")


@dataclass(frozen=True, slots=True)
class AddressHint:
    """One hint, signed."""

    member: Address
    host: str
    port: int
    sequence: int
    """Greater in every later hint; Unix milliseconds will do."""
    signature: bytes


class HintEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A hint as JSON."""

    address: str
    host: Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)]
    sequence: Annotated[int, msgspec.Meta(ge=0, le=SEQUENCE_MAX)]
    signature: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{128}$")]


class HintsDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a URL of hints answers."""

    hints: Annotated[tuple[HintEntry, ...], msgspec.Meta(max_length=MEMBERS_MAX)]


def sign_hint(realm: Realm, key: PrivateKey, *, host: str, port: int, sequence: int) -> AddressHint:
    """Return our own hint; raises InvalidInput for what is no host."""
    _check_host(host)
    draft = AddressHint(key.address, host, port, sequence, b"")
    return AddressHint(key.address, host, port, sequence, key.sign(_statement(realm, draft)))


def verify_hint(realm: Realm, hint: AddressHint) -> None:
    """Raise InvalidInput unless the member signed the hint."""
    _check_host(hint.host)
    if not signed_by(_statement(realm, hint), hint.signature, hint.member):
        raise InvalidInput("hints.signature", f"is not that of {address_text(hint.member)}")


def encode_hints(hints: Iterable[AddressHint]) -> HintsDocument:
    """Return hints in their JSON form."""
    return HintsDocument(
        hints=tuple(
            HintEntry(
                address=address_text(hint.member),
                host=hint.host,
                port=hint.port,
                sequence=hint.sequence,
                signature=hint.signature.hex(),
            )
            for hint in hints
        )
    )


def decode_hints(data: bytes, realm: Realm) -> list[AddressHint]:
    """Read and verify a document of hints.

    Raises:
        InvalidInput: If it is no such document, or one of its hints is not signed by its member.
    """
    try:
        document = msgspec.json.decode(data, type=HintsDocument)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("hints", str(error)) from error
    hints = []
    for entry in document.hints:
        member = parse_address(entry.address, "hints.address")
        signature = bytes.fromhex(entry.signature)
        hint = AddressHint(member, entry.host, entry.port, entry.sequence, signature)
        verify_hint(realm, hint)
        hints.append(hint)
    return hints


def newest(
    known: Mapping[Address, AddressHint], fresh: Iterable[AddressHint], members: frozenset[Address]
) -> dict[Address, AddressHint]:
    """Return the newest hint of each member; hints of strangers are dropped, so the result stays bounded."""
    merged = {address: hint for address, hint in known.items() if address in members}
    for hint in fresh:
        before = merged.get(hint.member)
        if hint.member in members and (before is None or hint.sequence > before.sequence):
            merged[hint.member] = hint
    return merged


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address may be dialled on a stranger's word: global unicast, also behind an IPv4-mapped form."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast


def is_private_host(host: str) -> bool:
    """Whether a host is written as an address that is not public. A name is judged when it is resolved."""
    try:
        return not is_public(ipaddress.ip_address(host))
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def _statement(realm: Realm, hint: AddressHint) -> bytes:
    host = sha256(hint.host.encode())
    struct = ADDRESS_HINT.hash(realm.network, hint.member, host, hint.port, hint.sequence)
    return eip712.digest(realm.domain, struct)


def _check_host(host: str) -> None:
    if not _HOST.fullmatch(host):
        raise InvalidInput("hints.host", f"{host!r} is no host name or address")
