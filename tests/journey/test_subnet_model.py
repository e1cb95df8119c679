"""The model `subnet` on small networks: jobs to payments over two chains, validators that look, evidence that breaks."""

import json
import shutil
from dataclasses import replace

import pytest
from watching import Interrupted, Watching

from journey.system import looks
from meridian.audit.evidence import State, first_broken
from meridian.errors import InvalidInput, RemoteFault
from meridian.journey.chain_setup import NODE_STAKE_ATTO
from meridian.journey.models.data_dir import ModelFile
from meridian.journey.models.model import Ending, ModelOptions, Phase
from meridian.journey.models.small_world import CHEAT, EPOCH, VICTIM
from meridian.journey.models.subnet import CHILD_CHAIN, MODEL, _shown_child
from meridian.journey.models.subnet_chains import ParentView
from meridian.journey.models.subnet_evidence import read_epochs
from meridian.journey.models.subnet_frauds import world
from meridian.journey.models.subnet_validator import Validator
from meridian.models.subnet import Deposit
from meridian.models.subnet_audit import verify
from meridian.networks.comparison import generate
from meridian.networks.generator import Traffic
from meridian.networks.local import epoch_inputs
from meridian.node.audit_sources import reachable_chain

JOBS_SENT = 160
SOURCE = replace(generate(Traffic(jobs=JOBS_SENT, nodes=4)), epoch_seconds=1800, n_epochs=2)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """(directory, what the run did) of a run that was interrupted and resumed."""
    root = tmp_path_factory.mktemp("subnet")
    options = ModelOptions(data_dir=root)
    with pytest.raises(Interrupted):
        MODEL.run(SOURCE, options, Watching("sums of epoch 2"))
    return root, MODEL.run(SOURCE, options, Watching())


@pytest.fixture(scope="module")
def cases(ran):
    file = ModelFile.load(ran[0])
    with (
        reachable_chain(ran[0], file.rpc_url, file.chain_id) as client,
        _shown_child(ran[0], file) as child,
    ):
        return read_epochs(ParentView(client, file), child, file, [1, 2])


def test_every_weight_is_that_of_the_function_and_all_is_paid(ran):
    expected = {}
    for epoch in epoch_inputs(SOURCE)[0]:
        done = SOURCE.definition.evaluation_function.evaluate(epoch, {})
        expected[epoch.epoch] = dict(zip(epoch.node_ids, map(str, done.weights), strict=True))
    entries = ran[1].result["epochs"]
    assert expected == {
        entry["epoch"]: {row["node_id"]: row["weight"] for row in entry["payees"]}
        for entry in entries
    }
    assert sum(entry["jobs"] for entry in entries) == JOBS_SENT
    for entry in entries:
        assert entry["paid_atto"] == entry["allocated_atto"]
        assert 0 <= int(entry["total_atto"]) - int(entry["allocated_atto"]) < entry["nodes"]
        assert len(entry["signers"]) == 3  # of four
    assert ran[1].broken == {}


def test_verify_holds_and_breaks_where_the_child_is_not_shown(ran, tmp_path):
    done = looks("verify", "--data-dir", ran[0], "--epoch", "2", "--json")
    assert done.code == 0
    assert {link["state"] for link in json.loads(done.out)["links"]} == {"holds"}
    root = tmp_path / "hidden"
    shutil.copytree(ran[0], root)
    shutil.rmtree(root / "child")
    assert first_broken(MODEL.verify(root, 1)).name == "jobs"


def test_what_it_cost_stands_on_two_chains(ran):
    costs = ran[1].costs
    main = {step.name: step for step in costs.of()}
    child = {step.name: step for step in costs.of(chain=CHILD_CHAIN)}
    assert main["SubnetGateway.commit"].transactions == 2
    assert main["SubnetGateway.claim"].phase is Phase.PAYMENT
    assert not [name for name in main if name.startswith("Subnet.")]
    assert child["Subnet.submit_many"].gas > 45_000 * JOBS_SENT
    assert costs.stored_bytes > sum(step.calldata_bytes for step in child.values())
    assert costs.cpu_s["child chain"] > 0


def broken(case):
    link = first_broken(verify(case))
    return None if link is None else link.name


