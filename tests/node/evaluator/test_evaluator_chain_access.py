"""An evaluator and the real contracts: news read once, reports brought once, signatures taken from the chain."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from meridian.contracts.calldata import signature_words
from meridian.contracts.statements import Transmission
from meridian.errors import InvalidInput, RemoteFault
from meridian.node.chain.sender import Sender
from meridian.node.chain_view import AcceptedReport
from meridian.node.evaluator.chain_access import ChainAccess
from node.evaluator.evaluator_committee import Committee, access_of
from node.evaluator.evaluator_world import Net


@pytest.fixture
def access(net: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChainAccess]:
    one = access_of(net, 0, monkeypatch, tmp_path / "transactions.sqlite")
    yield one
    one.close()


@pytest.fixture
def committee(net: Net) -> Committee:
    return Committee.of(net)


def asked_from(net: Net) -> list[int]:
    """Return the first blocks of all log queries since the last look."""
    found = [
        int(params[0]["fromBlock"], 16)
        for method, params in net.endpoint.asked
        if method == "eth_getLogs"
    ]
    net.endpoint.asked.clear()
    return found


def test_before_the_first_commitment_there_is_no_news(access: ChainAccess) -> None:
    news = access.news()
    assert (news.commitments, news.reports) == ({}, [])


def test_news_hold_every_commitment_and_report_once(
    access: ChainAccess, committee: Committee
) -> None:
    committee.decide(5)
    assert set(access.news().commitments) == {5}
    assert access.news().commitments[5] == committee.epochs[5].work.commitment
    committee.decide(6)
    first, _ = committee.report(6, access)
    second, _ = committee.report(5, access)
    for _ in range(3):
        news = access.news()
        assert set(news.commitments) == {5, 6}
        assert [one.epoch for one in news.reports] == [6, 5], "in the order of their chain"
        assert [one.previous for one in news.reports] == [bytes(32), first.report_hash]
    assert second.total == 2 * first.total


def test_only_new_blocks_are_read(access: ChainAccess, committee: Committee, net: Net) -> None:
    access.news()
    head = int(net.endpoint.call("eth_blockNumber"), 16)
    asked_from(net)
    access.news()
    assert not asked_from(net)
    committee.decide(5)
    asked_from(net)
    assert set(access.news().commitments) == {5}
    assert set(asked_from(net)) == {head + 1}
    access.news()
    assert not asked_from(net)


def test_a_fault_loses_no_news(access: ChainAccess, committee: Committee, net: Net) -> None:
    access.news()
    committee.decide(5)
    net.endpoint.away = True
    with pytest.raises(RemoteFault):
        access.news()
    net.endpoint.away = False
    assert set(access.news().commitments) == {5}


def test_a_fault_between_the_two_queries_loses_no_news(
    access: ChainAccess, committee: Committee, monkeypatch: pytest.MonkeyPatch
) -> None:
    committee.decide(5)
    committee.report(5, access)
    committee.decide(6)

    def fault(_known: list[AcceptedReport], _block: int) -> None:
        raise RemoteFault("just now")

    with monkeypatch.context() as patch:
        patch.setattr(access.view, "follow_reports", fault)
        with pytest.raises(RemoteFault):
            access.news()
    assert [one.epoch for one in access.news().reports] == [5]
    assert set(access.news().commitments) == {5, 6}


def test_a_report_is_brought_once_whoever_tries_again(
    access: ChainAccess,
    committee: Committee,
    net: Net,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    committee.decide(5)
    proposal = committee.proposal(5)
    signatures = committee.epochs[5].attest(proposal).signatures
    assert not access.is_reported(5)
    assert access.transmit(proposal, signatures, 4) == "accepted"
    assert access.is_reported(5)
    assert access.transmit(proposal, signatures, 4) == "accepted", "the same transaction"
    other = access_of(net, 1, monkeypatch, tmp_path / "other.sqlite")
    assert other.transmit(proposal, signatures, 4) == "evaluations: reported"
    other.close()
    [report] = access.news().reports
    assert report.transmitter == net.accounts.evaluators[0].address
    assert (report.report_hash, report.total) == (proposal.digest, proposal.report.total)


def test_a_report_on_an_old_head_is_refused_and_the_new_one_accepted(
    access: ChainAccess, committee: Committee
) -> None:
    for number in (5, 6):
        committee.decide(number)
    stale = committee.proposal(6)
    signatures = committee.epochs[6].attest(stale).signatures
    committee.report(5, access)
    assert access.transmit(stale, signatures, 4) == "evaluations: previous"
    accepted, _ = committee.report(6, access)
    assert accepted.report_hash != stale.digest


def test_too_few_signatures_or_a_strangers_are_refused(
    access: ChainAccess, committee: Committee, net: Net
) -> None:
    committee.decide(5)
    proposal = committee.proposal(5)
    signatures = committee.epochs[5].attest(proposal).signatures
    assert access.transmit(proposal, signatures[:2], 4) == "evaluations: quorum"
    stranger = net.accounts.sponsor
    mixed = sorted([*signatures[:2], (stranger.address, stranger.sign(proposal.digest))])
    assert access.transmit(proposal, mixed, 4) in {"evaluations: signer", "evaluations: order"}
    assert not access.is_reported(5)


def test_the_accepted_signatures_are_those_that_were_sent(
    access: ChainAccess, committee: Committee, net: Net
) -> None:
    committee.decide(5)
    sent = committee.epochs[5].attest(committee.proposal(5)).signatures
    report, _ = committee.report(5, access)
    found = access.accepted_signatures(report)
    assert found == list(sent[:3])
    signers = [signer for signer, _ in found]
    assert signers == sorted(signers)
    assert set(signers) <= set(net.view.committee(5))


def forwarder(target: bytes) -> bytes:
    """Creation code of a contract that passes every call on to `target`."""
    runtime = (
        bytes.fromhex("365f5f375f5f365f5f73") + target + bytes.fromhex("5af115602557005b5f5ffd")
    )
    size = len(runtime)
    return bytes((0x60, size, 0x60, 10, 0x5F, 0x39, 0x60, size, 0x5F, 0xF3)) + runtime


def test_a_report_that_a_contract_passed_on_says_nothing_of_its_signatures(
    access: ChainAccess, committee: Committee, net: Net
) -> None:
    """Its calldata looks like `submit`, but whoever wrote that contract wrote those signatures too."""
    committee.decide(5)
    proposal = committee.proposal(5)
    signatures = committee.epochs[5].attest(proposal).signatures
    key = net.accounts.evaluators[2]
    domain = net.network.domain(net.network.contracts.evaluations)
    says = Transmission(net.network.network_id, 5, proposal.digest)
    data = net.view.evaluations.encode(
        "submit",
        proposal.report.values,
        signature_words(key.sign(says.digest(domain))),
        [signature_words(signature) for _, signature in signatures],
    )
    sender = net.sender("relayer")
    target = net.network.contracts.evaluations
    made = sender.transact(None, forwarder(target), purpose="forwarder").contract_address
    sender.transact(made, data, purpose="forwarded")
    sender.close()
    [report] = access.news().reports
    assert (report.epoch, report.report_hash) == (5, proposal.digest)
    with pytest.raises(InvalidInput, match="does not call Evaluations itself"):
        access.accepted_signatures(report)


def test_a_transaction_that_the_endpoint_has_forgotten_is_a_fault_and_no_crash(
    access: ChainAccess, committee: Committee, monkeypatch: pytest.MonkeyPatch, net: Net
) -> None:
    committee.decide(5)
    report, _ = committee.report(5, access)
    call = net.endpoint.call

    def forgetful(method: str, *params: object) -> object:
        return None if method == "eth_getTransactionByHash" else call(method, *params)

    monkeypatch.setattr(net.endpoint, "call", forgetful)
    with pytest.raises(RemoteFault, match="is not shown"):
        access.accepted_signatures(report)


def test_news_follow_who_registers_and_who_leaves(access: ChainAccess, net: Net) -> None:
    known = access.news().evaluators
    entries = {entry.address: entry for entry in net.network.evaluators}
    assert known.keys() == entries.keys()
    for address, one in known.items():
        entry = entries[address]
        assert (one.link_key, one.place, one.is_active) == (
            entry.link_key,
            (entry.host, entry.port),
            True,
        )
    leaver = net.accounts.evaluators[0]
    sender = Sender(net.endpoint, leaver, net.root / "leaver.sqlite")
    registry = net.view.registry
    sender.transact(registry.address, registry.encode("leave_evaluator"), purpose="leave")
    sender.close()
    for _ in range(2):
        known = access.news().evaluators
        assert [a for a, one in known.items() if not one.is_active] == [leaver.address]
        assert known[leaver.address].link_key == entries[leaver.address].link_key
