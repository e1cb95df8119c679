"""The votes of one slot: the first statement of every member, and what they allow.

Law: the first statement of a member counts and is never replaced. Bounds: one ECHO and one VOTE per member, the payload
of the first SEND and the one that was certified.
"""

from __future__ import annotations

from collections import Counter

from meridian.ephemera.broadcast.slot import DeliveryCertificate, Kind, Slot
from meridian.ephemera.context import Context

Statement = tuple[bytes, bytes]
"""(digest 32, signature 64)."""


class Instance:
    """One slot, as one member sees it."""

    def __init__(self, slot: Slot, context: Context, now_ms: int, resend_ms: int) -> None:
        self.slot = slot
        self._context = context
        self.send: Statement | None = None
        self.payloads: dict[bytes, bytes] = {}
        self.said: dict[Kind, dict[int, Statement]] = {Kind.ECHO: {}, Kind.VOTE: {}}
        self.certificate: DeliveryCertificate | None = None
        self.refused = False
        """The channel refused the payload; it is asked again at the next resending."""
        self.resend_ms = now_ms + resend_ms
        self.backoff = 1
        self.fetch_ms: int | None = None
        self.fetch_turn = 0

    def first(self, kind: Kind, member: int) -> Statement | None:
        """What a member said first."""
        if kind is Kind.SEND:
            return self.send if member == self.slot.sender else None
        return self.said[kind].get(member)

    def record(self, kind: Kind, member: int, digest: bytes, signature: bytes) -> None:
        """Keep a verified first statement."""
        assert self.first(kind, member) is None
        if kind is Kind.SEND:
            self.send = (digest, signature)
        else:
            self.said[kind][member] = (digest, signature)

    def digest_to_vote(self) -> bytes | None:
        """What a quorum echoed, or f + 1 members voted for (amplification)."""
        for kind, least in ((Kind.ECHO, self._context.quorum), (Kind.VOTE, self._context.amplify)):
            digest, count = self._leading(kind)
            if count >= least:
                return digest
        return None

    def try_certify(self) -> bool:
        """Make the certificate from a quorum of votes; False if there is none, or one already."""
        if self.certificate is not None:
            return False
        digest, count = self._leading(Kind.VOTE)
        if count < self._context.quorum:
            return False
        votes = sorted(
            (m, sig) for m, (what, sig) in self.said[Kind.VOTE].items() if what == digest
        )
        self.certificate = DeliveryCertificate(
            self.slot, digest, tuple(votes[: self._context.quorum])
        )
        return True

    def certified_payload(self) -> bytes | None:
        """The payload of the certificate, if both are here."""
        if self.certificate is None:
            return None
        return self.payloads.get(self.certificate.digest)

    def holders(self) -> list[int]:
        """Members to fetch the certified payload from: those who echoed it first, then everybody."""
        assert self.certificate is not None
        digest = self.certificate.digest
        echoed = [m for m, (what, _) in sorted(self.said[Kind.ECHO].items()) if what == digest]
        voted = [member for member, _ in self.certificate.votes]
        return list(dict.fromkeys([*echoed, *voted, *range(self._context.n)]))

    def _leading(self, kind: Kind) -> tuple[bytes, int]:
        counts = Counter(digest for digest, _ in self.said[kind].values())
        return counts.most_common(1)[0] if counts else (b"", 0)
