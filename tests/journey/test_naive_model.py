"""The model `naive` on a small network: jobs to payments, interrupted and resumed; verified, also where it was changed."""

import json
import shutil
import sqlite3
from dataclasses import replace

import pytest
from watching import Interrupted, Watching

from journey.system import looks
from meridian.audit.evidence import State, first_broken
from meridian.errors import InvalidInput, NotFound
from meridian.journey.models import naive_network
from meridian.journey.models.data_dir import ModelFile
from meridian.journey.models.frauds import FRAUDS
from meridian.journey.models.model import Ending, ModelOptions, Phase
from meridian.journey.models.naive import MODEL
from meridian.journey.models.naive_frauds import world
from meridian.journey.models.node_jobs import node_jobs
from meridian.journey.models.small_world import EPOCH, JOBS, NODES, job
from meridian.models.naive import Payment, verify
from meridian.networks.comparison import generate
from meridian.networks.generator import Traffic
from meridian.networks.generator import generate as generate_saturn
from meridian.networks.local import epoch_inputs
from meridian.node.audit_sources import reachable_chain

JOBS_SENT = 300
SOURCE = replace(
    generate(Traffic(jobs=JOBS_SENT, nodes=6), success=True), epoch_seconds=1800, n_epochs=2
)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """(directory, what the run did) of a run that was interrupted and resumed."""
    root = tmp_path_factory.mktemp("naive")
    options = ModelOptions(data_dir=root)
    with pytest.raises(Interrupted):
        MODEL.run(SOURCE, options, Watching("jobs of epoch 2"))
    return root, MODEL.run(SOURCE, options, Watching())


@pytest.fixture(scope="module")
def cases(ran):
    file = ModelFile.load(ran[0])
    with reachable_chain(ran[0], file.rpc_url, file.chain_id) as client:
        found = naive_network.read_epochs(client, file, [1, 2])
    return [naive_network.with_published(case, ran[0]) for case in found]


def test_every_weight_is_that_of_the_function(ran):
    expected = {}
    for epoch in epoch_inputs(SOURCE)[0]:
        done = SOURCE.definition.evaluation_function.evaluate(
            epoch, dict(SOURCE.definition.function_parameters)
        )
        expected[epoch.epoch] = dict(zip(epoch.node_ids, map(str, done.weights), strict=True))
    found = {
        entry["epoch"]: {row["node_id"]: row["weight"] for row in entry["payees"]}
        for entry in ran[1].result["epochs"]
    }
    assert found == expected
    assert sum(entry["jobs"] for entry in ran[1].result["epochs"]) == JOBS_SENT


def test_all_is_paid_and_holds(ran):
    for entry in ran[1].result["epochs"]:
        assert entry["paid_atto"] == entry["allocated_atto"]
        assert 0 <= int(entry["total_atto"]) - int(entry["allocated_atto"]) < entry["nodes"]
    assert ran[1].broken == {}
    done = looks("verify", "--data-dir", ran[0], "--epoch", "2", "--json")
    assert done.code == 0
    links = json.loads(done.out)["links"]
    assert {link["state"] for link in links} == {"holds"}
    with pytest.raises(NotFound):
        MODEL.verify(ran[0], 3)


def test_what_it_cost_is_what_the_chain_says(ran):
    costs = ran[1].costs
    steps = {step.name: step for step in costs.steps}
    assert steps["Naive.submit_many"].transactions == sum(
        entry["nodes"] for entry in ran[1].result["epochs"]
    )
    assert steps["Naive.submit_many"].gas > 45_000 * JOBS_SENT
    assert steps["Naive.fund"].phase is Phase.SET_UP
    assert steps["Naive.pay"].phase is Phase.PAYMENT
    assert costs.stored_bytes == costs.private_bytes == 0
    assert costs.cpu_s["chain"] > 0


def test_again_it_does_nothing(ran):
    again = MODEL.run(SOURCE, ModelOptions(data_dir=ran[0]), Watching())
    assert again.result == ran[1].result
    assert again.costs.transactions == ran[1].costs.transactions
    with pytest.raises(InvalidInput, match="batch"):
        MODEL.run(SOURCE, ModelOptions(data_dir=ran[0], batch=False), Watching())


def broken(case):
    link = first_broken(verify(case))
    return None if link is None else link.name


def test_each_link_breaks_by_what_it_looks_at(cases):
    case = cases[1]
    sums = case.sums
    assert {link.state for link in verify(case)} == {State.HOLDS}

    def with_sums(**changes):
        return broken(replace(case, sums=replace(sums, **changes)))

    assert with_sums(code=b"") == with_sums(code=bytes(100)) == "contracts"
    assert with_sums(terms=replace(sums.terms, epoch_seconds=1)) == "contracts"
    assert with_sums(closed=False) == "commitment"
    assert with_sums(words=sums.words[:-1]) == "jobs"
    assert with_sums(words=[sums.words[0] ^ 1, *sums.words[1:]]) == "jobs"
    twice = [sums.words[0], *sums.words]
    assert with_sums(words=twice, sent=[sums.sent[0], *sums.sent], jobs=len(twice)) == "jobs"
    late = [word + (1 << 47) for word in sums.words[:1]]
    assert with_sums(words=[*late, *sums.words[1:]], sent=sums.sent[1:]) == "jobs"
    assert with_sums(function_digest=bytes(32)) == "function"
    dear = replace(sums.sent[0], value=2)
    more = {"words": [dear.word, *sums.words[1:]], "sent": [dear, *sums.sent[1:]]}
    assert with_sums(**more) == "function"
    assert with_sums(evaluated=0) == with_sums(total=0) == "evaluation"
    assert with_sums(weights=dict.fromkeys(sums.weights, 0)) == "evaluation"
    first, *others = case.payments
    wrong = Payment(first.node, first.amount + 1, refused=False)
    assert broken(replace(case, payments=[wrong, *others])) == "claims"
    assert broken(replace(case, payments=[*case.payments, first])) == "claims"
    assert broken(replace(case, published={**case.published, "jobs": 1})) == "claims"
    assert broken(replace(case, published="not JSON")) == "claims"


