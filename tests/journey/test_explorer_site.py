"""The explorer's site of a real run: what its files say is what chain, audit and proofs say.

The pages' own reader answers, in Node, from the files that the builder wrote.
"""

import contextlib
import shutil
from dataclasses import replace

import pytest

from journey.system import looks
from meridian.audit.epoch import audit_epoch
from meridian.audit.node_account import GoodCopies, account_of
from meridian.audit.proof_building import claim_proof
from meridian.evaluate.function import OK
from meridian.evaluate.reliability import PPM, Standing, agreement_ppm, reliability_rule
from meridian.evaluate.row import Row
from meridian.measure.proof_form import decode_file
from meridian.node.audit_sources import CHAIN_FILE, embedded_chain, open_source
from meridian.node.explorer.site_builder import SiteBuilder
from meridian.node.network_file import NetworkFile
from meridian.primitives.fil_address import fil_text
from meridian.primitives.ids import Address, address_text, parse_address
from meridian.verifier import check, holds
from web.shipped_scripts import shipped_script


@pytest.fixture(scope="module")
def run(finished, tmp_path_factory):
    """A copy of a finished run, whose chain is served for as long as the module lasts."""
    data_dir = tmp_path_factory.mktemp("served") / "run"
    shutil.copytree(finished[0], data_dir)
    network = NetworkFile.load(data_dir)
    with embedded_chain(data_dir / CHAIN_FILE, network.chain_id) as url:
        replace(network, rpc_url=url).save(data_dir)
        yield data_dir


@pytest.fixture(scope="module")
def source(run):
    with open_source(run) as opened:
        yield opened


