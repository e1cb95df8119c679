"""A chain of signed entries: each names an object, its place, and the CID of the entry before it.

Two kinds of it are used: a node's stream (in the manner of Ceramic's event streams) and a publisher's advertisements (in
the manner of Pando's metadata). An entry is DAG-CBOR, a map of

    chain 32 | object 32 | owner 20 | previous 32, empty in the first | sequence u64 | signature 64

and its signature is the owner's over the EIP-712 struct of the kind. What is signed holds the predecessor's CID, so the
newest entry fixes the whole chain: nothing before it can be changed, left out or put in between.

Law: a chain does not fork. Two entries of one owner with one sequence and different CIDs are refused, and both are shown:
they prove that the owner signed twice. No clock, no network, no files here.

Sources: https://ipld.io/specs/codecs/dag-cbor/spec/, https://eips.ethereum.org/EIPS/eip-712.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from meridian.errors import InvalidInput
from meridian.primitives import dagcbor, eip712
from meridian.primitives.cid import DAG_CBOR, cid_text, digest_of
from meridian.primitives.eip712 import Domain, StructType
from meridian.primitives.hashing import DIGEST_BYTES, sha256
from meridian.primitives.ids import ZERO_ADDRESS, Address, address_text
from meridian.primitives.keys import SIGNATURE_BYTES, PrivateKey, signed_by

ENTRY_BYTES_MAX: Final = 512
ENTRIES_MAX: Final = 1_000_000
"""More entries than a chain may have; a walk that is longer is given up."""

DOMAIN: Final = Domain(0, ZERO_ADDRESS, name="Meridian stores")
"""No contract checks these: a domain of their own keeps their signatures from meaning anything on a chain."""

_NAMES: Final = ("chain", "object", "owner", "previous", "sequence", "signature")
_FIELDS: Final = (
    ("owner", "address"),
    ("chain", "bytes32"),
    ("sequence", "uint64"),
    ("previous", "bytes32"),
    ("object", "bytes32"),
)
STREAM_ENTRY: Final = StructType(
    "StreamEntry",
    _FIELDS,
)
ADVERTISEMENT: Final = StructType(
    "Advertisement",
    _FIELDS,
)


class Fork(InvalidInput):
    """One owner signed two entries for one place.

    Args:
        first: The entry that was seen first.
        second: The other.
    """

    def __init__(self, first: "Entry", second: "Entry") -> None:
        super().__init__(
            "chain",
            f"{address_text(first.owner)} signed two entries {first.sequence}:"
            f" {first.cid} and {second.cid}",
        )
        self.first, self.second = first, second


@dataclass(frozen=True, slots=True)
class ChainName:
    """Which chain: whose, of which kind, with which name."""

    kind: StructType
    owner: Address
    name: str

    @property
    def id(self) -> bytes:
        """The 32 bytes that stand for the name in entries."""
        return sha256(self.name.encode())


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry, its signature checked."""

    chain: bytes
    owner: Address
    sequence: int
    previous: bytes
    """Digest of the entry before; empty in the first."""
    object: bytes
    """Digest of what it announces."""
    signature: bytes

    def encode(self) -> bytes:
        """Return the entry's bytes."""
        return dagcbor.encode({name: getattr(self, name) for name in _NAMES})

    @property
    def digest(self) -> bytes:
        """The digest that names the entry."""
        return digest_of(self.encode())

    @property
    def cid(self) -> str:
        """The same as a CID."""
        return cid_text(self.digest, DAG_CBOR)


def sign_entry(name: ChainName, key: PrivateKey, last: Entry | None, digest: bytes) -> Entry:
    """Return the entry that follows `last` and names the object `digest`."""
    sequence = 0 if last is None else last.sequence + 1
    previous = b"" if last is None else last.digest
    signature = key.sign(_signed_digest(name, sequence, previous, digest))
    return Entry(name.id, key.address, sequence, previous, digest, signature)


