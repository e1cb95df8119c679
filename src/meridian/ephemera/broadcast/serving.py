"""Answers to members that lack something: certificates and payloads, within a rate.

Law: whatever is sent proves itself or is checked against a digest, so nothing here needs a signature, and an observer
may answer too. Bounds per second and member: `ANSWERS_MAX` answers to a FRONTIER, `HELPS_MAX` certificates to a lagging
voter, `SERVED_BYTES_MAX` of payloads.
"""

from __future__ import annotations

from collections.abc import Mapping

from meridian.ephemera.broadcast.archive import Archive
from meridian.ephemera.broadcast.channel import Pace
from meridian.ephemera.broadcast.frame import Certified, Fetch, Payload
from meridian.ephemera.broadcast.seat import BroadcastSeat
from meridian.ephemera.broadcast.slot import Slot
from meridian.errors import InvalidInput

CERTIFICATES_MAX = 64
"""Certificates in answer to one FRONTIER."""

ANSWERS_MAX = 32
HELPS_MAX = 16
SERVED_BYTES_MAX = 64 << 20
SECOND_MS = 1_000


class Serving:
    """What one member gives to the others."""

    def __init__(self, seat: BroadcastSeat, archive: Archive, pace: Pace) -> None:
        self._seat = seat
        self._archive = archive
        self._pace = pace
        self._spent: dict[tuple[int, str], tuple[int, int]] = {}

    def payload(self, member: int, fetch: Fetch, held: bytes | None, now_ms: int) -> None:
        """Send a payload that is held or was delivered; nothing if it is not here.

        Raises:
            InvalidInput: The member asks for too much at once.
        """
        if held is None:
            delivered = self._archive.delivery(self._seat.context.epoch, fetch.slot)
            if delivered is None or delivered[1].digest != fetch.digest:
                return
            held = delivered[0]
        if not self._spend(member, "bytes", len(held), SERVED_BYTES_MAX, now_ms):
            raise InvalidInput("rate", "too many bytes asked for in one second")
        self._seat.send(member, Payload(fetch.slot, fetch.digest, held), bulk=True)

    def certificate(self, member: int, slot: Slot, now_ms: int) -> None:
        """Send the certificate of a slot that is delivered here to a member that still votes in it."""
        delivered = self._archive.delivery(self._seat.context.epoch, slot)
        if delivered is not None and self._spend(member, "helps", 1, HELPS_MAX, now_ms):
            self._seat.send(member, Certified(delivered[1]))

    def certificates(
        self,
        member: int,
        theirs: Mapping[tuple[int, int], int],
        ours: Mapping[tuple[int, int], int],
        now_ms: int,
    ) -> None:
        """Send the next certificates of every channel and sender in which a member is behind."""
        behind = any(number > theirs.get(chain, 0) for chain, number in ours.items())
        if not behind or not self._spend(member, "answers", 1, ANSWERS_MAX, now_ms):
            return
        sent = 0
        for (channel, sender), number in sorted(ours.items()):
            first = theirs.get((channel, sender), 0) + 1
            last = min(number, first + self._pace.slots_ahead_max - 1)
            for missing in range(first, last + 1):
                if sent >= CERTIFICATES_MAX:
                    return
                slot = Slot(channel, sender, missing)
                delivered = self._archive.delivery(self._seat.context.epoch, slot)
                if delivered is not None:
                    self._seat.send(member, Certified(delivered[1]))
                    sent += 1

    def _spend(self, member: int, what: str, amount: int, most: int, now_ms: int) -> bool:
        since_ms, spent = self._spent.get((member, what), (now_ms, 0))
        if now_ms - since_ms >= SECOND_MS:
            since_ms, spent = now_ms, 0
        if spent and spent + amount > most:
            return False
        self._spent[member, what] = (since_ms, spent + amount)
        return True
