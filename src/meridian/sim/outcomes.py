"""What comes out of a host, for the checkers; and what it may have learnt of others' rows, and told of its own, so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from meridian.ephemera import frame as frames
from meridian.ephemera.block import Entry
from meridian.ephemera.context import Context, Kind
from meridian.ephemera.effects import Attested, Decided, Misbehaviour
from meridian.ephemera.message import Reveal, Row
from meridian.errors import InvalidInput
from meridian.sim.machine import Disk

COMMITTING = frozenset({bytes((Kind.ROW,)), bytes((Kind.REVEAL,))})
"""Kinds of frames that bring a commitment."""

TOLD = "copying: its row is told before it is revealed"
REVEALED = "copying: its row is revealed while it takes commitments"


@dataclass(slots=True)
class Outcome:
    """What came out of one host in one epoch, for the checkers."""

    decided: list[Decided] = field(default_factory=list)
    attested: list[Attested] = field(default_factory=list)
    misbehaviour: list[Misbehaviour] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    """Every different frame that left."""
    have: bytes = b""
    """The frame of the own HAVE, also if nobody but oneself needed it."""
    in_time: frozenset[Entry] | None = None
    """Commitments of others that it had heard of when it closed their phase, for the last time before it revealed."""
    revealed: bool = False
    """Whether its own row has left."""


class Hearing:
    """The commitments that a host has heard of in its present life, by number of the epoch."""

    def __init__(self) -> None:
        self._heard: dict[int, set[Entry]] = {}

    def clear(self) -> None:
        """A new life begins."""
        self._heard.clear()

    def hear(self, context: Context, frame: bytes) -> None:
        """Take a commitment in, as the core does."""
        try:
            message = frames.decode(frame, context)
        except InvalidInput:
            return
        if isinstance(message, Row | Reveal):
            said = (Kind.ROW, 0, message.digest, message.signature)
            if context.signed(message.member, *said):
                entry = (message.member, message.digest)
                self._heard.setdefault(context.epoch, set()).add(entry)

    def of(self, epoch: int) -> frozenset[Entry]:
        """What was heard in an epoch."""
        return frozenset(self._heard.get(epoch, ()))


def told_early(context: Context | None, outcome: Outcome, disk: Disk, frame: bytes) -> str | None:
    """What is wrong with a frame that leaves: it must tell nothing of the own row before the phase is closed, durably."""
    row = None if context is None else disk.get((context.epoch, "row", b""))
    if context is None or row is None:
        return None
    own = frames.decode(row.value, context)
    if not isinstance(own, Reveal) or own.opening.row_root not in frame:
        return None
    if frame[1] != Kind.REVEAL or frame[10:12] != own.member.to_bytes(2, "big"):
        return TOLD
    outcome.revealed = True
    return None if (context.epoch, "closed", b"") in disk else REVEALED
