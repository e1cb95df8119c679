"""A node's account of an epoch: every job of its own, its reward and its claim, whatever one bad publisher does."""

from dataclasses import replace

import pytest

from audit.audit_world import (
    ADDRESS_NODE,
    BUDGET,
    EVALUATORS,
    MEASURE,
    NODE_IDS,
    World,
    commit,
    jobs_of,
    payee,
)
from meridian.audit.node_account import account_of, find_node
from meridian.audit.proof_building import absence_proof, claim_proof, job_proof, node_proof
from meridian.audit.proofs import chain_step, check_file
from meridian.errors import MeridianError, NotFound
from meridian.measure.proof_form import encode_json
from meridian.primitives.ids import node_key
from meridian.verifier import Name, ProofFile

EPOCH = 8


def own_jobs(node_id: str) -> list[dict]:
    return [row for row in jobs_of(EPOCH).to_pylist() if row["node_id"] == node_id]


@pytest.mark.parametrize("node_id", NODE_IDS)
def test_an_account_counts_the_node_s_own_jobs(pristine: World, node_id: str) -> None:
    account = account_of(pristine.source, EPOCH, node_id)
    jobs = own_jobs(node_id)
    failed = sum(row["status code"] != 200 for row in jobs)
    assert account.jobs == len(jobs)
    assert account.late == sum(row["flags"] for row in jobs)
    assert account.succeeded == len(jobs) - failed == account.weight
    assert account.failures == ({"unsuccessful": failed} if failed else {})
    assert account.payee == payee(node_id)
    assert account.notes == ()


def test_the_accounts_of_all_nodes_add_up_to_the_budget(pristine: World) -> None:
    accounts = [account_of(pristine.source, EPOCH, node_id) for node_id in NODE_IDS]
    assert sum(account.reward_atto or 0 for account in accounts) == BUDGET
    assert sum(account.cumulative_atto or 0 for account in accounts) == 2 * BUDGET
    shares = [account.proportion or "" for account in accounts]
    assert sum(int(share.replace(".", "")) for share in shares) == 10**18


def test_claim_status_follows_the_chain(world: World) -> None:
    def status(node_id: str) -> str:
        return account_of(world.source, EPOCH, node_id).claim_status

    assert status("beta") == "claimed"
    assert status("gamma") == "claimable"
    world.chain.is_unlocked = False
    assert status("gamma") == "window open"
    assert status("beta") == "claimed"
    world.chain.reported.pop()
    assert status("gamma") == "not reported"


def test_a_bad_publisher_does_not_change_an_account(world: World) -> None:
    expected = account_of(world.source, EPOCH, "gamma")
    record = world.record(EVALUATORS[0], EPOCH)
    for digest in (record.digest, record.block, record.claims, record.verdicts, *record.rows):
        path = world.path(EVALUATORS[1], digest)
        if path.exists():
            path.write_bytes(b"broken")
    (world.root / EVALUATORS[2] / "epochs" / "000008.outcome.json").write_bytes(b"{")
    assert account_of(world.source, EPOCH, "gamma") == expected


def test_a_publisher_of_a_forged_record_does_not_change_an_account(world: World) -> None:
    expected = account_of(world.source, EPOCH, "gamma")
    record = world.record(EVALUATORS[0], EPOCH)
    world.publish_record(EVALUATORS[0], replace(record, rows=record.rows[::-1]))
    assert account_of(world.source, EPOCH, "gamma") == expected
    for publication in EVALUATORS:
        world.publish_record(publication, replace(record, rows=record.rows[::-1]))
    account = account_of(world.source, EPOCH, "gamma")
    assert (account.jobs, account.weight) == (expected.jobs, None)
    assert any(note.startswith("rows: ") for note in account.notes)


def test_before_the_report_jobs_are_counted_and_the_rest_is_open(world: World) -> None:
    world.chain.reported.pop()
    account = account_of(world.source, EPOCH, "gamma")
    assert account.jobs == len(own_jobs("gamma"))
    assert account.weight is None
    assert not account.deferred
    assert (account.reward_atto, account.proportion, account.cumulative_atto) == (None, None, None)


def test_jobs_that_cannot_be_rebuilt_are_an_error_that_names_the_link(world: World) -> None:
    segment = world.manifest(EPOCH).segments[0].digest
    world.path(MEASURE, segment).write_bytes(b"broken")
    with pytest.raises(MeridianError, match="segments"):
        account_of(world.source, EPOCH, "gamma")


@pytest.mark.parametrize("text", [ADDRESS_NODE, ADDRESS_NODE.lower(), ADDRESS_NODE.upper()])
def test_addresses_are_found_in_any_letter_case(text: str) -> None:
    assert NODE_IDS[find_node(NODE_IDS, text)] == ADDRESS_NODE


def test_an_unknown_node_is_answered_with_the_nearest_ids(pristine: World) -> None:
    with pytest.raises(NotFound, match="nearest are gamma"):
        account_of(pristine.source, EPOCH, "gama")
    with pytest.raises(NotFound, match="ALPHA"):
        account_of(pristine.source, EPOCH, "ALPHA")
    with pytest.raises(NotFound, match="has no nodes"):
        find_node((), "alpha")


