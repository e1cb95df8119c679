"""Step S0: gather signed rows and their bodies, and say once which of them are held (HAVE).

A row counts when its signature is valid, its body is here and the application accepts it; only then does it
stand in the own HAVE, and it is durable with its body before the HAVE is sent. So f + 1 listings of a row include
a correct member from whom the body can be fetched, after a crash too, and the inclusion rule can never demand
what nobody can deliver. Bodies are content-addressed: a short one comes along with its row, others travel by FETCH,
and evaluators that agree have equal bodies, so that nothing is fetched at all.

Bounds: two signed versions per member and those that f + 1 HAVEs list; one HAVE per member; bodies and
verdicts of these and of kept blocks only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from meridian.ephemera import journal
from meridian.ephemera.application import Application
from meridian.ephemera.block import (
    Block,
    Entry,
    SignedHave,
    SignedRow,
    check_entries,
    required_members,
)
from meridian.ephemera.context import Kind
from meridian.ephemera.ledger import Finding
from meridian.ephemera.message import BODY, ROW, Fetch, Have, Row
from meridian.ephemera.seat import Seat
from meridian.errors import InvalidInput
from meridian.primitives import hashing

ROW_VERSIONS_MAX = 2
"""Signed rows kept per member besides required ones: enough for evidence and for an honest member."""


def row_root(body: bytes) -> bytes:
    """SHA256(ROW_BODY | body): the digest under which a body stands in the protocol."""
    return hashing.tagged(hashing.ROW_BODY, body)


class Collection:
    """Rows, bodies and HAVEs of one epoch."""

    def __init__(self, seat: Seat, application: Application) -> None:
        self._seat = seat
        self._application = application
        self._signed: dict[Entry, bytes] = {}
        self._versions: dict[int, list[bytes]] = {}
        self._accepted: dict[int, bytes] = {}
        self._bodyless: dict[bytes, list[int]] = {}
        self._verdicts: dict[Entry, bool] = {}
        self._durable: set[bytes] = set()
        self._turn = 0
        self.bodies: dict[bytes, bytes] = {}
        self.haves: dict[int, SignedHave] = {}
        self.own_row: Row | None = None
        self.own_have: Have | None = None
        self.due_ms: int | None = None

    def restore(
        self,
        row: Row | None,
        have: Have | None,
        listed: Iterable[Row],
        bodies: dict[bytes, bytes],
    ) -> None:
        """Take back what was persisted."""
        self.bodies.update(bodies)
        self._durable.update(bodies)
        if row is not None:
            self._keep_own_row(row)
        for other in listed:
            self._keep_row(other)
            self._seat.note(Kind.ROW, other.member, 0, other.digest, other.signature)
        if have is not None:
            self._keep_own_have(have)

    def submit(self, body: bytes) -> None:
        """Persist, sign and send the own row; the first one only.

        Raises:
            InvalidInput: The body is too long, or our own application refuses it.
        """
        seat = self._seat
        if len(body) > seat.limits.body_bytes_max:
            raise InvalidInput("row", f"must be at most {seat.limits.body_bytes_max} bytes")
        if self.own_row is not None or seat.observer:
            return
        own = seat.context.members[seat.own]
        reason = self._application.check_row(seat.context.epoch, own, body)
        if reason is not None:
            raise InvalidInput("row", reason)
        digest = row_root(body)
        row = Row(seat.own, digest, seat.sign(Kind.ROW, 0, digest))
        self.take_body(digest, body)
        self.persist_bodies([digest])
        seat.persist_message("row", row)
        self._keep_own_row(row)
        seat.retrieval.done((BODY, digest))
        self.send_own_row()

    def send_own_row(self) -> None:
        """Send the own row, with its body if that is short: one round trip less for everybody."""
        row = self.own_row
        if row is not None:
            body = self.bodies.get(row.digest)
            short = body is not None and len(body) <= self._seat.limits.pushed_body_bytes
            self._seat.broadcast(replace(row, body=body if short else None))

    def on_row(self, sender: int, row: Row) -> None:
        """A signed row, from its member or passed on."""
        seat, entry = self._seat, (row.member, row.digest)
        if row.body is not None and row_root(row.body) != row.digest:
            raise InvalidInput("body", "does not have the root that the row names")
        if entry in self._signed:
            self._take_pushed(row)
            return
        finding = seat.ledger.examine(Kind.ROW, row.member, 0, row.digest, row.signature)
        if finding is Finding.KNOWN:
            return
        seat.suspect_memory(row.member)
        seat.note(Kind.ROW, row.member, 0, row.digest, row.signature)
        versions = len(self._versions.get(row.member, ()))
        if versions < ROW_VERSIONS_MAX or self._listed(entry) >= seat.context.amplify:
            self._keep_row(row)
            self._take_pushed(row)
            self.want_body(row.digest, [row.member, sender])

    def on_have(self, have: Have) -> None:
        """Which rows another member holds."""
        seat = self._seat
        finding = seat.ledger.examine(Kind.HAVE, have.member, 0, have.digest, have.signature)
        if finding is Finding.KNOWN:
            return
        check_entries(seat.context, have.entries)
        seat.suspect_memory(have.member)
        seat.note(Kind.HAVE, have.member, 0, have.digest, have.signature)
        if finding is Finding.NEW:
            self.haves[have.member] = have
            self.ask_for_rows([have.member])

    def try_have(self, now_ms: int, leader: int) -> bool:
        """Sign HAVE once all rows are held, or n - f are and the others had `have_ms`; send it to who leads."""
        seat = self._seat
        if self.own_have is not None or seat.observer:
            return False
        if len(self._accepted) < seat.context.rows_min:
            return False
        if self.due_ms is None:
            self.due_ms = now_ms + seat.timing.have_ms
        if len(self._accepted) < seat.context.n and now_ms < self.due_ms:
            return False
        entries = self.held()
        draft = Have(seat.own, entries, b"")
        have = Have(seat.own, entries, seat.sign(Kind.HAVE, 0, draft.digest))
        self._persist_listed(entries)
        seat.persist_message("have", have)
        self._keep_own_have(have)
        seat.send(leader, have)
        return True

    def held(self) -> tuple[Entry, ...]:
        """One accepted row per member, the first known, ascending by member."""
        return tuple(sorted(self._accepted.items()))

    def take_body(self, digest: bytes, body: bytes) -> None:
        """A body whose digest is right."""
        self.bodies[digest] = body
        for member in self._bodyless.pop(digest, ()):
            self._accept(member)

    def verdict(self, member: int, digest: bytes) -> bool | None:
        """Whether the application accepts the row; None while its body is missing. Asked once."""
        entry = (member, digest)
        if entry not in self._verdicts:
            body = self.bodies.get(digest)
            if body is None:
                return None
            address = self._seat.context.members[member]
            reason = self._application.check_row(self._seat.context.epoch, address, body)
            self._verdicts[entry] = reason is None
        return self._verdicts[entry]

    def build_block(self) -> Block | None:
        """A fresh block of all HAVEs and all rows held; None while it would break a rule."""
        context = self._seat.context
        haves = tuple(self.haves[member] for member in sorted(self.haves))
        counts = Counter(entry for have in haves for entry in have.entries)
        best: dict[int, Entry] = {}
        for entry in self._signed:
            if self.verdict(*entry):
                rival = best.setdefault(entry[0], entry)
                best[entry[0]] = min(rival, entry, key=lambda e: (-counts[e], e[1]))
        if len(best) < context.rows_min or len(haves) < context.rows_min:
            return None
        if required_members(context, haves) - best.keys():
            return None
        rows = tuple(
            SignedRow(member, best[member][1], self._signed[best[member]])
            for member in sorted(best)
        )
        return Block(context.epoch, rows, haves)

    def ask_for_rows(self, members: Iterable[int] | None = None) -> None:
        """Ask those who list rows of members from whom we hold none; again and again in turn."""
        seat = self._seat
        missing = set(range(seat.context.n)) - self._accepted.keys()
        listed: dict[int, list[tuple[int, bytes]]] = {}
        for holder in sorted(self.haves if members is None else members):
            for member, digest in self.haves[holder].entries:
                if (
                    holder != seat.own
                    and member in missing
                    and (member, digest) not in self._signed
                ):
                    listed.setdefault(member, []).append((holder, digest))
        self._turn += 1
        for member in sorted(listed):
            holder, digest = listed[member][self._turn % len(listed[member])]
            seat.send(holder, Fetch(ROW, member, digest, 0))

    def want_body(self, digest: bytes, sources: Iterable[int]) -> None:
        """Fetch a body unless it is here."""
        if digest not in self.bodies and not self._seat.retrieval.wants((BODY, digest)):
            holders = [
                member
                for member, have in self.haves.items()
                if any(digest == listed for _, listed in have.entries)
            ]
            self._seat.retrieval.want(BODY, digest, [*sources, *holders])

    def want_bodies(self, block: Block, sources: Iterable[int]) -> None:
        """Fetch what is missing of a block's bodies: of the row's member, `sources`, and who lists the row."""
        for row in block.rows:
            key = (BODY, row.digest)
            if row.digest not in self.bodies and not self._seat.retrieval.wants(key):
                entry = (row.member, row.digest)
                holders = [have.member for have in block.haves if entry in have.entries]
                self.want_body(row.digest, [row.member, *sources, *holders])

    def signed_row(self, member: int, digest: bytes) -> Row | None:
        """A known row with its signature."""
        signature = self._signed.get((member, digest))
        return None if signature is None else Row(member, digest, signature)

    def persist_bodies(self, digests: Iterable[bytes]) -> None:
        """Make bodies durable that are not yet: they must outlive an ECHO of a block that names them."""
        for digest in digests:
            if digest not in self._durable:
                self._durable.add(digest)
                self._seat.persist("body", digest, self.bodies[digest])

    def _persist_listed(self, entries: Iterable[Entry]) -> None:
        # The inclusion rule may demand every row that a HAVE lists. Were it lost in a crash, and its member gone
        # for ever, no block could be built any more (simulator, four members, seed 3).
        for member, digest in entries:
            self.persist_bodies([digest])
            if member != self._seat.own:
                row = Row(member, digest, self._signed[member, digest])
                self._seat.persist("listed_row", journal.row_key(member), self._seat.encode(row))

    def forget_except(self, blocks: Iterable[Block]) -> None:
        """Drop bodies and verdicts that neither a known row nor one of the blocks names."""
        kept = set(self._signed)
        kept.update((row.member, row.digest) for block in blocks for row in block.rows)
        digests = {digest for _, digest in kept}
        self.bodies = {d: body for d, body in self.bodies.items() if d in digests}
        self._verdicts = {entry: v for entry, v in self._verdicts.items() if entry in kept}

    def wanted_bodies(self) -> set[bytes]:
        """Bodies of known rows that are missing."""
        return {digest for _, digest in self._signed if digest not in self.bodies}

    def _listed(self, entry: Entry) -> int:
        return sum(1 for have in self.haves.values() if entry in have.entries)

    def _take_pushed(self, row: Row) -> None:
        """The body that came along with a kept row."""
        if row.body is not None and row.digest not in self.bodies:
            self.take_body(row.digest, row.body)
            self._seat.retrieval.done((BODY, row.digest))

    def _keep_row(self, row: Row) -> None:
        if (row.member, row.digest) in self._signed:
            return
        self._signed[row.member, row.digest] = row.signature
        self._versions.setdefault(row.member, []).append(row.digest)
        if row.digest in self.bodies:
            self._accept(row.member)
        else:
            self._bodyless.setdefault(row.digest, []).append(row.member)

    def _accept(self, member: int) -> None:
        """Settle which row of a member is held: the first known whose body is here and accepted."""
        for digest in self._versions[member]:
            if self.verdict(member, digest):
                self._accepted[member] = digest
                return

    def _keep_own_row(self, row: Row) -> None:
        self.own_row = row
        self._keep_row(row)
        self._seat.note(Kind.ROW, row.member, 0, row.digest, row.signature)

    def _keep_own_have(self, have: Have) -> None:
        self.own_have = have
        self.due_ms = None
        self.haves[have.member] = have
        self._seat.note(Kind.HAVE, have.member, 0, have.digest, have.signature)
