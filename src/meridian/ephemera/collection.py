"""Step S0, second half: gather revealed rows and their bodies, and say once which of them are held (HAVE).

A row counts when its commitment came in time (`commitments`), it was revealed, its body is here and the application
accepts it; only then does it stand in the own HAVE, and it is durable with its body before the HAVE is sent. So f + 1
listings of a row include a correct member from whom opening and body can be fetched, after a crash too, and the
inclusion rule can never demand what nobody can deliver. Bodies are content-addressed: a short one comes along with its
REVEAL, others travel by FETCH, and evaluators that agree have equal bodies, so that nothing is fetched at all.

n - f members may not come in time and reveal: f may never reveal, and others be late. Then, after `fill_ms`, rows of
members that did not commit themselves in time fill the HAVE up to n - f and no further, so that the epoch goes on.

Bounds: one HAVE per member; bodies and verdicts of known rows and of kept blocks only.
"""

from __future__ import annotations

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
    listings,
    required_members,
)
from meridian.ephemera.commitments import Commitments
from meridian.ephemera.context import Kind
from meridian.ephemera.journal import Memory
from meridian.ephemera.ledger import Finding
from meridian.ephemera.message import BODY, ROW, Fetch, Have, Reveal, Row
from meridian.ephemera.opening import commitment_of
from meridian.ephemera.seat import Seat
from meridian.errors import InvalidInput
from meridian.primitives import hashing


def row_root(body: bytes) -> bytes:
    """SHA256(ROW_BODY | body): the digest under which a body stands in the protocol."""
    return hashing.tagged(hashing.ROW_BODY, body)