def read_entry(name: ChainName, data: bytes) -> Entry:
    """Read an entry of a chain.

    Raises:
        InvalidInput: If the bytes are none of this chain's, or the owner did not sign them.
    """
    if len(data) > ENTRY_BYTES_MAX:
        raise InvalidInput("entry", f"longer than {ENTRY_BYTES_MAX} bytes")
    value: Any = dagcbor.decode(data)
    if not isinstance(value, dict) or tuple(sorted(value)) != _NAMES:
        raise InvalidInput("entry", f"a map of {', '.join(_NAMES)} is needed")
    sequence, previous = value["sequence"], value["previous"]
    sizes = {"chain": DIGEST_BYTES, "object": DIGEST_BYTES, "signature": SIGNATURE_BYTES}
    for field, size in sizes.items():
        if not isinstance(value[field], bytes) or len(value[field]) != size:
            raise InvalidInput(f"entry.{field}", f"not {size} bytes")
    if value["owner"] != name.owner or value["chain"] != name.id:
        raise InvalidInput("entry", f"not of the chain {name.name!r} of {address_text(name.owner)}")
    if not isinstance(sequence, int) or not 0 <= sequence < ENTRIES_MAX:
        raise InvalidInput("entry.sequence", f"not in 0..{ENTRIES_MAX - 1}")
    if not isinstance(previous, bytes) or len(previous) != (DIGEST_BYTES if sequence else 0):
        raise InvalidInput("entry.previous", "32 bytes, and none in the first entry")
    signed = _signed_digest(name, sequence, previous, value["object"])
    if not signed_by(signed, value["signature"], name.owner):
        raise InvalidInput("entry.signature", f"not that of {address_text(name.owner)}")
    return Entry(**value)


def pull(
    name: ChainName, head: Entry, seen: Entry | None, fetch: Callable[[bytes], bytes]
) -> list[Entry]:
    """Return the entries after `seen` up to `head`, oldest first, by walking back over the links.

    Args:
        name: The chain.
        head: Its newest entry.
        seen: The newest entry that the reader knows; None: none.
        fetch: Returns an entry's bytes by its digest.

    Raises:
        Fork: If `head` does not descend from `seen`, nor `seen` from it (as far as can be told).
        InvalidInput: If an entry is not what its link says.
    """
    if seen is not None and head.sequence <= seen.sequence:
        return _older(name, head, seen, fetch)
    floor = -1 if seen is None else seen.sequence
    found = [head]
    while found[-1].sequence > floor + 1:
        found.append(_before(name, found[-1], fetch))
    if seen is not None and found[-1].previous != seen.digest:
        raise Fork(seen, _before(name, found[-1], fetch))
    return found[::-1]


def _older(
    name: ChainName, head: Entry, seen: Entry, fetch: Callable[[bytes], bytes]
) -> list[Entry]:
    """Tell whether an older head is one that `seen` descends from; nothing is new then."""
    known = seen
    while known.sequence > head.sequence:
        known = _before(name, known, fetch)
    if known != head:
        raise Fork(known, head)
    return []


def _before(name: ChainName, entry: Entry, fetch: Callable[[bytes], bytes]) -> Entry:
    data = fetch(entry.previous)
    if digest_of(data) != entry.previous:
        raise InvalidInput("entry", f"{cid_text(entry.previous, DAG_CBOR)} is damaged")
    before = read_entry(name, data)
    if before.sequence != entry.sequence - 1:
        raise InvalidInput(
            "entry.sequence", f"{before.sequence} stands before {entry.sequence} in {entry.cid}"
        )
    return before


def _signed_digest(name: ChainName, sequence: int, previous: bytes, digest: bytes) -> bytes:
    values = (name.owner, name.id, sequence, previous or bytes(DIGEST_BYTES), digest)
    return eip712.digest(DOMAIN, name.kind.hash(*values))