def test_jobs_that_no_transaction_shows_are_counted_and_told(cases):
    sums = cases[1].sums
    node = sums.sent[0].node
    others = [one for one in sums.sent if one.node != node]
    hidden = len(sums.sent) - len(others)
    case = replace(cases[1], sums=replace(sums, sent=others, wallets={node}))
    jobs = next(link for link in verify(case) if link.name == "jobs")
    assert jobs.state is State.HOLDS
    assert jobs.items == (f"{hidden} jobs came by calls of nodes that are contracts",)


def test_who_refuses_or_waits_is_told(cases):
    first, *others = cases[1].payments
    case = replace(cases[1], payments=[replace(first, refused=True), *others[:-1]], published=None)
    claims = verify(case)[-1]
    assert claims.state is State.HOLDS
    assert claims.items == ("1 nodes refused their share", "1 nodes wait for their share")
    assert int(case.result()["paid_atto"]) == sum(one.amount for one in others[:-1])


def test_a_changed_chain_file_breaks_the_evidence(ran, tmp_path):
    root = tmp_path / "changed"
    shutil.copytree(ran[0], root)
    [result] = [root / "results" / "epoch-000001.json"]
    result.write_text(result.read_text().replace('"jobs": ', '"jobs": 1'))
    assert first_broken(MODEL.verify(root, 1)).name == "claims"
    with sqlite3.connect(root / "chain" / "chain.sqlite") as chain:
        rows = chain.execute("SELECT hash, raw FROM transactions ORDER BY length(raw) DESC")
        tx_hash, raw = next(iter(rows))
        raw = bytearray(raw)
        raw[-100] ^= 1  # in the last job: its id, or what it says
        chain.execute("UPDATE transactions SET raw = ? WHERE hash = ?", (bytes(raw), tx_hash))
    names = {getattr(first_broken(MODEL.verify(root, epoch)), "name", None) for epoch in (1, 2)}
    assert "jobs" in names


def test_networks_that_are_no_plain_sum_are_refused(tmp_path):
    with pytest.raises(InvalidInput, match="plain sum"):
        MODEL.run(
            generate_saturn(Traffic(jobs=20, nodes=2, epochs=1)),
            ModelOptions(data_dir=tmp_path),
            Watching(),
        )


def test_a_repeated_id_is_sent_once():
    lines = b"".join(SOURCE.batches())
    again = replace(SOURCE, batches=lambda: iter([lines, lines]))
    jobs = node_jobs(again)
    assert jobs.repeated == JOBS_SENT
    assert jobs.by_epoch == node_jobs(SOURCE).by_epoch


def test_jobs_one_by_one_give_the_same_sums(tmp_path):
    with world(tmp_path) as here:
        jobs = {"node-0": [job(0, i) for i in range(3)], "node-1": [job(1, 0)]}
        here.network.submit(EPOCH, jobs, here.keys, {}, 0, lambda _done: None)
        more = {"node-0": [job(0, i) for i in range(4)]}  # its key has used the nonce already
        with pytest.raises(InvalidInput, match="4 of"):
            here.network.submit(
                EPOCH,
                {**more, **dict.fromkeys(["node-1"], more["node-0"])},
                here.keys,
                {},
                9,
                print,
            )
        here.settle()
        [case] = naive_network.read_epochs(here.client, here.file, [EPOCH])
    assert sorted(case.sums.weights.values()) == [1, 3]
    assert broken(case) is None


PAID_FOR_LIES = {"invented-jobs"}
NOBODY_THERE = {"censored-node", "friend-jobs", "withheld-data"}
PLAYED = [*PAID_FOR_LIES, *NOBODY_THERE, "double-report"]
"""The others are played by `meridian models compare`; what they run into is the contract's, and tested there."""


@pytest.mark.parametrize("name", sorted(PLAYED))
def test_frauds(name, tmp_path):
    assert name in FRAUDS
    outcome = MODEL.fraud(name, tmp_path)
    if name in NOBODY_THERE:
        assert outcome.ending is Ending.IMPOSSIBLE
    elif name in PAID_FOR_LIES:
        assert outcome.ending is Ending.UNNOTICED
        # twice the jobs: 60 of 330
        assert outcome.gain_atto == 10**21 * 2 * JOBS // (JOBS * (NODES + 1)) - 10**20
    else:
        assert (outcome.ending, outcome.gain_atto) == (Ending.PREVENTED, 0)
        assert outcome.how == "the second report of a job reverted: jobs: known"
