"""A complaint as it is sent: signed by whoever answers for a node, checked before anything is asked of chain or disk."""

import unicodedata
from dataclasses import dataclass
from typing import Final, Self

import msgspec

from meridian.contracts.statements import Complaint
from meridian.errors import InvalidInput
from meridian.node.network_file import NetworkFile
from meridian.node.strict_json import read_json
from meridian.primitives.ids import Address, NodeKey, node_key, parse_digest
from meridian.primitives.keys import SIGNATURE_BYTES, PrivateKey, recover

BODY_BYTES_MAX: Final = 16 << 10
TEXT_BYTES_MAX: Final = 2_000
NODE_ID_BYTES_MAX: Final = 256
_EPOCH_MAX: Final = 1 << 53
"""JavaScript's largest exact integer; SQLite holds more."""
_PARITY_BIT: Final = 1 << 255
_WALLET_BYTES: Final = 65


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    network: str
    nodeKey: str  # noqa: N815 - the names of the signed struct
    nodeId: str  # noqa: N815
    epoch: int
    text: str
    atS: int  # noqa: N815
    signature: str


@dataclass(frozen=True, slots=True)
class ComplaintRequest:
    """A complaint, well-formed and signed by `signer`; whether that one may speak for the node is not checked yet."""

    complaint: Complaint
    node_id: str
    signer: Address
    signature: bytes
    """64 bytes (EIP-2098)."""
    id: bytes

    @classmethod
    def read(cls, body: bytes, network: NetworkFile) -> Self:
        """Read the body of a request.

        Raises:
            InvalidInput: If it is not a complaint for this network with a signature; the field is named.
        """
        given = read_json(body, _Body)
        if parse_digest(given.network, "network") != network.network_id:
            raise InvalidInput("network", f"is not that of {network.network}")
        if not 0 < len(given.nodeId.encode()) <= NODE_ID_BYTES_MAX:
            raise InvalidInput("nodeId", f"1 to {NODE_ID_BYTES_MAX} bytes are accepted")
        if parse_digest(given.nodeKey, "nodeKey") != node_key(given.nodeId):
            raise InvalidInput("nodeKey", "is not the SHA-256 of nodeId")
        for field, number in (("epoch", given.epoch), ("atS", given.atS)):
            if not 0 <= number < _EPOCH_MAX:
                raise InvalidInput(field, "is out of range")
        check_text(given.text)
        key = NodeKey(parse_digest(given.nodeKey, "nodeKey"))
        complaint = Complaint(network.network_id, key, given.epoch, given.text, given.atS)
        signature = compact_signature(given.signature)
        digest = complaint.digest(network.domain(network.contracts.commitments))
        return cls(complaint, given.nodeId, recover(digest, signature), signature, digest)

    @classmethod
    def sign(
        cls, network: NetworkFile, node_id: str, epoch: int, text: str, at_s: int, key: PrivateKey
    ) -> Self:
        """Make a complaint and sign it."""
        check_text(text)
        complaint = Complaint(network.network_id, node_key(node_id), epoch, text, at_s)
        digest = complaint.digest(network.domain(network.contracts.commitments))
        return cls(complaint, node_id, key.address, key.sign(digest), digest)

    def encode(self) -> bytes:
        """Return the body of the request that files it."""
        one = self.complaint
        return msgspec.json.encode(
            _Body(
                "0x" + one.network.hex(),
                "0x" + one.node_key.hex(),
                self.node_id,
                one.epoch,
                one.text,
                one.at_s,
                "0x" + self.signature.hex(),
            )
        )


def check_text(text: str) -> None:
    """Require a text that can be shown: not empty, not long, no control characters but the end of a line.

    Raises:
        InvalidInput: If it is not; the field is ``text``.
    """
    if not text.strip() or len(text.encode(errors="replace")) > TEXT_BYTES_MAX:
        raise InvalidInput("text", f"1 to {TEXT_BYTES_MAX} bytes are accepted")
    hidden = [
        one for one in text if unicodedata.category(one) in {"Cc", "Cs", "Cf"} and one != "\n"
    ]
    if hidden:
        raise InvalidInput("text", f"holds the control character U+{ord(hidden[0]):04X}")


def compact_signature(text: str) -> bytes:
    """Return the 64 bytes of a signature that a wallet (65 bytes: r, s, v) or one of our keys (64) made.

    Raises:
        InvalidInput: If it is neither.
    """
    try:
        raw = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raw = b""
    if len(raw) == SIGNATURE_BYTES:
        return raw
    if len(raw) != _WALLET_BYTES or raw[64] not in {0, 1, 27, 28} or raw[32] & 0x80:
        raise InvalidInput("signature", "is not 64 bytes (EIP-2098) or 65 bytes (r, s, v)")
    s = int.from_bytes(raw[32:64], "big") | (_PARITY_BIT if raw[64] in {1, 28} else 0)
    return raw[:32] + s.to_bytes(32, "big")
