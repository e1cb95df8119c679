"""The summary model end to end: real chain, nodes that keep their jobs, challenges, claims; and what an outsider sees."""

import shutil
from dataclasses import replace

import pytest
from watching import Watching

from meridian.audit.evidence import State
from meridian.contracts.artefact import load
from meridian.errors import InvalidInput, NotFound
from meridian.journey.models import summary as model_module
from meridian.journey.models.data_dir import ModelFile
from meridian.journey.models.frauds import FRAUDS
from meridian.journey.models.metering import PartyClock
from meridian.journey.models.model import Ending, ModelOptions, Phase
from meridian.journey.models.summary import MODEL, NODES_DIR, RULES_DIR, read_case, recomputed
from meridian.journey.models.summary_commitments import COMMITMENTS
from meridian.journey.models.summary_history import read_epoch
from meridian.journey.models.summary_network import SummaryNetwork
from meridian.journey.models.summary_rounds import Rounds
from meridian.journey.models.summary_store import NodeRules, NodeStore, split
from meridian.journey.models.summary_terms import STAKE_ATTO, asked_of, run_terms
from meridian.models.summary_epoch import Payment, verify
from meridian.networks.comparison import generate
from meridian.networks.generator import Traffic
from meridian.networks.local import epoch_inputs
from meridian.node.audit_sources import reachable_chain
from meridian.node.chain.embedded import EmbeddedChain
from meridian.node.chain.sender import Sender
from meridian.primitives.amounts import ATTO
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import node_key
from meridian.primitives.keys import PrivateKey

JOBS, NODES, EPOCH = 240, 6, 1
MERKLE = COMMITMENTS["merkle"]


def function_weights(source):
    """What the network's own function says of the same jobs."""
    (epoch,), _ = epoch_inputs(source)
    definition = source.definition
    found = definition.evaluation_function.evaluate(epoch, definition.function_parameters)
    return dict(zip(epoch.node_ids, found.weights, strict=True))


def weights(document):
    (entry,) = document["epochs"]
    return {row["node_id"]: int(row["weight"]) for row in entry["payees"]}


def states(links):
    return {link.name: link.state.value for link in links}


@pytest.fixture(scope="module")
def source():
    return generate(Traffic(seed=8, jobs=JOBS, nodes=NODES), success=True)


@pytest.fixture(scope="module")
def ran(source, tmp_path_factory):
    root = tmp_path_factory.mktemp("summary")
    watcher = Watching()
    return root, MODEL.run(source, ModelOptions(data_dir=root, budget_atto=ATTO), watcher), watcher


def test_the_weights_are_the_functions_and_the_shares_are_paid(source, ran):
    _, done, watcher = ran
    assert weights(done.result) == function_weights(source)
    (entry,) = done.result["epochs"]
    assert ATTO - NODES < int(entry["paid_atto"]) <= ATTO
    assert entry["jobs"] == JOBS
    assert not done.broken
    assert not watcher.notes


def test_with_kzg_commitments_it_comes_to_the_same(tmp_path):
    small = generate(Traffic(seed=8, jobs=20, nodes=2), success=True)
    options = ModelOptions(data_dir=tmp_path, budget_atto=ATTO, commitment="kzg")
    ran = MODEL.run(small, options, Watching())
    assert weights(ran.result) == {
        node: weight for node, weight in function_weights(small).items() if weight
    }
    assert ran.broken == {}
    found = states(MODEL.verify(tmp_path, EPOCH))
    assert set(found.values()) == {"holds", "sealed"}


def test_the_costs_are_told_by_step(ran):
    _, done, _ = ran
    sums = {step.name: step.transactions for step in done.costs.steps}
    assert sums["Summaries.commit_many"] == 1
    assert sums["Summaries.challenge"] == sums["Summaries.answer"] == asked_of(NODES)
    assert [one.name for one in done.costs.of(Phase.PAYMENT)] == ["Summaries.claim_many"]
    assert done.costs.private_bytes > 1000
    assert done.costs.stored_bytes == 0


def test_an_outsider_sees_all_but_the_jobs(ran):
    root, _, _ = ran
    found = states(MODEL.verify(root, EPOCH))
    assert {name for name, state in found.items() if state == "sealed"} == {"jobs", "evaluation"}
    assert set(found.values()) == {"holds", "sealed"}
    with pytest.raises(NotFound):
        MODEL.verify(root, EPOCH + 1)


