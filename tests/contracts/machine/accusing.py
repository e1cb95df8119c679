"""Accusations by those who have read everything: what is false is convicted, by proof or by the referees."""

from typing import Any

from contract_world import account
from machine.actors import KEYS, REFEREES
from machine.report_steps import ReportSteps
from machine.scene import REFEREE_STAKE, TERMS
from machine.small_epochs import CALENDAR, Made, faults_of, small_epoch, sorted_epoch
from model.referees_rules import lists_digests
from model.rule_state import NO_DIGEST, Answer, Refusal

from meridian.contracts.calldata import signature_words
from meridian.disputes.accusation import Accusation
from meridian.disputes.promises import duplicates, omission
from meridian.disputes.report_faults import Judged, ReportedClaims, Terms, find_report_faults
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import Address

NAMES = {
    "CommitmentProofs": "commitment_proofs",
    "ReportProofs": "report_proofs",
    "Disputes": "disputes",
}
BOND = TERMS.bond_atto


class Accusing(ReportSteps):
    """Builds accusations and sends them."""

    def accuse(self, fault: Accusation, by: str) -> Answer | str:
        value = BOND if fault.takes_bond else 0
        return self.call(
            NAMES[fault.contract], fault.function, *fault.arguments, by=by, value=value
        )

    def replace_commitment(
        self, who: str, epoch: int, of: Address, variant: str = "plain"
    ) -> Answer | str:
        made = small_epoch(epoch, account(who), variant)
        answer = self.call("commitments", "replace", epoch, of, *made.content, by=who)
        self.note_commitment(answer, epoch, account(who), made)
        return answer

    # ---- against aggregators

    def stands(self, epoch: int, by: Address) -> bool:
        known = self.rules.commitments.state.made.get((epoch, by))
        return known is not None and known.fate == "stands"

    def proofs_against(self, made: Made) -> list[Accusation]:
        """Every proof against a standing commitment."""
        epoch, by, *_ = made.words
        proofs = [fault for fault in faults_of(epoch, by, made.variant) if not fault.takes_bond]
        if not made.is_readable:
            return proofs
        here, before = sorted_epoch(epoch, by, made.variant), self.made.get((epoch - 1, by))
        if before and before.is_readable and self.stands(epoch - 1, by):
            earlier = sorted_epoch(epoch - 1, by, before.variant)
            proofs += duplicates(earlier, here, CALENDAR)
        for own, aggregator, deadline in self.promises:
            due = range(own, deadline + 1)
            known = {at: self.made[at, by] for at in due if self.stands(at, by)}
            readable = len(known) == len(due) and all(one.is_readable for one in known.values())
            if aggregator == by and deadline == epoch and readable:
                epochs = {at: sorted_epoch(at, by, one.variant) for at, one in known.items()}
                fault = omission(self.promised(own, by, deadline), epochs, CALENDAR)
                proofs += [fault] if fault else []
        return proofs

    def convict_author(self, made: Made, winner: str, choice: int = 0) -> bool:
        """Convict the author of a false commitment that stands; tell whether it could be tried."""
        epoch, by, *_ = made.words
        late = self.rules.evaluations.unlocked(epoch)
        proofs = self.proofs_against(made)
        if proofs:
            answer = self.accuse(proofs[choice % len(proofs)], winner)
        elif (
            made.variant == "hidden" and not late and not self.rules.evaluations.is_abandoned(epoch)
        ):
            answer = self.silence(made, winner)
        else:
            return False
        if late:
            assert not isinstance(answer, str) or answer == "disputes: convicted", answer
        else:
            self.accepted(answer)
            assert not self.stands(epoch, by)
            assert epoch not in self.rules.evaluations.state.hashes
        assert self.rules.commitments.aggregator(by)[1] == 0
        return True

    def silence(self, made: Made, by: str) -> Answer | str:
        """Ask for a row that nobody can show, and wait in vain."""
        epoch, author, *_ = made.words
        fault = faults_of(epoch, author, made.variant)[0]
        answer = self.accuse(fault, by)
        if isinstance(answer, str):
            self.refused(answer, "disputes: challenged")
        self.pair.wait(TERMS.response_seconds + 1)
        index = fault.arguments[1]
        return self.call("disputes", "resolve", made.words, index, 0, False)

    # ---- against members

    def judged(self, report_hash: bytes) -> Judged | None:
        """All that a report is judged by; None where its claims are not known."""
        sent = self.sent[report_hash]
        previous = self.sent.get(sent.report.previous)
        first = sent.report.previous == NO_DIGEST
        of_epoch = self.standing(sent.report.epoch)
        if sent.rows is None or not of_epoch or not (first or (previous and previous.rows)):
            return None
        before = None
        if previous and previous.rows:
            before = ReportedClaims(previous.report, previous.rows, sent.report.previous)
        epoch = sent.report.epoch
        return Judged(
            ReportedClaims(sent.report, sent.rows, report_hash),
            before,
            sent.signatures,
            of_epoch[0].shown,
            Terms(*self.rules.evaluations.terms(epoch)[:3]),
            self.rules.rewards.budget(epoch),
            self.rules.registry.committee(epoch),
        )

    def proofs_of_report(self, report_hash: bytes) -> list[Accusation]:
        """Every proof that an accepted report is false."""
        judged = self.judged(report_hash)
        if judged is None:
            return []
        epoch = self.sent[report_hash].report.epoch
        readable = all(one.is_readable for one in self.standing(epoch))
        return [
            fault
            for fault in find_report_faults(judged)
            if fault.function != "wrong_reward" or (readable and self.is_only(fault.arguments))
        ]

    def is_only(self, arguments: Any) -> bool:
        """Whether a report is about one commitment and nothing else."""
        try:
            self.rules.report_proofs.must_be_only(arguments[0], arguments[6])
        except Refusal:
            return False
        return True

    def convict_signers(self, epoch: int, winner: str, choice: int = 0) -> None:
        """Void a false report while it is locked, and slash all who signed it."""
        report_hash = self.rules.evaluations.report_hash(epoch)
        signers = self.sent[report_hash].signers
        proofs = self.proofs_of_report(report_hash)
        if proofs:
            self.accepted(self.accuse(proofs[choice % len(proofs)], winner))
        else:
            self.have_ruled(epoch, signers, (), voids=True, by=winner)
        assert epoch not in self.rules.evaluations.state.hashes
        assert all(self.rules.registry.is_slashed(signer) for signer in signers)

    # ---- before the referees

    def have_ruled(self, epoch: int, guilty: Any, wrong: Any, *, voids: bool, by: str) -> None:
        """Bring a case, and have the referees rule as they should."""
        for name in REFEREES:
            if self.rules.referees.deposits(account(name)) < REFEREE_STAKE:
                self.accepted(self.call("referees", "deposit", by=name, value=REFEREE_STAKE))
        args = (epoch, sha256(b"accusation"), "")
        answer = self.call("disputes", "escalate", *args, by=by, value=BOND)
        case = self.accepted(answer).value
        votes = self.votes(case, guilty, wrong, voids, REFEREES[:3])
        self.accepted(self.call("referees", "decide", case, guilty, wrong, voids, votes))

    def votes(
        self, case: int, guilty: Any, wrong: Any, voids: bool, voters: list[str]
    ) -> list[tuple[int, int]]:
        ruling = self.rules.referees.ruling(case, *lists_digests(guilty, wrong), voids)
        return [signature_words(KEYS[name].sign(ruling)) for name in voters]
