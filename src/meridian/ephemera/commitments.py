"""Step S0, first half: who has committed itself to a row, until when that counts, and what was revealed.

The phase of commitments closes for a member when it holds all n, or n - f of them and `row_ms` went by. Only then it
reveals its own row: at once if all have committed themselves, for nobody can copy any more; else `reveal_ms` later, so
that others have closed too. Law: what a member saw first after its phase closed is late for ever; the phase is durable
before the row is revealed, so a restart does not open it again.

Bounds: two signed versions per member and those that f + 1 HAVEs list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from meridian.ephemera import journal
from meridian.ephemera.block import Entry, SignedRow
from meridian.ephemera.context import Kind
from meridian.ephemera.ledger import Finding
from meridian.ephemera.message import Reveal, Row
from meridian.ephemera.opening import Opening, commitment_of
from meridian.ephemera.seat import Seat

ROW_VERSIONS_MAX = 2
"""Signed rows kept per member besides required ones: enough for evidence and for an honest member."""


class Commitments:
    """Signed commitments and their openings in one epoch."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._signed: dict[Entry, bytes] = {}
        self._versions: dict[int, list[bytes]] = {}
        self._in_time: frozenset[Entry] | None = None
        self._close_ms: int | None = None
        self._reveal_ms: int | None = None
        self.openings: dict[Entry, Opening] = {}
        self.own: Reveal | None = None
        """The own row, without its body."""
        self.revealed = False
        """Whether others may learn it."""

    def restore(self, own: Reveal | None, closed: Sequence[Row] | None) -> None:
        """Take back what was persisted."""
        if own is not None:
            self._keep_own(own)
        if closed is not None:
            for row in closed:
                self.keep(row)
                self._seat.note(Kind.ROW, row.member, 0, row.digest, row.signature)
            self._in_time = frozenset((row.member, row.digest) for row in closed)

    def commit(self, row_root: bytes, trace_root: bytes) -> Reveal:
        """Sign and persist the own commitment; it may be said then, but not yet revealed."""
        seat = self._seat
        opening = Opening(seat.salt(row_root, trace_root), row_root, trace_root)
        digest = commitment_of(seat.context.members[seat.own], opening)
        own = Reveal(seat.own, digest, seat.sign(Kind.ROW, 0, digest), opening)
        seat.persist_message("row", own)
        self._keep_own(own)
        return own

    def take(self, row: Row | Reveal, listed: Callable[[Entry], int]) -> bool:
        """Check and keep a signed commitment, from its member or passed on; False if it is not kept.

        Args:
            row: With the member's signature.
            listed: How many HAVEs list a row: what f + 1 list is kept in any case.

        Raises:
            InvalidInput: The signature is not the member's.
        """
        seat, entry = self._seat, (row.member, row.digest)
        if entry in self._signed:
            return True
        said = (Kind.ROW, row.member, 0, row.digest, row.signature)
        if seat.ledger.examine(*said) is Finding.KNOWN:
            return False
        seat.suspect_memory(row.member)
        seat.note(*said)
        versions = len(self._versions.get(row.member, ()))
        if versions < ROW_VERSIONS_MAX or listed(entry) >= seat.context.amplify:
            self.keep(row)
        return entry in self._signed

    def keep(self, row: Row | Reveal) -> None:
        """Keep a commitment whose signature was checked."""
        if (row.member, row.digest) not in self._signed:
            self._signed[row.member, row.digest] = row.signature
            self._versions.setdefault(row.member, []).append(row.digest)

    def try_close(self, now_ms: int) -> bool:
        """Close the phase once all have committed themselves, or n - f have and the others had `row_ms`."""
        seat, members = self._seat, len(self._versions)
        if self._in_time is not None or seat.observer or members < seat.context.rows_min:
            return False
        if self._close_ms is None:
            self._close_ms = now_ms + seat.timing.row_ms
        if members < seat.context.n and now_ms < self._close_ms:
            return False
        self._in_time, self._close_ms = frozenset(self._signed), None
        rows = [Row(*entry, self._signed[entry]) for entry in sorted(self._signed)]
        seat.persist("closed", b"", journal.closed_value(rows))
        return True

    def try_reveal(self, now_ms: int) -> bool:
        """Say that the own row may be revealed: the phase is closed, and for the others by now as well."""
        seat = self._seat
        if self.own is None or self._in_time is None or self.revealed or seat.observer:
            return False
        if self._reveal_ms is None:
            everybody = len(self.members_in_time()) == seat.context.n
            self._reveal_ms = now_ms + (0 if everybody else seat.timing.reveal_ms)
        if now_ms < self._reveal_ms:
            return False
        self.revealed, self._reveal_ms = True, None
        return True

    def settled(self) -> bool:
        """Whether a HAVE may be signed: nothing more can be in time, and the own row is not held back."""
        if self._in_time is None:
            return False
        own = self.own
        return own is None or self.revealed or (own.member, own.digest) not in self._in_time

    def in_time(self, entry: Entry) -> bool:
        """Whether a kept commitment came before the phase closed; it may be open still."""
        return self._in_time is None or entry in self._in_time

    def members(self) -> int:
        """Members of whom any commitment is known."""
        return len(self._versions)

    def members_in_time(self) -> set[int]:
        """Members of whom a commitment came in time, once the phase is closed."""
        return {member for member, _ in self._in_time or ()}

    def versions(self, member: int) -> Sequence[bytes]:
        """Kept commitments of a member, the first known first."""
        return self._versions.get(member, ())

    def said(self, member: int) -> Row | None:
        """What a member committed itself to first, unless it is revealed: then it stands in HAVEs."""
        for digest in self._versions.get(member, ()):
            if (member, digest) in self.openings:
                return None
            return Row(member, digest, self._signed[member, digest])
        return None

    def compare(self, rows: Iterable[SignedRow]) -> None:
        """Find out, by a verified block's rows, who sent one commitment to us and another to others."""
        seat = self._seat
        said = seat.ledger.said(Kind.ROW, 0)
        for row in rows:
            first = said.get(row.member)
            if first is not None and first[0] != row.digest and row.member != seat.own:
                seat.note(Kind.ROW, row.member, 0, row.digest, row.signature)

    def row(self, member: int, digest: bytes) -> Reveal | None:
        """A revealed row with its signature; the own one only when it may be revealed."""
        opening = self.openings.get((member, digest))
        if opening is None or (member == self._seat.own and not self.revealed):
            return None
        return Reveal(member, digest, self._signed[member, digest], opening)

    def stop(self) -> None:
        """The decision is known: nothing is due any more."""
        self._close_ms = self._reveal_ms = None

    def deadline_ms(self) -> int | None:
        """When `try_close` or `try_reveal` has something to do."""
        return self._reveal_ms if self._close_ms is None else self._close_ms

    def _keep_own(self, own: Reveal) -> None:
        self.own = own
        self.keep(own)
        self.openings[own.member, own.digest] = own.opening
        self._seat.note(Kind.ROW, own.member, 0, own.digest, own.signature)