def test_with_the_nodes_own_data_all_of_it_holds_and_a_changed_job_is_found(ran, tmp_path):
    root, _, _ = ran
    file = ModelFile.load(root)
    with reachable_chain(root, file.rpc_url, file.chain_id) as client:
        case = read_case(client, file, MERKLE, EPOCH, root)

    def links(nodes_dir):
        found = recomputed(file, MERKLE, root / RULES_DIR, nodes_dir, EPOCH)
        return {link.name: link for link in verify(replace(case, recomputed=found))}

    assert {link.state.value for link in links(root / NODES_DIR).values()} == {"holds"}
    some = tmp_path / "nodes"
    shutil.copytree(root / NODES_DIR, some)
    first, second, *_ = (NodeStore(some, name, None) for name in file.more["nodes"])
    shutil.rmtree(second.directory)
    assert links(some)["jobs"].state is State.SEALED  # of one nothing is given
    data = first.path(EPOCH).read_bytes()
    first.path(EPOCH).write_bytes(data[:-1])
    jobs = links(some)["jobs"]
    assert jobs.state is State.BROKEN
    assert first.node_id in jobs.items[0]


def test_a_second_run_sends_nothing(source, ran):
    root, done, _ = ran
    again = MODEL.run(source, ModelOptions(data_dir=root, budget_atto=ATTO), Watching())
    assert again.result == done.result
    assert again.costs.steps == done.costs.steps
    with pytest.raises(InvalidInput, match="relay"):
        MODEL.run(source, ModelOptions(data_dir=root, relay=False), Watching())


def test_a_network_whose_function_is_no_sum_is_refused(source, tmp_path):
    other = replace(source.definition, function="saturn", function_parameters={})
    rules = NodeRules.of(replace(source.definition))
    store = NodeStore(tmp_path, "n", replace(rules, function=other.evaluation_function))
    part = split(source).parts[0]
    store.keep(EPOCH, part[2])
    with pytest.raises(InvalidInput, match="no plain sum"):
        store.rows(EPOCH)


# ---- on a chain in this process, whose clock is set


class World:
    """Six nodes that have committed, by themselves, on a chain in this process."""

    def __init__(self, source, root):
        self.now_s = 1_800_000_000
        names = ("sponsor", "relayer", "challenger")
        keys = {name: PrivateKey(sha256(b"summary test", name.encode())) for name in names}
        rules = NodeRules.of(source.definition)
        self.nodes = {name: NodeStore(root / NODES_DIR, name, rules) for name in source.nodes}
        for epoch, node_id, jobs in split(source).parts:
            self.nodes[node_id].keep(epoch, jobs)
        accounts = [*keys.values(), *(node.operator for node in self.nodes.values())]
        alloc = {key.address: 10**24 for key in accounts}
        self.chain = EmbeddedChain(None, 31337, alloc, clock=lambda: self.now_s)
        senders = {name: Sender(self.chain, key, root / name) for name, key in keys.items()}
        own = {
            name: Sender(self.chain, node.operator, node.directory / "sender")
            for name, node in self.nodes.items()
        }
        more = {"nodes": sorted(source.nodes)}
        self.file = ModelFile.of("summary", source, chain_id=31337, more=more)
        terms = replace(run_terms(self.file), challenge_seconds=300, answer_seconds=300)
        address = senders["sponsor"].deploy(load("Summaries"), *terms.arguments, purpose="deploy")
        self.network = SummaryNetwork(self.chain, 31337, address, "Summaries", terms)
        members = {
            name: (node.operator, node.operator.address) for name, node in self.nodes.items()
        }
        self.network.register(senders["relayer"], members, lambda *_: None)
        self.network.fund(senders["sponsor"], EPOCH, ATTO)
        self.watcher = Watching()
        self.rounds = Rounds(
            network=self.network, kind=MERKLE, nodes=self.nodes, relayer=senders["relayer"],
            challenger=senders["challenger"], own=own, clock=PartyClock(), watcher=self.watcher,
            wait=self.wait,
        )  # fmt: skip
        self.rounds.commit(EPOCH)

    def wait(self, second):
        self.now_s = max(self.now_s, second)

    def case(self):
        return read_epoch(self.network, self.file, MERKLE, EPOCH)


@pytest.fixture
def world(source, tmp_path):
    return World(source, tmp_path)


