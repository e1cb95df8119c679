"""Members that look in vain say so in files; a quorum of good signatures, and nothing less, closes an epoch."""

from dataclasses import replace
from pathlib import Path

import pytest

from meridian.contracts.statements import Unavailable
from meridian.node.chain.sender import NotMined
from meridian.node.evaluator.unavailable import collect, publish_statement
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey, recover
from node.evaluator.evaluator_committee import access_of
from node.evaluator.evaluator_world import Net

KEYS = [PrivateKey(bytes([i]) * 32) for i in range(1, 6)]
MEMBERS = sorted(key.address for key in KEYS[:4])
DOMAIN = Domain(chain_id=31337, contract=Address(b"\xe0" * 20))
STATEMENT = Unavailable(b"\x01" * 32, 7, b"\x02" * 32)


def roots(home: Path) -> list[Path]:
    return [home / str(number) for number in range(6)]


def test_three_of_four_members_are_a_quorum_and_come_ascending(tmp_path: Path) -> None:
    places = roots(tmp_path)
    for place, key in zip(places[:2], KEYS, strict=False):
        publish_statement(place, STATEMENT, key, DOMAIN)
    assert collect(places, STATEMENT, MEMBERS, DOMAIN) is None
    publish_statement(places[2], STATEMENT, KEYS[2], DOMAIN)
    found = collect(places, STATEMENT, MEMBERS, DOMAIN)
    assert found is not None
    assert [signer for signer, _ in found] == sorted(key.address for key in KEYS[:3])
    for signer, signature in found:
        assert recover(STATEMENT.digest(DOMAIN), signature) == signer


def test_strangers_copies_garbage_and_other_statements_count_for_nothing(tmp_path: Path) -> None:
    places = roots(tmp_path)
    publish_statement(places[0], STATEMENT, KEYS[0], DOMAIN)
    publish_statement(places[1], STATEMENT, KEYS[0], DOMAIN)
    publish_statement(places[2], STATEMENT, KEYS[4], DOMAIN)
    other = Unavailable(STATEMENT.network, 7, b"\x03" * 32)
    publish_statement(places[3], other, KEYS[1], DOMAIN)
    publish_statement(places[4], STATEMENT, KEYS[2], DOMAIN)
    for garbage in (b"", b"[]", b'{"signature": "xx"}', b"\xff" * 5000):
        (places[5] / "unavailable").mkdir(parents=True, exist_ok=True)
        (places[5] / "unavailable" / "000007.json").write_bytes(garbage)
        assert collect(places, STATEMENT, MEMBERS, DOMAIN) is None


def test_the_contract_closes_the_epoch_with_a_quorum_and_not_before(
    net: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "transactions.sqlite"
    access = access_of(net, 0, monkeypatch, journal)
    commitment = net.commit(net.publish(5))
    domain = net.network.domain(net.network.contracts.evaluations)
    statement = Unavailable(net.network.network_id, 5, commitment.digest)
    places = roots(tmp_path)
    for place, key in zip(places[:2], net.accounts.evaluators, strict=False):
        publish_statement(place, statement, key, domain)
    assert access.close_unavailable(statement, places) is None
    publish_statement(places[2], statement, net.accounts.evaluators[2], domain)
    wrong = Unavailable(net.network.network_id, 5, bytes(32))
    for place, key in zip(places[3:], net.accounts.evaluators, strict=False):
        publish_statement(place, wrong, key, domain)
    refused = access.close_unavailable(wrong, places[3:])
    assert refused is not None
    assert refused.startswith("evaluations: "), "about another commitment"
    assert access.news().abandoned == set()
    access.close()
    careful = replace(net.network, confirmations=1_000, transaction_wait_s=0.2)
    access = access_of(replace(net, network=careful), 0, monkeypatch, journal)
    with pytest.raises(NotMined, match=r"after 0\.2 s"):  # as the network file says
        access.close_unavailable(statement, places)
    assert access.news().abandoned == {5}
    access.close()
    access = access_of(net, 0, monkeypatch, journal)
    assert access.close_unavailable(statement, places) == "accepted"
    assert access.news().abandoned == {5}
    access.close()
