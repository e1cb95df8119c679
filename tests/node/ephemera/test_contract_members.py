"""Members from the real contracts: the committee of the newest open epoch, with its registered links."""

from collections.abc import Iterator
from typing import Any

import pytest

from meridian.errors import RemoteFault
from meridian.node.ephemera import contract_members
from meridian.node.ephemera.contract_members import ContractMembers
from meridian.node.ephemera.members_file import write_members
from meridian.node.ephemera.membership import FileHints, Membership
from meridian.node.links import Peer
from node.evaluator.evaluator_world import Net, make_net


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    net = make_net(tmp_path_factory.mktemp("net"))
    net.network.save(net.root)
    yield net
    net.endpoint.chain.close()


class Kept:
    """The chain in this process, which closing does not end."""

    def __init__(self, endpoint: Any) -> None:
        self.call, self.batch = endpoint.call, endpoint.batch

    def close(self) -> None:
        """Nothing to close."""


async def test_the_committee_and_its_links(net, tmp_path, monkeypatch):
    monkeypatch.setattr(contract_members, "Rpc", lambda _url, _timeout: Kept(net.endpoint))
    source = ContractMembers(net.root)
    found = await source.fetch()
    assert found.number == 1
    assert source.network == net.network.network
    assert found.realm.network == net.network.network_id
    assert found.realm.domain.contract == net.network.contracts.evaluations
    known = {e.address: (e.link_key, e.host, e.port) for e in net.network.evaluators}
    assert {p.address: (p.link_key, p.host, p.port) for p in found.members} == known

    moved = [("", Peer(p.address, p.link_key, "10.0.0.9", 77)) for p in found.members]
    path = tmp_path / "members.toml"
    write_members(path, number=9, network="x", realm=found.realm, members=moved)
    membership = Membership(source, [FileHints(path)], tmp_path)
    present = await membership.first()
    assert (present.number, {p.port for p in present.members}) == (1, {77})
    await membership.accept(present)

    def away(_url: str, _timeout: float) -> Kept:
        raise RemoteFault("the chain is away")

    monkeypatch.setattr(contract_members, "Rpc", away)
    assert await membership.refresh() is None
    assert membership.problem == "the chain is away"
    again = Membership(ContractMembers(net.root), [], tmp_path)
    assert await again.first() == present  # the last known set, from our own disk
