"""Evidence that travels alone: one file with the context in which it proves something.

An evidence names its context by digest only. The file carries what the digest is about, and the EIP-712 domain, so that
who holds nothing else can check it: which chain and contract, which network, epoch and members, and who of them is
guilty of what. Whether these were the members of that epoch is for the reader to compare with the chain.

Bytes: `version u16 | chain id u64 | contract 20 | network 32 | epoch u64 | members u16 | member 20 ... | evidence blob`.
"""

from __future__ import annotations

from dataclasses import dataclass

from meridian.ephemera.context import PROTOCOL_VERSION, Context
from meridian.ephemera.evidence import Guilt, verify_evidence
from meridian.ephemera.frame import EVIDENCE_BYTES_MAX
from meridian.ephemera.limits import MEMBERS_MAX
from meridian.errors import InvalidInput
from meridian.primitives.codec import Reader, Writer
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address

EVIDENCE_FILE_BYTES_MAX = 2 + 8 + 20 + 32 + 8 + 2 + 20 * MEMBERS_MAX + 4 + EVIDENCE_BYTES_MAX


@dataclass(frozen=True, slots=True)
class EvidenceFile:
    """An evidence and what it is about."""

    context: Context
    evidence: bytes

    def encode(self) -> bytes:
        """The one file of this evidence; raises InvalidInput if the domain is not the protocol's own."""
        context = self.context
        domain = context.domain
        if domain != Domain(domain.chain_id, domain.contract):
            raise InvalidInput("domain", "has another name or version than the protocol")
        out = Writer().u16(PROTOCOL_VERSION).u64(domain.chain_id).fixed(domain.contract, 20)
        out.fixed(context.network, 32).u64(context.epoch).u16(context.n)
        for member in context.members:
            out.fixed(member, 20)
        return out.blob(self.evidence).bytes()

    @classmethod
    def decode(cls, data: bytes) -> EvidenceFile:
        """Parse a file; raises InvalidInput. Checks form, not what it proves."""
        if len(data) > EVIDENCE_FILE_BYTES_MAX:
            raise InvalidInput("size", f"must be at most {EVIDENCE_FILE_BYTES_MAX} bytes")
        reader = Reader(data)
        version = reader.u16()
        if version != PROTOCOL_VERSION:
            raise InvalidInput("version", f"{version} is not {PROTOCOL_VERSION}")
        domain = Domain(reader.u64(), Address(reader.fixed(20)))
        network, epoch, n = reader.fixed(32), reader.u64(), reader.u16()
        if not 1 <= n <= MEMBERS_MAX:
            raise InvalidInput("members", f"must be 1..{MEMBERS_MAX}")
        members = tuple(Address(reader.fixed(20)) for _ in range(n))
        evidence = reader.blob(EVIDENCE_BYTES_MAX)
        reader.finish()
        return cls(Context(domain, network, epoch, members), evidence)


def verify_evidence_file(data: bytes) -> tuple[Context, Guilt]:
    """Return the context of an evidence file and who it proves guilty; raises InvalidInput if nothing is proved."""
    found = EvidenceFile.decode(data)
    return found.context, verify_evidence(found.context, found.evidence)
