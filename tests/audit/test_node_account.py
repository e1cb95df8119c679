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
    jobs_of,
    payee,
)
from meridian.audit.node_account import account_of, find_node
from meridian.audit.proof_building import claim_proof, job_proof, node_proof
from meridian.audit.proofs import chain_step, check_proof, encode_document
from meridian.errors import MeridianError, NotFound

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
    for ask in (account_of, node_proof, claim_proof):
        with pytest.raises(NotFound):
            ask(pristine.source, 99, "gamma")


# --- proofs from publications ---------------------------------------------------------------------


def all_hold(world: World, document: dict) -> bool:
    checked = check_proof(encode_document(document))
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
        assert all_hold(pristine, claim_proof(pristine.source, epoch, node_id))


def test_a_proof_of_another_epoch_network_or_root_is_refused_by_the_chain(world: World) -> None:
    source = world.source
    claim = claim_proof(source, 7, "gamma")
    claim["epoch"] = 8
    assert not all_hold(world, claim)
    claim["epoch"] = 99
    assert not all_hold(world, claim)
    node = node_proof(source, EPOCH, "gamma")
    node["network"] = "other"
    assert not all_hold(world, node)
    node["network"] = "testnet"
    assert all_hold(world, node)
    world.chain.committed.pop()
    assert not all_hold(world, node)


def test_a_job_that_does_not_exist_is_not_found(pristine: World) -> None:
    with pytest.raises(NotFound, match="has no job 'job-8-999'"):
        job_proof(pristine.source, EPOCH, "gamma", "job-8-999")


def test_an_address_in_other_letters_proves_the_node_as_it_is_written(pristine: World) -> None:
    for ask in (node_proof, claim_proof):
        document = ask(pristine.source, EPOCH, ADDRESS_NODE.lower())
        assert document["node_id"] == ADDRESS_NODE
        assert all_hold(pristine, document)


def test_claims_are_proved_from_any_publisher_that_has_them(world: World) -> None:
    record = world.record(EVALUATORS[0], EPOCH)
    for publication in EVALUATORS[:3]:
        world.path(publication, record.claims).write_bytes(b"broken")
    assert all_hold(world, claim_proof(world.source, EPOCH, "gamma"))
    world.path(EVALUATORS[3], record.claims).unlink()
    with pytest.raises(MeridianError, match="no publication"):
        claim_proof(world.source, EPOCH, "gamma")
