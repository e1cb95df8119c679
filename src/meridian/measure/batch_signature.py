"""A batch signed by the node whose jobs it holds: who sends without a gateway's token shows that it is the node.

Law: the signature binds network, node, batch (and with it seed and body) and the time of sending, in the domain of the
contract `Commitments`. Its signer must be the node's registered operator; whether it is, and whether the time is near
enough, the service decides. A signed batch needs a seed of the sender's own, or its name could not be signed.

It travels in three headers: ``Meridian-Node`` (the node's text id, percent-encoded as RFC 3986 has it),
``Meridian-Sent-At`` (microseconds since the Unix epoch) and ``Meridian-Signature`` (64 bytes of hex, see `keys`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from meridian.errors import InvalidInput
from meridian.measure.columns import ID_BYTES_MAX
from meridian.primitives import eip712
from meridian.primitives.eip712 import Domain, StructType
from meridian.primitives.hashing import sha256, sha256_rows
from meridian.primitives.ids import Address, node_key
from meridian.primitives.keys import SIGNATURE_BYTES, PrivateKey, signed_by

JOB_BATCH: Final = StructType(
    "JobBatch",
    (
        ("network", "bytes32"),
        ("nodeKey", "bytes32"),
        ("batch", "bytes32"),
        ("sentAtUs", "uint64"),
    ),
)

PIECE_BYTES: Final = 4096
"""Of a body, hashed by itself."""

SEED_HEADER: Final = "Meridian-Batch-Seed"
NODE_HEADER: Final = "Meridian-Node"
SENT_AT_HEADER: Final = "Meridian-Sent-At"
SIGNATURE_HEADER: Final = "Meridian-Signature"

_UNRESERVED: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
)
_ENCODED: Final = re.compile(rb"%([0-9a-fA-F]{2})")
_INSTANT: Final = re.compile(r"[0-9]{1,18}")
_SIGNATURE: Final = re.compile(rf"(0x)?[0-9a-fA-F]{{{2 * SIGNATURE_BYTES}}}")


def body_digest(body: bytes) -> bytes:
    """Return the digest of a body: SHA-256 over the SHA-256 of each of its pieces, the last of which may be shorter.

    Pieces are hashed side by side (`hashing.sha256_rows`), at three times the speed of one message; how many there are
    and how long the last one is follows from what is hashed, so that no two bodies share a digest.
    """
    if 0 < len(body) <= PIECE_BYTES:
        return sha256(sha256(body))
    whole = len(body) // PIECE_BYTES
    pieces = np.frombuffer(body, dtype=np.uint8, count=whole * PIECE_BYTES)
    digests = sha256_rows(pieces.reshape(whole, PIECE_BYTES)).tobytes()
    rest = body[whole * PIECE_BYTES :]
    return sha256(digests, sha256(rest)) if rest else sha256(digests)


def batch_name(seed: bytes, body: bytes) -> bytes:
    """Return the name of a batch; the body is decompressed, not otherwise changed."""
    return name_of_digest(seed, body_digest(body))


def name_of_digest(seed: bytes, digest: bytes) -> bytes:
    """Return the name of a batch whose body has this digest: SHA-256 of seed and digest."""
    return sha256(seed, digest)


@dataclass(frozen=True, slots=True)
class BatchSignature:
    """Who says that it sent a batch, and when."""

    node_id: str
    sent_at_us: int
    """Microseconds since the Unix epoch, by the sender's clock."""
    signature: bytes

    @classmethod
    def sign(
        cls,
        *,
        network: bytes,
        node_id: str,
        batch: bytes,
        sent_at_us: int,
        domain: Domain,
        key: PrivateKey,
    ) -> "BatchSignature":
        """Sign a batch.

        Args:
            network: The network id.
            node_id: The node of all records in the batch.
            batch: The batch's name (`batch_name`).
            sent_at_us: Now, microseconds since the Unix epoch.
            domain: That of the contract `Commitments`.
            key: The node's registered operator.
        """
        digest = _digest(network, node_id, batch, sent_at_us, domain)
        return cls(node_id, sent_at_us, key.sign(digest))

    def holds(self, *, network: bytes, batch: bytes, domain: Domain, operator: Address) -> bool:
        """Tell whether `operator` signed this batch as this node at this time."""
        digest = _digest(network, self.node_id, batch, self.sent_at_us, domain)
        return signed_by(digest, self.signature, operator)

    def headers(self) -> dict[str, str]:
        """Return the headers of the request; the seed's is not among them."""
        return {
            NODE_HEADER: _percent_encode(self.node_id),
            SENT_AT_HEADER: str(self.sent_at_us),
            SIGNATURE_HEADER: self.signature.hex(),
        }

    @classmethod
    def read(cls, headers: Mapping[str, str]) -> "BatchSignature | None":
        """Read the headers of a request, whose names the mapping finds in any case; None if it has no signature.

        Raises:
            InvalidInput: If one of the three is missing or malformed; the header is named.
        """
        texts = {
            name: headers.get(name, "") for name in (NODE_HEADER, SENT_AT_HEADER, SIGNATURE_HEADER)
        }
        if not any(texts.values()):
            return None
        node_id = _percent_decode(texts[NODE_HEADER])
        if not 1 <= len(node_id.encode()) <= ID_BYTES_MAX:
            raise InvalidInput(
                NODE_HEADER, f"a node id of 1..{ID_BYTES_MAX} bytes, percent-encoded, is needed"
            )
        if not _INSTANT.fullmatch(texts[SENT_AT_HEADER]):
            raise InvalidInput(SENT_AT_HEADER, "microseconds since the Unix epoch are needed")
        if not _SIGNATURE.fullmatch(texts[SIGNATURE_HEADER]):
            raise InvalidInput(SIGNATURE_HEADER, f"{SIGNATURE_BYTES} bytes of hex are needed")
        signature = bytes.fromhex(texts[SIGNATURE_HEADER].removeprefix("0x"))
        return cls(node_id, int(texts[SENT_AT_HEADER]), signature)


def _digest(network: bytes, node_id: str, batch: bytes, sent_at_us: int, domain: Domain) -> bytes:
    statement = JOB_BATCH.hash(network, node_key(node_id), batch, sent_at_us)
    return eip712.digest(domain, statement)


def _percent_encode(text: str) -> str:
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in text.encode())


def _percent_decode(text: str) -> str:
    """Return the text that was encoded, "" if it is none."""
    try:
        plain = _ENCODED.sub(lambda found: bytes.fromhex(found[1].decode()), text.encode())
        return plain.decode()
    except UnicodeError:
        return ""
