"""Where each epoch stands with an evaluator, between its commitment and its publication."""

import asyncio
from dataclasses import dataclass, field

from meridian.committee.settlement import Settled
from meridian.ephemera.effects import Attested, Decided
from meridian.ephemera.epoch import EpochStatus
from meridian.errors import MeridianError
from meridian.node.chain_view import Commitment, RegisteredEvaluator
from meridian.node.evaluator.work import EpochWork
from meridian.node.process import event_line
from meridian.primitives.ids import Address, address_text
from meridian.primitives.quorum import faults_max


class Disagreement(MeridianError):
    """The chain accepted a report that does not follow from the block that we helped to decide."""


class SlashedMember(MeridianError):
    """Our stake was taken by a verdict: what we sign counts no more."""


def check_not_slashed(own: RegisteredEvaluator | None) -> None:
    """Raise `SlashedMember`, and say so on standard output, if our own stake is gone."""
    if own is not None and own.is_slashed:
        event_line("slashed", address=own.address)
        raise SlashedMember(
            f"the stake of {address_text(own.address)} was slashed: this evaluator is a member of nothing"
            " any more; the Verdict events of Disputes name the proof against it"
        )


@dataclass(slots=True)
class EpochState:
    """Where an epoch stands with us."""

    commitment: Commitment
    members: tuple[Address, ...] = ()
    """Once they are known to us."""
    is_outside: bool = False
    """We are not a member."""
    work: EpochWork | None = None
    decided: Decided | None = None
    is_open: bool = False
    opened_at_s: float = 0.0
    settled: Settled | None = None
    """The accepted report as we reproduced it, until it is published."""
    published: bool = False
    attested_at_s: float | None = None
    """When a report of the epoch was attested first, on the loop's clock."""
    missed_since_s: float | None = None
    """Since when artefacts of the epoch cannot be fetched, on the loop's clock."""
    own_missed_since_s: float | None = None
    """The same of the segment of a node that committed itself."""
    barred: str | None = None
    """Why the contract refuses the epoch's report, if it does for good."""
    wrong: str | None = None
    """Why we sign no report of what was decided: the contracts can prove it wrong."""
    attested: dict[bytes, Attested] = field(default_factory=dict)
    """Report digest -> signatures."""
    signed: set[bytes] = field(default_factory=set)
    transmissions: dict[bytes, asyncio.Task[None]] = field(default_factory=dict)

    def forget_work(self) -> None:
        """The epoch is published: what is large is not needed any more."""
        self.work = self.decided = self.settled = None

    def miss_own(self, now_s: float) -> None:
        """The segment of a node that committed itself cannot be fetched."""
        if self.own_missed_since_s is None:
            self.own_missed_since_s = now_s

    def gives_up_own(self, now_s: float, wait_s: float) -> bool:
        """Whether we have looked for such a segment for `wait_s` seconds."""
        missed_s = 0.0 if self.own_missed_since_s is None else now_s - self.own_missed_since_s
        return missed_s >= wait_s

    @property
    def is_ready(self) -> bool:
        """Whether we have a row to give and the epoch's report is still to come."""
        return self.work is not None and not self.published and self.barred is None


def waiting_for(state: EpochState, status: EpochStatus, ours: Address) -> dict[str, object]:
    """Return what an undecided epoch waits for, for people."""
    assert state.work is not None, "only worked epochs are opened undecided"
    members = state.work.terms.members
    heard = {*status.heard, members.index(ours)}
    silent = [i for i in range(len(members)) if i not in heard]
    return {
        "phase": status.phase,
        "view": status.view,
        "rows": len(members) - len(silent),
        "needed": len(members) - faults_max(len(members)),
        "silent": ["0x" + members[i].hex() for i in silent],
    }
