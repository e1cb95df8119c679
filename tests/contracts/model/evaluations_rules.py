"""Evaluations: one accepted report for each epoch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from contract_world import Report
from model.rule_state import NO_DIGEST, NOBODY, Transaction, must, signer_of

from meridian.contracts.statements import Transmission
from meridian.primitives.ids import Address
from meridian.primitives.quorum import quorum

if TYPE_CHECKING:
    from model.network_rules import NetworkRules

Words = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Version:
    """Function and parameters from an epoch on."""

    first_epoch: int
    function_digest: bytes
    parameters_digest: bytes


@dataclass
class EvaluationsState:
    """What Evaluations remembers."""

    versions: list[Version] = field(default_factory=list)
    hashes: dict[int, bytes] = field(default_factory=dict)
    chain: list[int] = field(default_factory=list)
    """Epochs in the order in which their reports were accepted."""


class EvaluationsRules:
    """The calls and views of Evaluations."""

    def __init__(self, network: "NetworkRules") -> None:
        self.network = network
        p = network.parameters
        first = Version(p.first_epoch, p.function_digest, p.parameters_digest)
        self.state = EvaluationsState([first])

    # ---- schedule

    def set_schedule(
        self, tx: Transaction, first_epoch: int, function_digest: bytes, parameters_digest: bytes
    ) -> None:
        must(tx.sender == self.network.parameters.owner, "evaluations: owner")
        must(first_epoch > self.network.rewards.funded_through(), "evaluations: funded")
        must(first_epoch > self.state.versions[-1].first_epoch, "evaluations: order")
        must(self.network.registry.epoch_set(first_epoch) == 0, "evaluations: open")
        self.state.versions.append(Version(first_epoch, function_digest, parameters_digest))
        self.network.tell(
            "Scheduled",
            version=len(self.state.versions),
            first_epoch=first_epoch,
            function_digest=function_digest,
            parameters_digest=parameters_digest,
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
        must(epoch not in self.state.hashes, "evaluations: reported")
        members = self.network.registry.committee(epoch)
        must(members, "evaluations: not open")
        must(report.previous == self.last_report(), "evaluations: previous")
        digest = self.network.commitments.epoch_digest(epoch)
        must(digest != NO_DIGEST, "evaluations: uncommitted")
        must(report.commitment == digest, "evaluations: commitment")
        _, function, parameters = self.schedule(epoch)
        must(report.function_digest == function, "evaluations: function")
        must(report.parameters_digest == parameters, "evaluations: parameters")
        report_hash = report.digest(self.network.domain("evaluations"))
        self._must_have_quorum(report_hash, members, signatures)
        winner = self._transmitter(epoch, report_hash, members, transmission)

        unlock_at = self.network.now_s + self.network.parameters.challenge_seconds
        self.state.hashes[epoch] = report_hash
        self.state.chain.append(epoch)
        as_evaluations = Transaction(self.network.address("evaluations"))
        self.network.rewards.accept(
            as_evaluations,
            epoch,
            report.reward_root,
            report.total,
            unlock_at,
            members.index(winner),
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

    # ---- views

    def version_count(self) -> int:
        return len(self.state.versions)

    def schedule(self, epoch: int) -> tuple[int, bytes, bytes]:
        ruling = [v for v in self.state.versions if v.first_epoch <= epoch]
        must(ruling, "evaluations: epoch")
        return len(ruling), ruling[-1].function_digest, ruling[-1].parameters_digest

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