@pytest.fixture(scope="module")
def site(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    done = looks("web", "build", run, "--out", out, "--json")
    assert done.document["changed"] == [1, 2]
    return out


@pytest.fixture(scope="module")
def ask(site, tmp_path_factory):
    """Many questions at once: (what, *arguments) -> answers."""
    script = shipped_script(tmp_path_factory.mktemp("scripts"), "site.js", "site_driver.mjs")

    def answers(*questions):
        return script(
            [{"site": str(site), "ask": what, "with": given} for what, *given in questions]
        )

    return answers


@pytest.fixture(scope="module")
def audited(source):
    """Epoch -> what `meridian verify` recomputes."""
    return {epoch: audit_epoch(GoodCopies(source), epoch)[0] for epoch in (1, 2)}


def test_epochs_and_money_are_the_chains(ask, source):
    epochs, money, network = ask(("epochs",), ("money",), ("network",))
    assert [row["epoch"] for row in epochs] == [1, 2]
    assert {row["state"] for row in epochs} == {"paid"}
    chain = source.chain
    reports = list(chain.reports())
    for row, report in zip(epochs, reports, strict=True):
        assert int(row["budget"]) == chain.budget(row["epoch"])
        assert row["unlockAtS"] == report.unlock_at
        assert row["members"] == len(chain.committee(row["epoch"]))
        assert 0 < int(row["paid"]) <= int(row["allocated"]) <= int(row["budget"])
    assert (
        sum(int(row["allocated"]) for row in epochs) == reports[-1].total == int(money["allocated"])
    )
    assert int(money["claimed"]) == chain.total_claimed() == sum(int(row["paid"]) for row in epochs)
    assert int(money["funded"]) == chain.total_funded()
    assert network["networkId"] == source.network.network_id.hex()


def test_nodes_and_matrix_are_what_the_audit_recomputes(ask, audited):
    for epoch, case in audited.items():
        nodes, cells, page = ask(("nodes", epoch), ("cells", epoch), ("epoch", epoch))
        assert [node["id"] for node in nodes] == list(case.nodes.ids)
        assert [node["key"] for node in nodes] == [key.hex() for key in case.nodes.keys]
        assert [node["payee"] for node in nodes] == list(map(address_text, case.nodes.payees))
        assert [node["jobs"] for node in nodes] == list(case.nodes.job_counts)
        assert [int(node["weight"]) for node in nodes] == list(case.weights)
        assert [int(node["amount"]) for node in nodes] == list(case.outcome.amounts)
        claims = case.outcome.claims.claims
        for node, key in zip(nodes, case.nodes.keys, strict=True):
            assert int(node["cumulative"]) == (claims[key].cumulative if key in claims else 0)
        summary = dict(zip(case.evaluation.reasons, [0] * 99, strict=False))
        for code in case.evaluation.verdicts:
            summary[case.evaluation.reasons[code]] += 1
        assert {one["reason"]: one["jobs"] for one in page["verdicts"]} == summary
        assert page["blockHash"] == case.block.hash.hex()
        assert page["commitments"][0]["root"] == case.committed.root.hex()
        assert page["reports"][0]["hash"] == case.stored.hash.hex()
        assert page["reports"][0]["verdictRoot"] == case.report.verdict_root.hex()
        signers = {parse_address(one) for one in page["reports"][0]["signers"]}
        assert signers <= set(case.context.members)
        assert len(signers) >= case.context.quorum
        assert [parse_address(one) for one in cells["members"]] == list(case.context.members)
        present = [parse_address(one["member"]) for one in page["members"] if one["present"]]
        assert present == [member for member, _ in sorted(case.rows)]
        for member, weights in zip(cells["members"], cells["weights"], strict=True):
            if parse_address(member) in present:
                assert [int(one) for one in weights] == list(case.weights)


def test_a_node_is_as_node_show_tells_it(ask, source, audited):
    node_id = audited[2].nodes.ids[5]
    account = account_of(source, 2, node_id)
    key = account.node_key.hex()
    node, history, found, page = ask(
        ("node", 2, key), ("history", key), ("findNodes", node_id), ("epoch", 2)
    )
    reasons = [one["reason"] for one in page["verdicts"]]
    counts = dict(zip(reasons, node["verdicts"], strict=True))
    assert counts.pop(reasons[OK]) == account.succeeded
    assert {name: count for name, count in counts.items() if count} == account.failures
    assert node["late"] == account.late
    assert abs(int(node["proportion"]) - float(account.proportion) * 1e18) < 1e4
    last = history[-1]
    assert (last["epoch"], last["jobs"], last["counted"]) == (2, account.jobs, account.succeeded)
    assert int(last["amount"]) == account.reward_atto
    assert [one["id"] for one in found] == [node_id]
    assert found[0]["key"] == key


def test_nodes_are_found_by_addresses_in_any_form(ask, audited):
    case = audited[2]
    payee = Address(case.nodes.payees[0])
    plain = address_text(payee)
    forms = [
        plain,
        "0x" + plain[2:].upper(),
        fil_text(payee),
        fil_text(payee).upper(),
        fil_text(payee, 1),
    ]
    wrong = fil_text(payee)[:-1] + ("a" if fil_text(payee)[-1] != "a" else "b")
    answers = ask(*(("findNodes", form) for form in (*forms, case.nodes.keys[0].hex(), wrong)))
    for found in answers[:-1]:
        assert case.nodes.ids[0] in [one["id"] for one in found]
    assert answers[-1] == [], "its checksum is wrong"


def test_proofs_made_in_the_page_are_those_of_the_command(ask, run, audited):
    case = audited[2]
    for place in (0, 11, len(case.nodes.ids) - 1):
        node_id = case.nodes.ids[place]
        jobs, proof = ask(("jobs", 2, place), ("nodeProof", 2, place))
        command = ("--data-dir", run, "--epoch", "2", "--node", node_id)
        assert proof == looks("proof", "node", *command).out
        index = len(jobs) // 2
        [of_job] = ask(("jobProof", 2, place, index))
        job_id = jobs[index]["jobId"]
        assert of_job == looks("proof", "job", *command, "--job", job_id).out
        steps = check(decode_file(of_job.encode()), case.committed.root)
        assert holds(steps)


def test_jobs_have_their_verdicts_and_are_found_by_id(ask, audited):
    case = audited[1]
    codes, start = case.evaluation.verdicts, 0
    answers = ask(*(("jobs", 1, place) for place in range(len(case.nodes.ids))))
    for jobs, count in zip(answers, case.nodes.job_counts, strict=True):
        assert [job["index"] for job in jobs] == list(range(count))
        assert bytes(job["verdict"] for job in jobs) == codes[start : start + count]
        start += count
    job = answers[3][2]
    [found] = ask(("findJobs", job["jobId"]))
    wanted = {"jobId": job["jobId"], "nodeId": case.nodes.ids[3], "epoch": 1, "index": 2}
    assert wanted in found
    assert ask(("findJobs", "no such job")) == [[]]


def test_a_claim_is_what_the_contract_checks(ask, source, audited):
    key = audited[2].nodes.keys[4]
    [claim] = ask(("claim", key.hex()))
    proven = claim_proof(source, 2, audited[2].nodes.ids[4]).proof
    assert (claim["epoch"], claim["index"], claim["size"]) == (2, proven.index, proven.size)
    assert (int(claim["cumulative"]), parse_address(claim["payee"])) == (
        proven.cumulative,
        proven.payee,
    )
    path = [
        bytes.fromhex(one["hash"]) + int(one["count"]).to_bytes(8, "big") + int(one["total"]).to_bytes(16, "big")
        for one in claim["path"]
    ]  # fmt: skip
    assert path == list(proven.path)
    assert int(claim["claimed"]) == source.chain.claimed(key)
    assert ask(("claim", bytes(32).hex())) == [None]


def test_evaluators_have_their_seats(ask, audited):
    [evaluators] = ask(("evaluators",))
    assert [parse_address(one["address"]) for one in evaluators] == list(audited[1].context.members)
    for one in evaluators:
        assert [row["epoch"] for row in one["history"]] == [1, 2]
        assert one["state"] == "active"
        assert int(one["stake"]) > 0
    assert sum(row["transmitted"] for one in evaluators for row in one["history"]) == 2


def test_agreement_and_reliability_follow_the_rule(ask, audited):
    """Both are learnt here anew, from the signed rows and the weights that the audit recomputes."""
    [evaluators] = ask(("evaluators",))
    standings: dict[Address, Standing] = {}
    for epoch, case in audited.items():
        rule, bodies = reliability_rule(case.parameters.reliability), dict(case.rows)
        assert rule is not None
        for one in evaluators:
            member = parse_address(one["address"])
            [said] = [row for row in one["history"] if row["epoch"] == epoch]
            assert said["present"] == (member in bodies)
            if member not in bodies:
                continue
            row = Row.decode(bodies[member])
            given = dict(zip(row.node_keys, row.weights, strict=True))
            values = [given.get(key) for key in case.nodes.keys]
            agreed = agreement_ppm(values, list(case.weights), rule)
            before = standings.get(member, Standing())
            assert (said["agreementPpm"], said["reliabilityPpm"]) == (agreed, before.weight)
            standings[member] = before.after(agreed, rule)
    assert {one.weight for one in standings.values()} == {PPM}, "honest evaluators have earned it"


def test_what_is_final_is_not_read_again(run, site, monkeypatch):
    """A builder that comes later takes over; one whose files are gone makes them again, to the byte."""
    monkeypatch.setattr("meridian.node.explorer.site_builder.gather", None)
    with contextlib.closing(SiteBuilder(run, site)) as builder:
        assert builder.update() == []
        assert builder.update() == []
    monkeypatch.undo()
    before = {path: path.read_bytes() for path in (site / "data" / "epoch").rglob("*.col")}
    shutil.rmtree(site / "data")
    with contextlib.closing(SiteBuilder(run, site)) as builder:
        assert builder.update() == [1, 2]
    assert {path: path.read_bytes() for path in (site / "data" / "epoch").rglob("*.col")} == before


def test_a_chain_that_nobody_serves_is_served_for_as_long_as_it_is_read(finished, tmp_path):
    """Jobs beyond the bound are counted and not kept; the chain is let go, and not looked at again until it moves."""
    data_dir, _ = finished
    with contextlib.closing(SiteBuilder(data_dir, tmp_path, jobs_max=10)) as builder:
        assert builder.update() == [1, 2]
        with open_source(data_dir) as source:
            assert source.chain.total_claimed() > 0, "the chain's file is free"
        builder.update()
        assert builder.update() == []
    assert not list(tmp_path.rglob("jobs-*.col"))
    assert len(list(tmp_path.rglob("nodes-*.col"))) == 2
    assert (tmp_path / "index.html").is_file()


def test_a_builder_that_is_stopped_leaves_the_rest_to_the_next(finished, tmp_path) -> None:
    data_dir, _ = finished
    with contextlib.closing(SiteBuilder(data_dir, tmp_path)) as builder:
        builder.stop()
        assert builder.update() == []
    with contextlib.closing(SiteBuilder(data_dir, tmp_path)) as builder:
        assert builder.update() != []
