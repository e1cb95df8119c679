"""What an evaluator publishes is all that the audit needs, and the audit finds it right."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from meridian.audit.epoch import verify_epoch_evidence
from meridian.audit.evidence import State
from meridian.audit.record import OutcomeRecord
from meridian.committee.settlement import Settlement
from meridian.errors import InvalidInput
from meridian.journey.outcome import Publications, read_epoch, run_result
from meridian.measure.manifest import Manifest
from meridian.measure.signed_note import verifier_of
from meridian.node.audit_chain import ContractChain
from meridian.node.audit_sources import PublishedSource, network_values
from meridian.node.evaluator.publish import Evidence, publish_outcome
from meridian.node.evaluator.resume import ledger_of_others
from meridian.node.measure.publication import Publication
from meridian.node.measure.published_log import PublishedLog, SignedState
from meridian.node.measure.seal import record_of
from meridian.primitives.cid import cid_text, parse_cid
from meridian.reward.claims import ClaimsState
from node.evaluator.evaluator_committee import Committee, access_of
from node.evaluator.evaluator_world import NAME, Net

LOG_SEED = b"\x09" * 32
ORIGIN = f"log.{NAME}"


def publish_measure(net: Net, manifests: list[Manifest]) -> None:
    """Publish what the measure service publishes."""
    public = Publication(net.root / "measure/public")
    state = SignedState(net.root / "log.signed")
    log = PublishedLog(net.root / "measure/public/log", state, ORIGIN, LOG_SEED)
    for data in net.objects.values():
        public.put(data)
    for place, manifest in enumerate(manifests):
        public.write_index(
            manifest.epoch, {"epoch": manifest.epoch, "manifest": cid_text(manifest.digest)}
        )
        log.append(place, record_of(manifest).encode())


@pytest.fixture
def published(net: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Net:
    """Two epochs, reported in the other order and published by one evaluator."""
    net.network = replace(net.network, log_vkey=verifier_of(ORIGIN, LOG_SEED).text)
    committee, manifests = Committee.of(net), []
    for number in (5, 6):
        committee.decide(number)
        manifests.append(
            Manifest.decode(net.fetch(committee.epochs[number].work.commitment.manifest))
        )
    publish_measure(net, manifests)
    access = access_of(net, 0, monkeypatch, tmp_path / "transactions.sqlite")
    public = Publication(net.root / "evaluators/1/public")
    for number in (6, 5):
        epoch = committee.epochs[number]
        accepted, settled = committee.report(number, access)
        evidence = Evidence(
            commitment=epoch.work.commitment,
            terms=epoch.work.terms,
            settled=settled,
            decided=epoch.decided,
            observation=epoch.work.observation,
            accepted=accepted,
            signatures=access.accepted_signatures(accepted),
            node_ids=epoch.work.node_ids,
        )
        digest = publish_outcome(public, evidence)
        assert publish_outcome(public, evidence) == digest, "again changes nothing"
    access.close()
    return net


def record_at(net: Net, number: int) -> OutcomeRecord:
    public = net.root / "evaluators/1/public"
    index = json.loads((public / "epochs" / f"{number:06d}.outcome.json").read_text())
    return OutcomeRecord.decode(Publication(public).get(parse_cid(index["outcome"])[1]))


@pytest.mark.parametrize("number", [5, 6])
def test_every_link_of_the_published_epochs_holds(published: Net, number: int) -> None:
    network = published.network
    source = PublishedSource(
        published.root,
        network.publications,
        network_values(network),
        ContractChain(published.endpoint, network),
    )
    links = verify_epoch_evidence(source, number)
    broken = [(link.name, link.detail, link.items) for link in links if link.state is State.BROKEN]
    assert not broken
    assert sum(link.state is State.HOLDS for link in links) >= len(links) - 1  # nobody has claimed


def test_the_record_names_what_the_chain_accepted(published: Net) -> None:
    reports = {report.epoch: report for report in published.view.reported()}
    for number in (5, 6):
        record, report = record_at(published, number), reports[number]
        assert record.report_hash == report.report_hash
        assert record.transmitter == report.transmitter
        assert record.report.previous == report.previous
        assert record.members == published.view.committee(number)
        assert len(record.signatures) == 3


def test_the_later_reports_claims_start_from_the_earlier_ones(published: Net) -> None:
    first, second = record_at(published, 6), record_at(published, 5)
    assert first.previous_claims is None
    assert second.previous_claims == first.claims
    public = Publication(published.root / "evaluators/1/public")
    before, after = (ClaimsState.decode(public.get(one.claims)) for one in (first, second))
    assert after.total == 2 * before.total > 0
    assert set(after.claims) == set(before.claims)


def test_the_run_reads_the_same_back(published: Net) -> None:
    network, view = published.network, published.view
    publications = Publications(network.directories(published.root))
    committed = {one.epoch: one for one in view.committed()}
    epochs = []
    for report in view.reported():
        item = read_epoch(publications, view, committed[report.epoch], report)
        assert item is not None
        assert item.outcome.reward_root == report.reward_root
        assert item.outcome.total == report.total
        assert json.loads(item.seed_result)["epoch"] == str(report.epoch)
        epochs.append(item)
    document = run_result(published.endpoint, network, epochs)
    assert [entry["epoch"] for entry in document["epochs"]] == [5, 6]
    for entry in document["epochs"]:
        assert entry["paid_atto"] == "0"
        assert (entry["gas"]["commit"] > 0, entry["gas"]["report"] > 0) == (True, True)
        assert entry["gas"]["claim"] == 0


def test_an_outcome_of_another_report_is_not_taken(published: Net) -> None:
    publications = Publications(published.network.directories(published.root))
    assert publications.outcome(5, b"\x00" * 32) is None
    assert publications.outcome(7, record_at(published, 5).report_hash) is None


def test_a_damaged_copy_is_passed_over_for_a_whole_one(published: Net, tmp_path: Path) -> None:
    digest = record_at(published, 5).block
    good = published.root / "evaluators/1/public"
    bad = tmp_path / "bad"
    (bad / "objects").mkdir(parents=True)
    (bad / "objects" / cid_text(digest)).write_bytes(b"something else")
    data = Publications([bad, good]).object(digest)
    assert data == Publication(good).get(digest)


def test_who_had_no_seat_goes_on_from_the_claims_that_others_published(
    published: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A joiner computes its first report on claims that it had no part in; the root on chain proves them."""
    access = access_of(published, 0, monkeypatch, tmp_path / "joiner.sqlite")
    reports = access.news().reports
    access.close()
    empty, public = tmp_path / "empty", published.root / "evaluators/1/public"
    joiner = Settlement(published.network.domain(published.network.contracts.evaluations))
    for report in reports:
        ledger = ledger_of_others([empty, published.root / "measure/public", public], report)
        assert ledger is not None
        assert ledger.claims.reward_root == report.reward_root
        joiner.pass_over(report.epoch, report.report_hash, report.previous, ledger)
    assert joiner.head == reports[-1].report_hash
    assert not empty.exists()
    with pytest.raises(InvalidInput, match="previous"):
        joiner.pass_over(9, reports[0].report_hash, reports[0].previous, ledger)
    assert ledger_of_others([empty], reports[0]) is None
    forged = replace(reports[0], reward_root=bytes(32))
    assert ledger_of_others([public], forged) is None
