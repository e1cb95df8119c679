"""The report: the one statement about an epoch that a quorum of the committee signs and the contract accepts.

It binds what was measured (commitment), how it was evaluated (function, parameters, inputs), how it was agreed (block),
what came out (verdicts, rewards, total) and the report before it. The digest of its signature is its name everywhere.
"""

from dataclasses import dataclass, fields
from typing import Final

from meridian.primitives.eip712 import Domain, StructType, digest

REPORT: Final = StructType(
    "Report",
    (
        ("network", "bytes32"),
        ("epoch", "uint64"),
        ("commitment", "bytes32"),
        ("functionDigest", "bytes32"),
        ("parametersDigest", "bytes32"),
        ("inputsRoot", "bytes32"),
        ("blockHash", "bytes32"),
        ("verdictRoot", "bytes32"),
        ("rewardRoot", "bytes32"),
        ("total", "uint128"),
        ("previous", "bytes32"),
    ),
)

NO_REPORT: Final = bytes(32)
"""`previous` of the first report."""

ReportTuple = tuple[bytes, int, bytes, bytes, bytes, bytes, bytes, bytes, bytes, int, bytes]


@dataclass(frozen=True, slots=True)
class Report:
    """The values of the struct, in its order."""

    network: bytes
    epoch: int
    commitment: bytes
    function_digest: bytes
    parameters_digest: bytes
    inputs_root: bytes
    block_hash: bytes
    verdict_root: bytes
    reward_root: bytes
    total: int
    """Cumulative atto of all claims."""
    previous: bytes
    """Digest of the report accepted before, zeros for the first."""

    @property
    def values(self) -> ReportTuple:
        """The fields as the contract's ``submit`` takes them."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def digest(self, domain: Domain) -> bytes:
        """Return what the members sign; it is also the report's hash on chain.

        Args:
            domain: That of the Evaluations contract.

        Raises:
            InvalidInput: If a field does not fit its type.
        """
        return digest(domain, REPORT.hash(*self.values))
