"""An accusation: which contract is called with what, and what it says in words."""

from dataclasses import dataclass

from meridian.primitives.ids import Address

CommitmentWords = tuple[int, Address, bytes, int, bytes, bytes]


@dataclass(frozen=True, slots=True)
class Commitment:
    """A commitment as the event ``Committed`` tells it; the contracts know it by all of its fields."""

    epoch: int
    aggregator: Address
    root: bytes
    n_nodes: int
    annotation: bytes
    """Count and sums of the whole epoch, 24 bytes."""
    manifest: bytes

    @property
    def words(self) -> CommitmentWords:
        """The fields as the contracts take them."""
        return (
            self.epoch,
            self.aggregator,
            self.root,
            self.n_nodes,
            self.annotation,
            self.manifest,
        )


@dataclass(frozen=True, slots=True)
class Accusation:
    """A proof, or a challenge, ready to be sent."""

    contract: str
    """``CommitmentProofs``, ``ReportProofs`` or ``Disputes``."""
    function: str
    arguments: tuple[object, ...]
    """In the order of the ABI."""
    epoch: int
    """The epoch that it is about; 0 for statements that belong to none."""
    guilty: tuple[Address, ...]
    reason: str
    """One sentence for people."""

    @property
    def takes_bond(self) -> bool:
        """Whether the call locks the bond of `Disputes`."""
        return self.contract == "Disputes" and self.function in {"challenge", "escalate"}
