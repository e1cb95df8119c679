"""Evaluations: one accepted report for each epoch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from contract_world import Report
from model.rule_state import NO_DIGEST, NOBODY, Transaction, must, signer_of

from meridian.contracts.deployment import Terms
from meridian.contracts.statements import Transmission, Unavailable
from meridian.primitives.ids import Address
from meridian.primitives.quorum import quorum

if TYPE_CHECKING:
    from model.network_rules import NetworkRules

Words = tuple[int, int]

EPOCH_MAX = (1 << 48) - 1
MEMBERS_MAX = 128
RULE_MAX = 4
PPM = 10**6


@dataclass(frozen=True, slots=True)
class Version:
    """Function, parameters and terms from an epoch on."""

    first_epoch: int
    function_digest: bytes
    parameters_digest: bytes
    terms: Terms


@dataclass
class EvaluationsState:
    """What Evaluations remembers."""

    versions: list[Version] = field(default_factory=list)
    hashes: dict[int, bytes] = field(default_factory=dict)
    chain: list[int] = field(default_factory=list)
    """Epochs in the order in which their reports were accepted."""
    abandoned: frozenset[int] = frozenset()
    term_number: int = 0
    changed_at: int = 0
    """When something was voided or renewed, or somebody slashed, for the last time."""


class EvaluationsRules:
    """The calls and views of Evaluations. (A void of more than 256 reports is beyond this model.)"""

    def __init__(self, network: "NetworkRules") -> None:
        self.network = network
        p = network.parameters
        first = Version(p.first_epoch, p.function_digest, p.parameters_digest, p.terms)
        self.state = EvaluationsState([first])

    # ---- schedule

    def set_schedule(
        self,
        tx: Transaction,
        first_epoch: int,
        function_digest: bytes,
        parameters_digest: bytes,
        terms: tuple[int, int, int, int, int],
    ) -> None:
        must(tx.sender == self.network.parameters.owner, "evaluations: owner")
        must(first_epoch > self.network.rewards.funded_through(), "evaluations: funded")
        must(first_epoch > self.state.versions[-1].first_epoch, "evaluations: order")
        must(first_epoch <= EPOCH_MAX, "evaluations: epoch")
        must(self.network.registry.epoch_set(first_epoch) == 0, "evaluations: open")
        says = Terms(*terms)
        must(says.rule <= RULE_MAX, "evaluations: rule")
        must(says.evaluators_ppm + says.aggregators_ppm <= PPM, "evaluations: shares")
        must(says.committee_size <= MEMBERS_MAX, "evaluations: committee")
        version = Version(first_epoch, function_digest, parameters_digest, says)
        self.state.versions.append(version)
        self.network.tell(
            "Scheduled",
            version=len(self.state.versions),
            first_epoch=first_epoch,
            function_digest=function_digest,
            parameters_digest=parameters_digest,
            rule=says.rule,
            evaluators_ppm=says.evaluators_ppm,
            aggregators_ppm=says.aggregators_ppm,
            committee_size=says.committee_size,
            committee_stake_min=says.committee_stake_min_atto,
        )

    # ---- reports

    def submit(
        self,
        tx: Transaction,
        values: tuple[Any, ...],
        transmission: Words,
        signatures: Sequence[Words],
    ) -> None:
        report = Report(*values)
        epoch = report.epoch
        must(report.network == self.network.parameters.network, "evaluations: network")
        self._must_be_unreported(epoch)
        members = self._members(epoch)
        self._must_stand(epoch)
        must(report.previous == self.last_report(), "evaluations: previous")
        digest = self._standing_digest(epoch)
        must(report.commitment == digest, "evaluations: commitment")
        must(self.network.now_s >= self.ready_at(epoch), "evaluations: early")
        _, function, parameters = self.schedule(epoch)
        must(report.function_digest == function, "evaluations: function")
        must(report.parameters_digest == parameters, "evaluations: parameters")
        report_hash = report.digest(self.network.domain("evaluations"))
        self._must_have_quorum(report_hash, members, signatures)
        winner = self._transmitter(epoch, report_hash, members, transmission)

        previous = self.state.chain[-1] if self.state.chain else epoch
        self.state.hashes[epoch] = report_hash
        self.state.chain.append(epoch)
        unlock_at = self.network.rewards.accept(
            Transaction(self.network.address("evaluations")),
            epoch,
            report.reward_root,
            report.total,
            self.network.now_s + self.network.parameters.challenge_seconds,
            members.index(winner),
            previous,
        )
        self.network.tell(
            "Reported",
            epoch=epoch,
            report_hash=report_hash,
            transmitter=winner,
            reward_root=report.reward_root,
            total=report.total,
            unlock_at=unlock_at,
            previous=report.previous,
        )

    def _must_be_unreported(self, epoch: int) -> None:
        must(epoch not in self.state.abandoned, "evaluations: abandoned")
        must(epoch not in self.state.hashes, "evaluations: reported")

    def _members(self, epoch: int) -> tuple[Address, ...]:
        members = self.network.registry.committee(epoch)
        must(members, "evaluations: not open")
        return members

    def _standing_digest(self, epoch: int) -> bytes:
        digest = self.network.commitments.standing_digest(epoch)
        must(digest != NO_DIGEST, "evaluations: uncommitted")
        return digest

    def _must_stand(self, epoch: int) -> None:
        """Of the members of an epoch that started before the last change a quorum must be left."""
        if self.network.registry.epoch_start(epoch) <= self.state.changed_at:
            left = self.network.registry.standing(epoch)
            must(left >= self.quorum(epoch), "evaluations: renew")

    def _must_have_quorum(
        self, digest: bytes, members: Sequence[Address], signatures: Sequence[Words]
    ) -> None:
        must(len(signatures) >= quorum(len(members)), "evaluations: quorum")
        last = NOBODY
        for words in signatures:
            signer = signer_of(digest, *words)
            must(signer != NOBODY, "evaluations: signature")
            must(signer > last, "evaluations: order")
            must(signer in members, "evaluations: signer")
            last = signer

    def _transmitter(
        self, epoch: int, report_hash: bytes, members: Sequence[Address], transmission: Words
    ) -> Address:
        says = Transmission(self.network.parameters.network, epoch, report_hash)
        signer = signer_of(says.digest(self.network.domain("evaluations")), *transmission)
        must(signer in members, "evaluations: transmitter")
        return signer

    # ---- voids and renewals

    def _change(self) -> None:
        self.state.changed_at = self.network.now_s

    def note_slashing(self, tx: Transaction) -> None:
        must(tx.sender == self.network.address("registry"), "evaluations: sender")
        self._change()

    def void(self, tx: Transaction, epoch: int) -> None:
        must(tx.sender == self.network.address("disputes"), "evaluations: sender")
        self.state.term_number += 1
        self._change()
        if epoch not in self.state.hashes:
            return
        must(self.network.now_s < self.unlock_at(epoch), "evaluations: unlocked")
        while epoch in self.state.hashes:
            last = self.state.chain.pop()
            self.network.rewards.forget(
                Transaction(self.network.address("evaluations")), last, last != epoch
            )
            report_hash = self.state.hashes.pop(last)
            self.network.tell("ReportVoided", epoch=last, report_hash=report_hash)

    def continue_void(self, tx: Transaction) -> None:
        must(False, "evaluations: no void")

    def renew(self, tx: Transaction, epoch: int) -> None:
        self._must_be_unreported(epoch)
        self._members(epoch)
        left = self.network.registry.standing(epoch)
        must(left < self.quorum(epoch), "evaluations: standing")
        self.state.term_number += 1
        self._change()
        as_evaluations = Transaction(self.network.address("evaluations"))
        set_id = self.network.registry.renew(as_evaluations, epoch)
        self.network.tell("Renewed", epoch=epoch, set_id=set_id, term=self.term())

    # ---- abandonment

    def declare_unavailable(self, tx: Transaction, epoch: int, signatures: Sequence[Words]) -> None:
        self._must_be_unreported(epoch)
        members = self._members(epoch)
        self._must_stand(epoch)
        digest = self._standing_digest(epoch)
        must(self.network.now_s >= self.ready_at(epoch), "evaluations: early")
        says = Unavailable(self.network.parameters.network, epoch, digest)
        said = says.digest(self.network.domain("evaluations"))
        self._must_have_quorum(said, members, signatures)
        self._abandon(epoch)

    def abandon(self, tx: Transaction, epoch: int) -> None:
        self._must_be_unreported(epoch)
        must(self.network.registry.epoch_set(epoch), "evaluations: not open")
        since = max(self.network.registry.epoch_end(epoch), self.state.changed_at)
        over = self.network.now_s >= since + self.network.parameters.report_seconds
        must(over, "evaluations: early")
        self._abandon(epoch)

    def _abandon(self, epoch: int) -> None:
        self.state.abandoned |= {epoch}
        as_evaluations = Transaction(self.network.address("evaluations"))
        atto, to_epoch = self.network.rewards.roll(as_evaluations, epoch)
        self.network.tell("Abandoned", epoch=epoch, atto=atto, to_epoch=to_epoch)

    # ---- views

    def version_count(self) -> int:
        return len(self.state.versions)

    def schedule(self, epoch: int) -> tuple[int, bytes, bytes]:
        ruling = [v for v in self.state.versions if v.first_epoch <= epoch]
        must(ruling, "evaluations: epoch")
        return len(ruling), ruling[-1].function_digest, ruling[-1].parameters_digest

    def _ruling(self, epoch: int) -> Version:
        return self.state.versions[self.schedule(epoch)[0] - 1]

    def terms(self, epoch: int) -> tuple[int, int, int, int, int]:
        return self._ruling(epoch).terms.arguments

    def committee_rule(self, epoch: int) -> tuple[int, int]:
        terms = self._ruling(epoch).terms
        return terms.committee_size, terms.committee_stake_min_atto

    def term(self) -> int:
        return self.state.term_number

    def voiding(self) -> bool:
        return False

    def is_abandoned(self, epoch: int) -> bool:
        return epoch in self.state.abandoned

    def previous_epoch(self, epoch: int) -> int:
        return self.network.rewards.previous_epoch(epoch)

    def unlock_at(self, epoch: int) -> int:
        return self.network.rewards.allotment(epoch)[2]

    def ready_at(self, epoch: int) -> int:
        must(epoch >= self.network.parameters.first_epoch, "evaluations: epoch")
        return self.network.commitments.ready_at(epoch)

    def unlocked(self, epoch: int) -> bool:
        record = self.network.rewards.state.records.get(epoch)
        return record is not None and self.network.now_s >= record.unlock_at

    def report(self, epoch: int) -> tuple[bytes, bytes, int, int, Address]:
        if epoch not in self.state.hashes:
            return NO_DIGEST, NO_DIGEST, 0, 0, NOBODY
        root, total, unlock_at, winner = self.network.rewards.allotment(epoch)
        members = self.network.registry.committee(epoch)
        return self.state.hashes[epoch], root, total, unlock_at, members[winner]

    def report_hash(self, epoch: int) -> bytes:
        return self.state.hashes.get(epoch, NO_DIGEST)

    def last_report(self) -> bytes:
        return self.state.hashes[self.state.chain[-1]] if self.state.chain else NO_DIGEST

    def last_epoch(self) -> int:
        return self.state.chain[-1] if self.state.chain else 0

    def last_total(self) -> int:
        return self.network.rewards.last_total()

    def report_count(self) -> int:
        return len(self.state.chain)

    def quorum(self, epoch: int) -> int:
        members = self.network.registry.committee(epoch)
        must(members, "evaluations: not open")
        return quorum(len(members))
