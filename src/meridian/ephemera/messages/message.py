"""A signed message: who says what, under which label, for which round of the application.

The signature is an EIP-712 statement that binds domain, network, round, sender, label, time and data, so that a message
made for another chain, network or round verifies nowhere else. Its hash is the hash of the statement: a second
signature of the same sender under the same content is the same message.

Bytes: `version u16 | sender 20 | round u64 | created u64 | label blob | data blob | signature 64`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from meridian.ephemera.context import PROTOCOL_VERSION, signed_by
from meridian.errors import InvalidInput
from meridian.primitives import eip712, hashing
from meridian.primitives.codec import Reader, Writer
from meridian.primitives.eip712 import Domain, StructType
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey

LABEL_BYTES_MAX = 64
DATA_BYTES_MAX = 256 * 1024
ROUND_MAX = (1 << 63) - 1
MESSAGE_BYTES_MAX = 2 + 20 + 8 + 8 + 4 + LABEL_BYTES_MAX + 4 + DATA_BYTES_MAX + 64

MESSAGE = StructType(
    "Message",
    (
        ("network", "bytes32"),
        ("round", "uint64"),
        ("sender", "address"),
        ("created", "uint64"),
        ("label", "bytes32"),
        ("data", "bytes32"),
    ),
)
"""`label` and `data` are the SHA-256 of their bytes."""


@dataclass(frozen=True, slots=True)
class Realm:
    """Where messages are valid: one network, whose statements one contract on one chain may check."""

    domain: Domain
    network: bytes
    """32 bytes."""


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """One message. Form is checked when it is made; `verify` checks the signature."""

    sender: Address
    round: int
    """The application's own number (an epoch, a day); 0 where it has none."""
    created_ms: int
    """Unix milliseconds by the sender's clock; nothing depends on it."""
    label: str
    """At most 64 bytes of UTF-8."""
    data: bytes
    """At most 256 KiB."""
    signature: bytes = field(compare=False)

    def __post_init__(self) -> None:
        if len(self.sender) != 20:
            raise InvalidInput("sender", "must be 20 bytes")
        if not 0 <= self.round <= ROUND_MAX:
            raise InvalidInput("round", f"must be 0..{ROUND_MAX}")
        if not 0 <= self.created_ms <= ROUND_MAX:
            raise InvalidInput("created", f"must be 0..{ROUND_MAX}")
        if len(_utf8(self.label)) > LABEL_BYTES_MAX:
            raise InvalidInput("label", f"must be at most {LABEL_BYTES_MAX} bytes")
        if len(self.data) > DATA_BYTES_MAX:
            raise InvalidInput("data", f"must be at most {DATA_BYTES_MAX} bytes")
        if len(self.signature) != 64:
            raise InvalidInput("signature", "must be 64 bytes")

    def statement(self, realm: Realm) -> bytes:
        """The 32 bytes that the sender signs."""
        label, data = hashing.sha256(_utf8(self.label)), hashing.sha256(self.data)
        struct = MESSAGE.hash(realm.network, self.round, self.sender, self.created_ms, label, data)
        return eip712.digest(realm.domain, struct)

    def hash(self, realm: Realm) -> bytes:
        """SHA256(MESSAGE_LEAF | statement): the message's name, and its leaf in a block's tree."""
        return hashing.tagged(hashing.MESSAGE_LEAF, self.statement(realm))

    def verify(self, realm: Realm) -> None:
        """Raise InvalidInput unless the signature is the sender's."""
        if not signed_by(self.sender, self.statement(realm), self.signature):
            raise InvalidInput("signature", "is not the sender's for this network")

    def encode(self) -> bytes:
        """Canonical bytes."""
        out = Writer().u16(PROTOCOL_VERSION).fixed(self.sender, 20)
        out.u64(self.round).u64(self.created_ms)
        return out.blob(_utf8(self.label)).blob(self.data).fixed(self.signature, 64).bytes()

    @staticmethod
    def decode(data: bytes) -> SignedMessage:
        """Read canonical bytes; raises InvalidInput. Checks form, not the signature."""
        reader = Reader(data)
        if reader.u16() != PROTOCOL_VERSION:
            raise InvalidInput("message.version", f"must be {PROTOCOL_VERSION}")
        sender, number, created_ms = Address(reader.fixed(20)), reader.u64(), reader.u64()
        try:
            label = reader.blob(LABEL_BYTES_MAX).decode()
        except UnicodeDecodeError:
            raise InvalidInput("label", "is not UTF-8") from None
        body, signature = reader.blob(DATA_BYTES_MAX), reader.fixed(64)
        reader.finish()
        return SignedMessage(sender, number, created_ms, label, body, signature)


def sign_message(
    realm: Realm, key: PrivateKey, *, number: int, created_ms: int, label: str, data: bytes
) -> SignedMessage:
    """Make a message of the key's account for round `number`; raises InvalidInput for a bad form."""
    draft = SignedMessage(key.address, number, created_ms, label, data, bytes(64))
    signature = key.sign(draft.statement(realm))
    return SignedMessage(key.address, number, created_ms, label, data, signature)


def _utf8(label: str) -> bytes:
    try:
        return label.encode()
    except UnicodeEncodeError:
        raise InvalidInput("label", "is not valid Unicode") from None