def test_a_node_that_lost_its_jobs_is_slashed_and_the_others_get_its_share(world, source):
    world.rounds.challenge(EPOCH)
    (asked,) = world.rounds.asked[EPOCH]
    loser = next(node for node in world.nodes.values() if node.key == asked)
    loser.path(EPOCH).unlink()
    world.rounds.answer(EPOCH)
    assert "cannot answer: jobs: there are none" in world.watcher.notes[0]
    world.rounds.settle(EPOCH, None)
    case = world.case()
    assert case.voided() == {asked}
    links = {link.name: link for link in verify(case)}
    assert f"{loser.node_id} did not answer and lost" in links["challenges"].items[0]
    assert {link.state.value for link in links.values()} == {"holds", "sealed"}
    fair = function_weights(source)
    del fair[loser.node_id]
    assert {case.name(node): one.weight for node, one in case.standing().items()} == fair
    assert sum(one.amount for one in case.payments) > ATTO - NODES
    challenger = world.rounds.challenger.address
    assert world.network.contract.read("credit", challenger) > STAKE_ATTO // 2
    world.rounds.settle(EPOCH, None)  # again: nothing is paid twice
    assert world.case().payments == case.payments


def test_an_outsider_finds_what_does_not_follow(world):
    world.rounds.challenge(EPOCH)
    world.rounds.answer(EPOCH)
    world.rounds.settle(EPOCH, 4)
    case = world.case()
    assert case.challenges[0].answer is not None
    assert "2 nodes have not claimed" in verify(case)[-1].items[0]

    def broken(**changes):
        links = verify(replace(case, **changes))
        return next(link.name for link in links if link.state is State.BROKEN)

    (node, said), *rest = case.summaries
    challenge, payment = case.challenges[0], case.payments[0]
    other = replace(challenge, answer=challenge.answer[::-1])
    stranger = node_key("stranger")
    assert broken(code=b"") == "contracts"
    assert broken(code=bytes(10)) == "contracts"
    assert broken(terms=replace(case.terms, samples=1)) == "contracts"
    assert broken(closed=False) == "commitment"
    assert broken(weight=case.weight + 1) == "commitment"
    assert broken(summaries=[*case.summaries, case.summaries[0]]) == "commitment"
    assert broken(summaries=[(node, replace(said, weight=said.jobs + 1)), *rest]) == "commitment"
    assert broken(summaries=[*case.summaries, (stranger, said)]) == "commitment"
    assert broken(challenges=[replace(challenge, seed=bytes(32))]) == "challenges"
    assert broken(challenges=[other]) == "challenges"
    assert broken(function_digest=bytes(32)) == "function"
    assert broken(recomputed={node: replace(said, root=bytes(32))}) == "jobs"
    assert broken(recomputed={node: replace(said, weight=0)}) == "evaluation"
    assert broken(payments=[*case.payments, payment]) == "claims"
    assert broken(payments=[replace(payment, amount=1)]) == "claims"
    assert broken(payments=[Payment(payment.node, payment.payee[::-1], payment.amount)]) == "claims"
    assert broken(published={"epoch": 2}) == "claims"


# ---- frauds


ENDINGS = {
    "double-report": (Ending.CAUGHT, "challenger"),
    "invented-jobs": (Ending.UNNOTICED, "nobody"),
    "impossible-times": (Ending.CAUGHT, "challenger"),
    "stolen-job": (Ending.UNNOTICED, "nobody"),
    "censored-node": (Ending.PREVENTED, "contract"),
    "friend-jobs": (Ending.PREVENTED, "contract"),
    "wrong-weights": (Ending.PREVENTED, "contract"),
    "withheld-data": (Ending.CAUGHT, "challenger"),
    "inflated-summary": (Ending.CAUGHT, "challenger"),
    "stolen-claim": (Ending.PREVENTED, "contract"),
}


@pytest.mark.parametrize("name", FRAUDS)
def test_frauds_end_as_they_do(name, tmp_path):
    found = MODEL.fraud(name, tmp_path)
    assert (found.ending, found.by) == ENDINGS[name]
    assert (found.gain_atto > 0) == (found.ending is Ending.UNNOTICED)
    if found.ending is Ending.CAUGHT:
        assert found.gain_atto == -100 * ATTO - STAKE_ATTO


def test_there_is_no_other_fraud(tmp_path):
    with pytest.raises(NotFound):
        MODEL.fraud("nothing", tmp_path)
    assert model_module.MODEL.name == "summary"