def test_an_uncommitted_epoch_is_not_found(pristine: World) -> None:
    for ask in (account_of, node_proof, absence_proof, claim_proof):
        with pytest.raises(NotFound):
            ask(pristine.source, 99, "gamma")


# --- proofs from publications ---------------------------------------------------------------------


def changed(file: ProofFile, **fields: object) -> ProofFile:
    return ProofFile(file.kind, {**file.fields, **fields})


def all_hold(world: World, file: ProofFile) -> bool:
    checked = check_file(encode_json(file))
    assert checked.failed is None
    return chain_step(checked, world.chain, world.source.network.network_id).ok


@pytest.mark.parametrize("node_id", NODE_IDS)
def test_every_job_node_and_claim_can_be_proved_against_the_chain(
    pristine: World, node_id: str
) -> None:
    for row in own_jobs(node_id):
        assert all_hold(pristine, job_proof(pristine.source, EPOCH, node_id, row["job_id"]))
    assert all_hold(pristine, node_proof(pristine.source, EPOCH, node_id))
    for epoch in (7, 8):
        assert all_hold(pristine, claim_proof(pristine.source, epoch, node_id).file)


@pytest.mark.parametrize("job_id", [None, "job-8-1"])
def test_a_stranger_is_absent_and_in_an_empty_epoch_everybody_is(
    world: World, job_id: str | None
) -> None:
    world.chain.budgets[9] = BUDGET
    commit(world, 9)
    strangers = sorted((f"stranger-{number}" for number in range(200)), key=node_key)
    edges = set()
    for epoch, node_id in (*((EPOCH, one) for one in strangers[::199]), (9, "gamma")):
        file = absence_proof(world.source, epoch, node_id, job_id)
        assert (file.kind, file.fields.get("job_id")) == ("absent_node", None)
        assert all_hold(world, file)
        edges.add((file.fields["left"] is None, file.fields["right"] is None))
    assert edges == {(True, False), (False, True), (True, True)}
    assert all_hold(world, absence_proof(world.source, EPOCH, strangers[100], job_id))


def test_jobs_that_a_node_does_not_have_are_absent_in_all_gaps(pristine: World) -> None:
    edges = set()
    for number in range(100, 140):
        file = absence_proof(pristine.source, EPOCH, "gamma", f"job-8-{number}")
        assert (file.kind, file.fields.get("job_id")) == ("absent_job", Name.of(f"job-8-{number}"))
        assert all_hold(pristine, file)
        edges.add((file.fields["left"] is None, file.fields["right"] is None))
    assert edges == {(True, False), (False, False), (False, True)}
    assert all_hold(pristine, absence_proof(pristine.source, EPOCH, "gamma", "job-7-1"))


def test_what_was_counted_cannot_be_proved_absent(pristine: World) -> None:
    with pytest.raises(MeridianError, match="node 'gamma' is not absent"):
        absence_proof(pristine.source, EPOCH, "gamma")
    with pytest.raises(MeridianError, match="job 'job-8-2' of node 'gamma' is not absent"):
        absence_proof(pristine.source, EPOCH, "gamma", "job-8-2")


def test_no_address_is_called_absent_for_its_letters(pristine: World) -> None:
    other = ADDRESS_NODE.lower()
    with pytest.raises(MeridianError, match=f"node '{ADDRESS_NODE}' is not absent"):
        absence_proof(pristine.source, EPOCH, other)
    file = absence_proof(pristine.source, EPOCH, other, "job-7-1")
    assert (file.kind, file.fields["node_id"].id) == ("absent_job", ADDRESS_NODE)


def test_a_proof_of_another_epoch_network_or_root_is_refused_by_the_chain(world: World) -> None:
    source = world.source
    claim = claim_proof(source, 7, "gamma").file
    for epoch in (8, 99):
        assert not all_hold(world, changed(claim, epoch=epoch))
    for node in (
        node_proof(source, EPOCH, "gamma"),
        absence_proof(source, EPOCH, "stranger"),
        absence_proof(source, EPOCH, "gamma", "job-7-1"),
    ):
        assert not all_hold(world, changed(node, network="other"))
        assert all_hold(world, node)
        chain = replace(world.chain, committed=[])
        assert not all_hold(replace(world, chain=chain), node)


def test_a_job_that_does_not_exist_is_not_found(pristine: World) -> None:
    with pytest.raises(NotFound, match="has no job 'job-8-999'"):
        job_proof(pristine.source, EPOCH, "gamma", "job-8-999")


def test_an_address_in_other_letters_proves_the_node_as_it_is_written(pristine: World) -> None:
    other = ADDRESS_NODE.lower()
    for file in (
        node_proof(pristine.source, EPOCH, other),
        claim_proof(pristine.source, EPOCH, other).file,
    ):
        assert file.fields["node_id"].id == ADDRESS_NODE
        assert all_hold(pristine, file)


def test_claims_are_proved_from_any_publisher_that_has_them(world: World) -> None:
    record = world.record(EVALUATORS[0], EPOCH)
    for publication in EVALUATORS[:3]:
        world.path(publication, record.claims).write_bytes(b"broken")
    assert all_hold(world, claim_proof(world.source, EPOCH, "gamma").file)
    world.path(EVALUATORS[3], record.claims).unlink()
    with pytest.raises(MeridianError, match="no publication"):
        claim_proof(world.source, EPOCH, "gamma")
