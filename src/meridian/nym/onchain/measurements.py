"""What is committed on chain for an epoch: the digest of every Nym-Api's signed readings, before any row is sent.

So a row can be checked against the readings behind it, and nobody can fit its readings to the rows of others. Readings
that are not in the list come too late: their Nym-Api abstains.

Log bytes: `version u16 | network 32 | epoch u64 | member 20 | count u32 | (time u64, mixnode u32, value u8)... | signature 64`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from meridian.errors import InvalidInput
from meridian.measure.commitment import committed_root
from meridian.nym.mixnodes import READING_MAX
from meridian.nym.rows import Row, average
from meridian.primitives import dagcbor, eip712
from meridian.primitives.codec import Reader, Writer
from meridian.primitives.eip712 import Domain, StructType
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey, signed_by

VERSION: Final = 1
READINGS_MAX: Final = 1 << 20

READINGS: Final = StructType(
    "NymReadings",
    (("network", "bytes32"), ("epoch", "uint64"), ("member", "address"), ("readings", "bytes32")),
)

Reading = tuple[int, int, int]
"""(Unix milliseconds, mixnode, 0..100)."""


@dataclass(frozen=True, slots=True)
class ReadingLog:
    """One Nym-Api's readings of an epoch."""

    network: bytes
    epoch: int
    member: Address
    readings: tuple[Reading, ...]
    """Strictly ascending."""
    signature: bytes = bytes(64)

    def _body(self) -> bytes:
        out = Writer().u16(VERSION).fixed(self.network, 32).u64(self.epoch).fixed(self.member, 20)
        out.u32(len(self.readings))
        for at_ms, mixnode, value in self.readings:
            out.u64(at_ms).u32(mixnode).u8(value)
        return out.bytes()

    def statement(self, domain: Domain) -> bytes:
        """Return the 32 bytes that the member signs."""
        struct = READINGS.hash(self.network, self.epoch, self.member, sha256(self._body()))
        return eip712.digest(domain, struct)

    def encode(self) -> bytes:
        """Canonical bytes."""
        return self._body() + self.signature

    @staticmethod
    def decode(data: bytes) -> "ReadingLog":
        """Read canonical bytes.

        Raises:
            InvalidInput: If they are malformed, out of order or out of range.
        """
        reader = Reader(data)
        if reader.u16() != VERSION:
            raise InvalidInput("readings.version", f"must be {VERSION}")
        network, epoch, member = reader.fixed(32), reader.u64(), Address(reader.fixed(20))
        count = reader.u32()
        if count > READINGS_MAX:
            raise InvalidInput("readings.count", f"must be at most {READINGS_MAX}")
        readings = tuple((reader.u64(), reader.u32(), reader.u8()) for _ in range(count))
        signature = reader.fixed(64)
        reader.finish()
        if any(a[:2] >= b[:2] for a, b in pairwise(readings)):
            raise InvalidInput("readings", "must be strictly ascending by time and mixnode")
        if any(value > READING_MAX for *_, value in readings):
            raise InvalidInput("readings.value", f"must be 0..{READING_MAX}")
        return ReadingLog(network, epoch, member, readings, signature)

    def check(self, domain: Domain, mixnodes: int, start_ms: int, end_ms: int) -> None:
        """Check signature, mixnodes and times.

        Raises:
            InvalidInput: If the member did not sign it, or a reading is of no mixnode or outside the epoch.
        """
        if not signed_by(self.statement(domain), self.signature, self.member):
            raise InvalidInput("readings.signature", "is not the member's")
        for at_ms, mixnode, _ in self.readings:
            if mixnode >= mixnodes:
                raise InvalidInput("readings.mixnode", f"{mixnode} is not one of {mixnodes}")
            if not start_ms <= at_ms < end_ms:
                raise InvalidInput("readings.time", f"{at_ms} is outside the epoch")

    def row(self) -> Row:
        """Return the average of every mixnode with a reading."""
        sums: dict[int, tuple[int, int]] = {}
        for _, mixnode, value in self.readings:
            total, count = sums.get(mixnode, (0, 0))
            sums[mixnode] = (total + value, count + 1)
        return average(self.epoch, ((node, *both) for node, both in sums.items()))


def sign_readings(
    domain: Domain, network: bytes, epoch: int, key: PrivateKey, readings: Sequence[Reading]
) -> ReadingLog:
    """Make the log of the key's account."""
    draft = ReadingLog(network, epoch, key.address, tuple(readings))
    signature = key.sign(draft.statement(domain))
    return ReadingLog(network, epoch, key.address, tuple(readings), signature)


@dataclass(frozen=True, slots=True)
class Measurements:
    """The list that is committed: whose readings there are, by digest."""

    network: bytes
    epoch: int
    mixnodes: int
    readings: int
    """In all logs."""
    logs: Mapping[Address, bytes]
    """Member -> SHA-256 of its log."""

    def encode(self) -> bytes:
        """Return the artefact (DAG-CBOR)."""
        return dagcbor.encode(
            {
                "v": VERSION,
                "network_id": self.network,
                "epoch": self.epoch,
                "mixnodes": self.mixnodes,
                "readings": self.readings,
                "logs": [[member, digest] for member, digest in sorted(self.logs.items())],
            }
        )

    @property
    def tree_hash(self) -> bytes:
        """What is committed in the place of a tree's hash."""
        return sha256(b"meridian/nym-measurements/1", self.encode())

    @property
    def root(self) -> bytes:
        """What stands on chain as the epoch's root."""
        return committed_root(self.epoch, self.mixnodes, self.tree_hash + self.annotation)

    @property
    def annotation(self) -> bytes:
        """What stands on chain beside the root: the number of readings, and no sums."""
        return self.readings.to_bytes(8, "big") + bytes(16)

    @staticmethod
    def decode(data: bytes) -> "Measurements":
        """Read the artefact.

        Raises:
            InvalidInput: If it is not exactly what `encode` writes.
        """
        value: Any = dagcbor.decode(data)
        try:
            logs = {Address(member): digest for member, digest in value["logs"]}
            found = Measurements(
                value["network_id"], value["epoch"], value["mixnodes"], value["readings"], logs
            )
            same = found.encode() == data
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InvalidInput("measurements", f"they lack or misuse {error}") from error
        if not same:
            raise InvalidInput("measurements", f"they are not of version {VERSION}")
        return found
