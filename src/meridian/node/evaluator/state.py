"""Where each epoch stands with an evaluator, between its commitment and its publication."""

import asyncio
from dataclasses import dataclass, field

from meridian.committee.settlement import Settled
from meridian.ephemera.effects import Attested, Decided
from meridian.errors import MeridianError
from meridian.node.chain_view import Commitment
from meridian.node.evaluator.work import EpochWork


class Disagreement(MeridianError):
    """The chain accepted a report that does not follow from the block that we helped to decide."""


@dataclass(slots=True)
class EpochState:
    """Where an epoch stands with us."""

    commitment: Commitment
    work: EpochWork | None = None
    decided: Decided | None = None
    is_open: bool = False
    opened_at_s: float = 0.0
    settled: Settled | None = None
    """The accepted report as we reproduced it, until it is published."""
    published: bool = False
    attested: dict[bytes, Attested] = field(default_factory=dict)
    """Report digest -> signatures."""
    signed: set[bytes] = field(default_factory=set)
    transmissions: dict[bytes, asyncio.Task[None]] = field(default_factory=dict)
