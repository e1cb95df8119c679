"""A whole committee on the small network: from a committed epoch to an attested report, without processes."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from audit.agreement import Mesh
from meridian.committee.settlement import Proposal, Settled, Settlement
from meridian.ephemera.context import Context
from meridian.ephemera.effects import Attested, Decided
from meridian.node.chain_view import AcceptedReport
from meridian.node.evaluator import chain_access
from meridian.node.evaluator.chain_access import ChainAccess
from meridian.node.evaluator.work import EpochWork
from node.evaluator.evaluator_world import Net


@dataclass
class Epoch:
    """What the committee did with one epoch."""

    work: EpochWork
    mesh: Mesh
    attested: dict[bytes, Attested] = field(default_factory=dict)

    @property
    def decided(self) -> Decided:
        return next(iter(self.mesh.decided.values()))

    def attest(self, proposal: Proposal) -> Attested:
        if proposal.digest not in self.attested:
            self.mesh.attested.clear()
            self.mesh.attest(proposal.previous, proposal.digest)
            self.attested[proposal.digest] = next(iter(self.mesh.attested.values()))
        return self.attested[proposal.digest]


@dataclass
class Committee:
    net: Net
    settlement: Settlement
    epochs: dict[int, Epoch] = field(default_factory=dict)

    @classmethod
    def of(cls, net: Net) -> "Committee":
        return cls(net, Settlement(net.network.domain(net.network.contracts.evaluations)))

    def decide(self, number: int, work: EpochWork | None = None) -> Epoch:
        """Publish, commit, evaluate and decide an epoch; with `work`, only decide."""
        net = self.net
        if work is None:
            work = net.prepare(net.commit(net.publish(number)))
        keys = sorted(net.accounts.evaluators, key=lambda key: key.address)
        domain = net.network.domain(net.network.contracts.evaluations)
        context = Context(domain, net.network.network_id, number, work.terms.members)
        epoch = Epoch(work, Mesh(context, work.terms.header, keys))
        epoch.mesh.decide(
            {key.address: work.observation.body for key in keys}, work.observation.work
        )
        decided = epoch.decided
        rows = [
            (work.terms.members[row.member], body)
            for row, body in zip(decided.block.rows, decided.bodies, strict=True)
        ]
        self.settlement.prepare(work.terms)
        roots = {work.terms.members[r.member]: r.opening.trace_root for r in decided.block.rows}
        traces = work.observation.traces(roots)
        self.settlement.decided(number, decided.block.hash, rows, traces)
        self.epochs[number] = epoch
        return epoch

    def proposal(self, number: int) -> Proposal:
        [found] = [one for one in self.settlement.open_proposals() if one.epoch == number]
        return found

    def report(self, number: int, access: ChainAccess) -> tuple[AcceptedReport, Settled]:
        """Attest and transmit an epoch's report, and settle it."""
        proposal = self.proposal(number)
        attested = self.epochs[number].attest(proposal)
        assert access.transmit(proposal, attested.signatures, 4) == "accepted"
        accepted = access.news().reports[-1]
        settled = self.settlement.accept(accepted.epoch, accepted.report_hash, accepted.previous)
        assert isinstance(settled, Settled)
        return accepted, settled


def access_of(net: Net, member: int, patch: pytest.MonkeyPatch, journal: Path) -> ChainAccess:
    """Return the access of a member of the committee, in the order of the accounts."""
    patch.setattr(chain_access, "Rpc", lambda _url: net.endpoint)
    return ChainAccess(net.network, net.accounts.evaluators[member], journal)
