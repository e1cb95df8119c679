"""Step S5: gather a quorum of signatures over one report digest.

The report is a pure function of the decided block, so correct members sign the same digest. An attempt names
one way to make a report of the block (a report that was refused may be tried again); in one attempt a
member signs one digest. The statement of the protocol binds attempt and digest, so that a second digest is
evidence; the signature for the chain is over the digest alone. Bound: `attempts_max` attempts per member.
"""

from __future__ import annotations

from collections import Counter

from meridian.ephemera import evidence, journal
from meridian.ephemera.context import Kind
from meridian.ephemera.effects import Attested
from meridian.ephemera.message import ReportSignature, report_digest
from meridian.ephemera.seat import Seat
from meridian.errors import InvalidInput


class Attestation:
    """Report signatures of one epoch."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._reports: dict[bytes, dict[int, ReportSignature]] = {}
        self._attested: dict[bytes, tuple[ReportSignature, ...]] = {}
        self._aside: dict[bytes, dict[int, ReportSignature]] = {}

    def restore(
        self, own: dict[bytes, ReportSignature], attested: dict[bytes, list[ReportSignature]]
    ) -> None:
        """Take back own signatures and attested attempts."""
        for attempt, signatures in attested.items():
            self._attested[attempt] = tuple(signatures)
            for signature in signatures:
                self._reports.setdefault(attempt, {})[signature.member] = signature
        for attempt, signature in own.items():
            self._reports.setdefault(attempt, {})[self._seat.own] = signature

    def submit(self, attempt: bytes, digest: bytes) -> None:
        """Sign a report digest; the same again does nothing.

        Raises:
            InvalidInput: Another digest was signed in this attempt, or the values are malformed.
        """
        seat = self._seat
        if len(attempt) != 32 or len(digest) != 32:
            raise InvalidInput("attempt", "attempt and digest must be 32 bytes")
        if seat.observer:
            return
        known = self._reports.get(attempt, {}).get(seat.own)
        if known is not None:
            if known.digest != digest:
                raise InvalidInput("digest", "another digest was signed in this attempt")
            return
        self._check_room(seat.own)
        said = seat.sign(Kind.REPORT_SIG, 0, report_digest(attempt, digest))
        report = ReportSignature(seat.own, attempt, digest, seat.sign_digest(digest), said)
        seat.persist("report", attempt, seat.encode(report))
        self._reports.setdefault(attempt, {})[seat.own] = report
        seat.broadcast(report)

    def on_report(self, report: ReportSignature, sender: int) -> None:
        """Another member's signature, from it or passed on."""
        context, member = self._seat.context, report.member
        if self._set_aside(report, sender):
            return
        known = self._reports.get(report.attempt, {}).get(member)
        if known is not None and known.digest == report.digest:
            return
        if known is None:
            self._check_room(member)
        if not self._signed(report):
            raise InvalidInput("signature", f"is not that of member {member}")
        if known is None:
            known = self._contradicted_aside(report)
        if known is not None:
            self._prove_double(known, report)
            return
        if not context.signed_digest(member, report.digest, report.report_signature):
            raise InvalidInput("report_signature", f"is not that of member {member}")
        self._seat.suspect_memory(member)
        self._reports.setdefault(report.attempt, {})[member] = report

    def _contradicted_aside(self, report: ReportSignature) -> ReportSignature | None:
        """What the member truly signed before, with another digest, and which was set aside: checked only now."""
        kept = self._aside.get(report.attempt, {}).get(report.member)
        if kept is None or kept.digest == report.digest or not self._signed(kept):
            return None
        return kept

    def _signed(self, report: ReportSignature) -> bool:
        """Whether the member said this; the signature for the chain is another one."""
        said = report_digest(report.attempt, report.digest)
        context = self._seat.context
        return context.signed(report.member, Kind.REPORT_SIG, 0, said, report.signature)

    def _set_aside(self, report: ReportSignature, sender: int) -> bool:
        """Keep a member's first unchecked if a quorum has signed the same: it counts for nothing, unless as evidence.

        It is checked when the member signs something else (`on_report`). Only for what came from the member itself, as in the
        ledger.
        """
        member, attempt = report.member, report.attempt
        attested = self._attested.get(attempt)
        if attested is None or sender != member or member in self._reports[attempt]:
            return False
        if attested[0].digest != report.digest:
            return False
        kept = self._aside.setdefault(attempt, {}).setdefault(member, report)
        return kept.digest == report.digest

    def step(self) -> bool:
        """Attest one attempt that has a quorum; False if there is none. Only after the decision."""
        seat = self._seat
        for attempt, reports in self._reports.items():
            if attempt in self._attested or len(reports) < seat.context.quorum:
                continue
            counts = Counter(report.digest for report in reports.values())
            digest, count = counts.most_common(1)[0]
            if count < seat.context.quorum:
                continue
            signatures = tuple(
                reports[member] for member in sorted(reports) if reports[member].digest == digest
            )
            self._attested[attempt] = signatures
            value = journal.attested_value(signatures, seat.context.epoch)
            seat.persist("attested", attempt, value, lazy=True)
            self._announce(attempt)
            return True
        return False

    def announce_all(self) -> None:
        """Tell the driver again, after a restart."""
        for attempt in self._attested:
            self._announce(attempt)

    def pending(self) -> bool:
        """Whether nothing is attested yet, or an own signature is not part of an attested attempt."""
        own = {attempt for attempt, by in self._reports.items() if self._seat.own in by}
        return not self._attested or not own <= self._attested.keys()

    def resend(self) -> None:
        """Send own signatures of attempts that are not attested."""
        for attempt, reports in self._reports.items():
            own = reports.get(self._seat.own)
            if own is not None and attempt not in self._attested:
                self._seat.broadcast(own)

    def answer(self, member: int) -> None:
        """Send an asking member what it may lack: own signatures, and all of attested attempts.

        The own one also goes beside an attested set without it: the asker may have met another signature of a
        member of that set, which signed twice, and then needs a correct one more (simulator, four members,
        seed 490).
        """
        for attempt, reports in self._reports.items():
            own = reports.get(self._seat.own)
            known = self._attested.get(attempt, ())
            for report in known:
                self._seat.send(member, report)
            if own is not None and own not in known:
                self._seat.send(member, own)

    def attested(self) -> bool:
        """Whether any attempt is attested."""
        return bool(self._attested)

    def count(self) -> int:
        """Signatures known in the attempt that has most."""
        return max((len(reports) for reports in self._reports.values()), default=0)

    def _announce(self, attempt: bytes) -> None:
        context, signatures = self._seat.context, self._attested[attempt]
        pairs = tuple((context.members[s.member], s.report_signature) for s in signatures)
        self._seat.emit(Attested(context.epoch, attempt, signatures[0].digest, pairs))

    def _check_room(self, member: int) -> None:
        attempts = sum(1 for reports in self._reports.values() if member in reports)
        if attempts >= self._seat.limits.attempts_max:
            raise InvalidInput("attempt", f"more than {self._seat.limits.attempts_max} attempts")

    def _prove_double(self, first: ReportSignature, second: ReportSignature) -> None:
        guilt = evidence.Guilt(first.member, "double_report_sig")
        proof = evidence.double_report(
            self._seat.context,
            first.member,
            first.attempt,
            (first.digest, first.signature),
            (second.digest, second.signature),
        )
        for new_guilt, new_proof in self._seat.ledger.prove(guilt, proof):
            self._seat.accuse(new_guilt, new_proof)
