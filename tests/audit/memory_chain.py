"""A chain view held in memory, for audits without a chain: the tests change single values in it."""

from dataclasses import dataclass, field

from meridian.audit.source import Deployment, Network, Schedule, StoredReport
from meridian.contracts.artefact import NAMES, load
from meridian.contracts.events import (
    Claimed,
    Committed,
    EpochOpened,
    NodeRegistered,
    Reported,
    SelfCommitted,
    Voided,
)
from meridian.primitives.ids import Address, NodeKey
from meridian.reward.members import NO_PAY, PayTerms


@dataclass
class MemoryChain:
    """Plain values; every attribute may be replaced by a test."""

    network: Network
    members: tuple[Address, ...]
    version: Schedule
    budgets: dict[int, int]
    code: dict[str, bytes] = field(default_factory=dict)
    registered: list[NodeRegistered] = field(default_factory=list)
    committed: list[Committed] = field(default_factory=list)
    reported: list[Reported] = field(default_factory=list)
    paid: list[Claimed] = field(default_factory=list)
    is_unlocked: bool = True
    aggregators: tuple[Address, ...] = ()
    stored_digest: dict[int, bytes] = field(default_factory=dict)
    terms: dict[int, int] = field(default_factory=dict)
    later_changes: dict[int, list[Committed | Voided | SelfCommitted]] = field(default_factory=dict)
    void_reports: dict[int, list[bytes]] = field(default_factory=dict)
    funded: int | None = None
    pay_terms: PayTerms = NO_PAY

    def __post_init__(self) -> None:
        self.aggregators = (self.network.aggregator,)
        self.code = {name: load(name).runtime + bytes(64) for name in NAMES}

    def deployment(self) -> Deployment:
        net = self.network
        return Deployment(
            chain_id=31337,
            code=self.code,
            wiring={
                "Registry.evaluations": net.evaluations,
                "Registry.disputes": net.disputes,
                "Commitments.registry": net.registry,
                "Commitments.disputes": net.disputes,
                "Evaluations.registry": net.registry,
                "Evaluations.commitments": net.commitments,
                "Evaluations.rewards": net.rewards,
                "Evaluations.disputes": net.disputes,
                "Rewards.registry": net.registry,
                "Rewards.evaluations": net.evaluations,
                "Rewards.disputes": net.disputes,
            },
            network_id=net.network_id,
            genesis_s=net.genesis_s,
            epoch_seconds=net.epoch_seconds,
            first_epoch=net.first_epoch,
            aggregators=self.aggregators,
        )

    def opened(self, epoch: int) -> EpochOpened | None:
        return EpochOpened(epoch, 1, len(self.members)) if epoch in self.budgets else None

    def committee(self, epoch: int) -> tuple[Address, ...]:
        return self.members if epoch in self.budgets else ()

    def term(self, epoch: int) -> int:
        return self.terms.get(epoch, 0)

    def history(self, epoch: int) -> list[Committed | Voided | SelfCommitted]:
        first = [event for event in self.committed if event.epoch == epoch]
        return [*first, *self.later_changes.get(epoch, [])]

    def voided_reports(self, epoch: int) -> list[bytes]:
        return self.void_reports.get(epoch, [])

    def payees(self, epoch: int) -> dict[NodeKey, list[Address]]:
        found: dict[NodeKey, list[Address]] = {}
        for event in self.registered:
            found.setdefault(NodeKey(event.node_key), []).append(event.payee)
        return found

    def commitments(self, epoch: int) -> list[Committed]:
        return [event for event in self.history(epoch) if isinstance(event, Committed)]

    def epoch_digest(self, epoch: int) -> bytes:
        found = self.history(epoch)
        return self.stored_digest.get(epoch, found[-1].digest if found else bytes(32))

    def schedule(self, epoch: int) -> Schedule:
        return self.version

    def reports(self) -> list[Reported]:
        return self.reported

    def report(self, epoch: int) -> StoredReport | None:
        for event in self.reported:
            if event.epoch == epoch:
                return StoredReport(
                    event.report_hash,
                    event.reward_root,
                    event.total,
                    event.unlock_at,
                    event.transmitter,
                )
        return None

    def unlocked(self, epoch: int) -> bool:
        return self.is_unlocked and self.report(epoch) is not None

    def pay(self, epoch: int) -> PayTerms:
        return self.pay_terms

    def budget(self, epoch: int) -> int:
        return self.budgets.get(epoch, 0)

    def claims(self) -> list[Claimed]:
        return self.paid

    def claimed(self, node_key: bytes) -> int:
        return sum(event.amount for event in self.paid if event.node_key == node_key)

    def total_funded(self) -> int:
        return sum(self.budgets.values()) if self.funded is None else self.funded

    def total_claimed(self) -> int:
        return sum(event.amount for event in self.paid)
