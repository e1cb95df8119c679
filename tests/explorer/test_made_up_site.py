"""The made-up site that pages are measured on fits together: the same questions as of a real one, over several groups."""

import pytest
from benchmarks.explorer_site import JOBS_KEPT, make_site

from meridian.measure.proof_form import decode_file
from meridian.primitives.ids import job_key
from meridian.verifier import check, holds
from web.shipped_scripts import shipped_script

NODES, EPOCHS = 1_100, 6
DECIDED = EPOCHS - 4
"""The newest epoch that is decided: its jobs are kept."""


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    site = tmp_path_factory.mktemp("made-up")
    make_site(site, NODES, EPOCHS)
    script = shipped_script(tmp_path_factory.mktemp("scripts"), "site.js", "site_driver.mjs")

    def answers(*questions):
        return script(
            [{"site": str(site), "ask": what, "with": given} for what, *given in questions]
        )

    return answers


def test_epochs_have_every_state_and_their_sums(ask):
    epochs, money = ask(("epochs",), ("money",))
    assert [row["state"] for row in epochs[-4:]] == ["challenge", "committed", "sealed", "open"]
    assert len(epochs) == EPOCHS
    assert int(money["allocated"]) == sum(int(row["allocated"]) for row in epochs)


def test_proofs_over_several_groups_hold_under_the_committed_root(ask):
    [page] = ask(("epoch", DECIDED))
    root = bytes.fromhex(page["commitments"][0]["root"])
    places = (0, 1_023, 1_024, NODES - 1)
    proofs = ask(*(("nodeProof", DECIDED, place) for place in places))
    proofs += ask(*(("jobProof", DECIDED, place, JOBS_KEPT - 1) for place in places))
    for proof in proofs:
        assert holds(check(decode_file(proof.encode()), root))


def test_a_node_is_found_in_the_second_group_and_its_history_is_whole(ask):
    [nodes] = ask(("nodes", DECIDED))
    node = nodes[-1]
    alone, history, by_payee, nobody = ask(
        ("node", DECIDED, node["key"]),
        ("history", node["key"]),
        ("findNodes", node["payee"]),
        ("node", DECIDED, "00" * 32),
    )
    assert alone == node
    assert nobody is None
    assert [row["epoch"] for row in history] == list(range(EPOCHS - 2))
    assert history[DECIDED]["cumulative"] == node["cumulative"]
    assert [one["key"] for one in by_payee] == [node["key"]]


def test_jobs_are_found_among_many_and_claims_are_built(ask):
    [jobs] = ask(("jobs", DECIDED, NODES - 1))
    keys = [job_key(job["jobId"]) for job in jobs]
    assert keys == sorted(keys)
    [found], claim, nodes = ask(
        ("findJobs", jobs[7]["jobId"]), ("claim", "00" * 32), ("nodes", DECIDED)
    )
    assert (found["epoch"], found["index"]) == (DECIDED, 7)
    assert claim is None
    [claim] = ask(("claim", nodes[-1]["key"]))
    assert (claim["size"], claim["index"]) == (NODES, NODES - 1)
    assert claim["cumulative"] == nodes[-1]["cumulative"]


def test_jobs_that_are_not_kept_are_told_apart_from_none(ask):
    assert ask(("jobs", 0, 0), ("jobProof", 0, 0, 0)) == [None, None]