class Collection:
    """Rows, bodies and HAVEs of one epoch."""

    def __init__(self, seat: Seat, application: Application) -> None:
        self._seat = seat
        self._application = application
        self.commitments = Commitments(seat)
        self._accepted: dict[int, bytes] = {}
        self._late: dict[int, bytes] = {}
        self._bodyless: dict[bytes, list[int]] = {}
        self._verdicts: dict[Entry, bool] = {}
        self._durable: set[bytes] = set()
        self._turn = 0
        self.bodies: dict[bytes, bytes] = {}
        self.haves: dict[int, SignedHave] = {}
        self.own_have: Have | None = None
        self._since_ms: int | None = None

    def restore(self, memory: Memory) -> None:
        """Take back what was persisted."""
        self.bodies.update(memory.bodies)
        self._durable.update(memory.bodies)
        self.commitments.restore(memory.row, memory.closed)
        if memory.row is not None:
            self._take_opening(memory.row)
        for listed in memory.listed:
            self.commitments.keep(listed)
            self._seat.note(Kind.ROW, listed.member, 0, listed.digest, listed.signature)
            self._take_opening(listed)
        if memory.have is not None:
            self._keep_own_have(memory.have)

    def submit(self, body: bytes, trace_root: bytes) -> None:
        """Persist, sign and send the own commitment; the first one only.

        Raises:
            InvalidInput: The body is too long, our own application refuses it, or the trace root is not 32 bytes.
        """
        seat = self._seat
        if len(body) > seat.limits.body_bytes_max:
            raise InvalidInput("row", f"must be at most {seat.limits.body_bytes_max} bytes")
        if len(trace_root) != 32:
            raise InvalidInput("trace_root", "must be 32 bytes")
        if self.commitments.own is not None or seat.observer:
            return
        address = seat.context.members[seat.own]
        reason = self._application.check_row(seat.context.epoch, address, body)
        if reason is not None:
            raise InvalidInput("row", reason)
        root = row_root(body)
        self.take_body(root, body)
        self.persist_bodies([root])
        own = self.commitments.commit(root, trace_root)
        self._take_opening(own)
        seat.retrieval.done((BODY, root))
        self.send_own_row()

    def send_own_row(self) -> None:
        """Send the own commitment; revealed, with its body if that is short: one round trip less for everybody."""
        own = self.commitments.own
        if own is None:
            return
        if not self.commitments.revealed:
            self._seat.broadcast(Row(own.member, own.digest, own.signature))
            return
        body = self.bodies.get(own.opening.row_root)
        short = body is not None and len(body) <= self._seat.limits.pushed_body_bytes
        self._seat.broadcast(replace(own, body=body if short else None))

    def on_row(self, row: Row) -> None:
        """A signed commitment, from its member or passed on."""
        self.commitments.take(row, self._listed)

    def on_reveal(self, sender: int, reveal: Reveal) -> None:
        """A revealed row with its signed commitment, from its member or passed on."""
        context, opening = self._seat.context, reveal.opening
        if commitment_of(context.members[reveal.member], opening) != reveal.digest:
            raise InvalidInput("opening", "is not what was committed")
        if reveal.body is not None and row_root(reveal.body) != opening.row_root:
            raise InvalidInput("body", "does not have the root that was committed")
        if not self.commitments.take(reveal, self._listed):
            return
        self._take_opening(reveal)
        self._take_pushed(reveal)
        self.want_body(opening.row_root, [reveal.member, sender])

    def try_commit(self, now_ms: int) -> bool:
        """Close the phase of commitments, or reveal the own row, when it is time."""
        if self.commitments.try_close(now_ms):
            return True
        if not self.commitments.try_reveal(now_ms):
            return False
        self.send_own_row()
        return True

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
        """Sign HAVE once all rows that came in time are held, or n - f are and the others had `have_ms`.

        Or `fill_ms`, if late ones must fill it up. It goes to who leads.
        """
        seat = self._seat
        if self.own_have is not None or seat.observer or not self.commitments.settled():
            return False
        entries = self.held()
        if len(entries) < seat.context.rows_min:
            return False
        if self._since_ms is None:
            self._since_ms = now_ms
        everything = {member for member, _ in entries} == self.commitments.members_in_time()
        if not everything and now_ms < self._since_ms + self._patience_ms():
            return False
        draft = Have(seat.own, entries, b"")
        have = Have(seat.own, entries, seat.sign(Kind.HAVE, 0, draft.digest))
        self._persist_listed(entries)
        seat.persist_message("have", have)
        self._keep_own_have(have)
        seat.send(leader, have)
        return True

    def held(self) -> tuple[Entry, ...]:
        """One accepted row per member that came in time, filled up to n - f with late ones, ascending by member."""
        entries = dict(self._accepted)
        for member, digest in self._late.items():
            if len(entries) >= self._seat.context.rows_min:
                break
            if self.commitments.row(member, digest) is not None:
                entries[member] = digest
        return tuple(sorted(entries.items()))

    def _patience_ms(self) -> int:
        timing = self._seat.timing
        enough = len(self._accepted) >= self._seat.context.rows_min
        return timing.have_ms if enough else timing.fill_ms

    def take_body(self, root: bytes, body: bytes) -> None:
        """A body whose root is right."""
        self.bodies[root] = body
        for member in self._bodyless.pop(root, ()):
            self._accept(member)

    def verdict(self, member: int, root: bytes) -> bool | None:
        """Whether the application accepts a member's row; None while its body is missing. Asked once."""
        key = (member, root)
        if key not in self._verdicts:
            body = self.bodies.get(root)
            if body is None:
                return None
            address = self._seat.context.members[member]
            reason = self._application.check_row(self._seat.context.epoch, address, body)
            self._verdicts[key] = reason is None
        return self._verdicts[key]

    def build_block(self) -> Block | None:
        """A fresh block of all HAVEs and all rows that these admit; None while it would break a rule."""
        context = self._seat.context
        haves = tuple(self.haves[member] for member in sorted(self.haves))
        if len(haves) < context.rows_min:
            return None
        counts = listings(haves)
        best: dict[int, Entry] = {}
        for entry, opening in self.commitments.openings.items():
            if counts[entry] and self.verdict(entry[0], opening.row_root):
                rival = best.setdefault(entry[0], entry)
                best[entry[0]] = min(rival, entry, key=lambda e: (-counts[e], e[1]))
        chosen = {member for member, entry in best.items() if counts[entry] >= context.amplify}
        if required_members(context, haves) - chosen:
            return None
        others = sorted(best.keys() - chosen, key=lambda member: (-counts[best[member]], member))
        chosen.update(others[: max(0, context.rows_min - len(chosen))])
        if len(chosen) < context.rows_min:
            return None
        rows = [self.commitments.row(*best[member]) for member in sorted(chosen)]
        if None in rows:
            return None  # the own one, which is not revealed yet
        signed = tuple(
            SignedRow(row.member, row.digest, row.signature, row.opening) for row in rows if row
        )
        return Block(context.epoch, signed, haves)

    def ask_for_rows(self, members: Iterable[int] | None = None) -> None:
        """Ask those who list rows that were not revealed here, of members from whom we hold none.

        Or that a block must hold. Again and again in turn.
        """
        seat, known = self._seat, self.commitments.openings
        counts = listings(self.haves.values())
        listed: dict[int, list[tuple[int, bytes]]] = {}
        for holder in sorted(self.haves if members is None else members):
            for entry in self.haves[holder].entries:
                member, digest = entry
                needed = member not in self._accepted or counts[entry] >= seat.context.amplify
                if holder != seat.own and needed and entry not in known:
                    listed.setdefault(member, []).append((holder, digest))
        self._turn += 1
        for member in sorted(listed):
            holder, digest = listed[member][self._turn % len(listed[member])]
            seat.send(holder, Fetch(ROW, member, digest, 0))

    def want_body(self, root: bytes, sources: Iterable[int]) -> None:
        """Fetch a body unless it is here."""
        if root not in self.bodies and not self._seat.retrieval.wants((BODY, root)):
            known = self.commitments.openings
            holders = [
                member
                for member, have in self.haves.items()
                if any(e in known and known[e].row_root == root for e in have.entries)
            ]
            self._seat.retrieval.want(BODY, root, [*sources, *holders])

    def want_bodies(self, block: Block, sources: Iterable[int]) -> None:
        """Fetch what is missing of a block's bodies: of the row's member, `sources`, and who lists the row."""
        for row in block.rows:
            root = row.opening.row_root
            if root not in self.bodies and not self._seat.retrieval.wants((BODY, root)):
                entry = (row.member, row.digest)
                holders = [have.member for have in block.haves if entry in have.entries]
                self.want_body(root, [row.member, *sources, *holders])

    def persist_bodies(self, roots: Iterable[bytes]) -> None:
        """Make bodies durable that are not yet: they must outlive an ECHO of a block that names them."""
        for root in roots:
            if root not in self._durable:
                self._durable.add(root)
                self._seat.persist("body", root, self.bodies[root])

    def _persist_listed(self, entries: Iterable[Entry]) -> None:
        # The inclusion rule may demand every row that a HAVE lists. Were it lost in a crash, and its member gone
        # for ever, no block could be built any more (simulator, four members, seed 3).
        for entry in entries:
            self.persist_bodies([self.commitments.openings[entry].row_root])
            row = self.commitments.row(*entry)
            if row is not None and row.member != self._seat.own:
                key = journal.row_key(row.member)
                self._seat.persist("listed_row", key, self._seat.encode(row))

    def forget_except(self, blocks: Iterable[Block]) -> None:
        """Drop bodies and verdicts that neither a known row nor one of the blocks names."""
        openings = self.commitments.openings
        kept = {(member, opening.row_root) for (member, _), opening in openings.items()}
        kept.update((row.member, row.opening.row_root) for block in blocks for row in block.rows)
        roots = {root for _, root in kept}
        self.bodies = {root: body for root, body in self.bodies.items() if root in roots}
        self._verdicts = {key: verdict for key, verdict in self._verdicts.items() if key in kept}

    def wanted_bodies(self) -> set[bytes]:
        """Bodies of revealed rows that are missing."""
        roots = {opening.row_root for opening in self.commitments.openings.values()}
        return {root for root in roots if root not in self.bodies}

    def stop(self) -> None:
        """The decision is known: nothing is due any more."""
        self._since_ms = None
        self.commitments.stop()

    def deadline_ms(self) -> int | None:
        """When `try_commit` or `try_have` has something to do."""
        due = self.commitments.deadline_ms()
        if due is not None or self._since_ms is None:
            return due
        return self._since_ms + self._patience_ms()

    def _listed(self, entry: Entry) -> int:
        return sum(1 for have in self.haves.values() if entry in have.entries)

    def _take_pushed(self, row: Reveal) -> None:
        """The body that came along with a kept row."""
        root = row.opening.row_root
        if row.body is not None and root not in self.bodies:
            self.take_body(root, row.body)
            self._seat.retrieval.done((BODY, root))

    def _take_opening(self, row: Reveal) -> None:
        """The opening of a kept commitment."""
        self.commitments.openings[row.member, row.digest] = row.opening
        root = row.opening.row_root
        if root in self.bodies:
            self._accept(row.member)
        elif row.member not in self._bodyless.setdefault(root, []):
            self._bodyless[root].append(row.member)

    def _accept(self, member: int) -> None:
        """Settle which row of a member is held: the first known that came in time, with its body here and accepted."""
        for digest in self.commitments.versions(member):
            opening = self.commitments.openings.get((member, digest))
            if opening is None or not self.verdict(member, opening.row_root):
                continue
            if self.commitments.in_time((member, digest)):
                self._accepted[member] = digest
                return
            if member not in self.commitments.members_in_time():
                self._late.setdefault(member, digest)

    def _keep_own_have(self, have: Have) -> None:
        self.own_have = have
        self._since_ms = None
        self.haves[have.member] = have
        self._seat.note(Kind.HAVE, have.member, 0, have.digest, have.signature)
