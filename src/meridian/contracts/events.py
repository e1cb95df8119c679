"""Events of the contracts as plain values, their fields named as in the contracts.

Whoever follows the chain needs to know where an event stands, too: see `node.chain_view`.
"""

from dataclasses import dataclass

from meridian.primitives.ids import Address, NodeKey


@dataclass(frozen=True, slots=True)
class Committed:
    """Event of Commitments: one aggregator's commitment of one epoch."""

    epoch: int
    aggregator: Address
    root: bytes
    n_nodes: int
    annotation: bytes
    manifest: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class Voided:
    """Event of Commitments: a commitment that a verdict has voided."""

    epoch: int
    aggregator: Address
    root: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class SelfCommitted:
    """Event of Commitments: a node's commitment to its own jobs."""

    epoch: int
    node_key: bytes
    tree_hash: bytes
    annotation: bytes
    segment: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class Reported:
    """Event of Evaluations: an accepted report."""

    epoch: int
    report_hash: bytes
    transmitter: Address
    reward_root: bytes
    total: int
    """Cumulative attoFIL (or wei) of all accepted reports."""
    unlock_at: int
    previous: bytes


@dataclass(frozen=True, slots=True)
class Claimed:
    """Event of Rewards: a paid claim."""

    node_key: NodeKey
    payee: Address
    epoch: int
    """The epoch whose reward root the claim was proved against."""
    amount: int
    cumulative: int


@dataclass(frozen=True, slots=True)
class EpochOpened:
    """Event of Registry: the epoch's member set is fixed."""

    epoch: int
    set_id: int
    n: int


@dataclass(frozen=True, slots=True)
class NodeRegistered:
    """Event of Registry: a node joined and named its payee."""

    node_key: bytes
    operator: Address
    payee: Address
    stake: int