def test_each_link_breaks_by_what_it_looks_at(cases):
    case = cases[1]
    assert {link.state for link in verify(case)} == {State.HOLDS}
    last = case.committed[-1]

    def with_last(**changes):
        one = replace(last, checkpoint=replace(last.checkpoint, **changes))
        one = replace(one, digest=one.checkpoint.digest(case.domain))
        return broken(replace(case, committed=[*case.committed[:-1], one]))

    assert broken(replace(case, code={**case.code, "Registry": b""})) == "contracts"
    assert broken(replace(case, wiring={})) == "contracts"
    assert (
        broken(replace(case, committed=case.committed[:1], states=case.states[:1])) == "commitment"
    )
    assert broken(
        replace(case, committed=[*case.committed[:1], replace(last, digest=bytes(32))])
    ) == ("commitment")
    assert with_last(previous=bytes(32)) == with_last(block_hash=bytes(32)) == "commitment"
    two = replace(last, signers=last.signers[:2])
    assert broken(replace(case, committed=[*case.committed[:1], two])) == "signatures"
    assert broken(replace(case, sums=None)) == "jobs"
    sums = case.sums
    assert broken(replace(case, sums=replace(sums, words=sums.words[1:]))) == "jobs"
    assert broken(replace(case, sums=replace(sums, function_digest=bytes(32)))) == "function"
    assert broken(replace(case, sums=replace(sums, total=0))) == "evaluation"
    assert with_last(reward_root=bytes(32)) == with_last(budget=0) == with_last(jobs=1) == "rewards"
    assert broken(replace(case, states=[None, case.states[1]])) == "rewards"
    account, amount, cumulative = case.claimed[0]
    wrong = [(account, amount + 1, cumulative + 1), *case.claimed[1:]]
    assert broken(replace(case, claimed=wrong)) == "claims"
    assert broken(replace(case, withdrawn=[(account, 1, 1)])) == "claims"
    assert broken(replace(case, minted=[*case.minted, Deposit(account, 1)])) == "claims"
    assert broken(replace(case, published={**case.result(), "jobs": 0})) == "claims"
    assert broken(replace(case, published=case.result())) is None


def test_stake_comes_back_and_validators_sign_only_what_they_saw(tmp_path):
    with world(tmp_path) as here:
        network, gateway = here.network, here.network.parent.gateway
        account = here.keys[CHEAT].address
        for _ in range(2):
            assert here.on_child("release", NODE_STAKE_ATTO // 2) == ""
        assert here.on_child("release", 1) == "subnet: stake"
        proposed = network.propose(settling=False)
        refused = {
            "release_total": replace(proposed, release_total=1),
            "block_hash": replace(proposed, block_hash=bytes(32)),
            "minted": replace(proposed, minted=9),
            "no block": replace(proposed, height=10_000),
        }
        validator = network.validators[0]
        for reason, checkpoint in refused.items():
            with pytest.raises(InvalidInput, match=reason):
                validator.sign_checkpoint(checkpoint)
        with pytest.raises(InvalidInput, match="not closed"):
            validator.sign_checkpoint(replace(proposed, settled=1))
        with pytest.raises(InvalidInput, match="deposits"):
            validator.sign_mint(0, [Deposit(account, 10**20)])
        network.commit(proposed)
        signature = validator.sign_checkpoint(proposed)  # again: the same
        again = Validator(
            here.validator_keys[0],
            tmp_path / "validators" / "0",
            network.parent,
            network.child,
            EPOCH,
        )
        assert again.sign_checkpoint(proposed) == signature
        with pytest.raises(InvalidInput, match="another one"):
            again.sign_checkpoint(replace(proposed, height=proposed.height + 1))
        before = int(here.parent.call("eth_getBalance", "0x" + account.hex(), "latest"), 16)
        network.withdraw(account)
        after = int(here.parent.call("eth_getBalance", "0x" + account.hex(), "latest"), 16)
        assert after - before == NODE_STAKE_ATTO
        assert gateway.read("withdrawn", account) == NODE_STAKE_ATTO
        here.submit_honest(without=[CHEAT])
        here.settle()
        assert here.broken() is None
        assert here.gain_atto() < 0  # without jobs


def test_a_wrong_budget_is_not_signed(tmp_path):
    with world(tmp_path) as here:
        here.submit_honest(without=[VICTIM])
        here.close()
        proposed = here.network.propose(settling=True)
        with pytest.raises(RemoteFault, match="0 of 4 validators sign"):
            here.network.commit(replace(proposed, budget=1))


CAUGHT = {
    "wrong-weights": (Ending.PREVENTED, "validators"),
    "withheld-data": (Ending.CAUGHT, "verify"),
    "censored-node": (Ending.UNNOTICED, "nobody"),
    "friend-jobs": (Ending.IMPOSSIBLE, "nobody"),
}
"""The others are played by `meridian models compare`: they run into the same contract as with `naive`."""


@pytest.mark.parametrize("name", CAUGHT)
def test_frauds(name, tmp_path):
    outcome = MODEL.fraud(name, tmp_path)
    assert (outcome.ending, outcome.by) == CAUGHT[name]
    if name == "censored-node":
        assert outcome.gain_atto == 10**21 // 9 - 10**20
    else:
        assert outcome.gain_atto == 0
    if name == "wrong-weights":
        assert (
            "the gateway pays 100 too much, verify finds link rewards broken" in outcome.otherwise
        )
