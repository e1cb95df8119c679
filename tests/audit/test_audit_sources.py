"""The sources of an audit: the same two epochs on the real contracts, seen through them and through the commands."""

import json
import shutil
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from pathlib import Path

import pytest
from click.testing import CliRunner

from audit.audit_world import (
    AGGREGATOR,
    EPOCH_SECONDS,
    EPOCHS,
    EVALUATOR_KEYS,
    EVALUATORS,
    FIRST_EPOCH,
    GENESIS_S,
    MEASURE,
    NETWORK,
    NODE_IDS,
    PARAMETERS,
    SCHEMA,
    World,
    make_world,
    payee,
)
from meridian.audit.epoch import verify_epoch_evidence
from meridian.audit.evidence import State, first_broken
from meridian.cli.main import main
from meridian.contracts.artefact import load
from meridian.contracts.calldata import (
    Claim,
    EvaluatorRegistration,
    NodeRegistration,
    ascending_words,
    signature_words,
)
from meridian.contracts.deployment import Addresses, Parameters, plan
from meridian.contracts.events import Reported
from meridian.contracts.statements import RegisterEvaluator, RegisterNode, Transmission
from meridian.errors import NotFound, RemoteFault
from meridian.evaluate.registry import function_named
from meridian.measure.commitment import node_tree_hash
from meridian.measure.manifest import Nodes
from meridian.measure.tiles import encode_bundle
from meridian.node.audit_chain import ContractChain
from meridian.node.audit_sources import network_values, open_source
from meridian.node.chain.embedded import EmbeddedChain
from meridian.node.chain.sender import Sender
from meridian.node.chain_view import ChainView
from meridian.node.measure.publication import Publication
from meridian.node.network_file import NetworkFile
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import node_key
from meridian.primitives.keys import PrivateKey
from meridian.reward.claims import ClaimsState

SPONSOR = PrivateKey(bytes([88]) * 32)
NEVER_S = 1 << 40
STAKE = 10**18
CHALLENGE_S = 10
DEAD_URL = "http://127.0.0.1:1"


class Clock:
    now_s = float(GENESIS_S)

    def __call__(self) -> float:
        return self.now_s


@dataclass
class RealRun:
    """A data directory as a run leaves it behind, with its chain's file."""

    root: Path
    network: NetworkFile
    world: World


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RealRun:
    root = tmp_path_factory.mktemp("run")
    (root / "chain").mkdir()
    clock = Clock()
    alloc = {key.address: 10**24 for key in (SPONSOR, AGGREGATOR)}
    chain = EmbeddedChain(root / "chain" / "chain.sqlite", NETWORK.chain_id, alloc, clock=clock)
    try:
        addresses, sponsor = deploy(root, chain)
        network = network_file(addresses)
        world = make_world(root, network=network_values(network))
        enact(root, chain, clock, sponsor, world, ChainView(chain, network.contracts))
        network.save(root)
    finally:
        chain.close()
    return RealRun(root, network, world)


def deploy(root: Path, chain: EmbeddedChain) -> tuple[Addresses, Sender]:
    sponsor = Sender(chain, SPONSOR, root / "sponsor.sqlite")
    parameters = Parameters(
        network=NETWORK.network_id,
        genesis_s=GENESIS_S,
        epoch_seconds=EPOCH_SECONDS,
        first_epoch=FIRST_EPOCH,
        node_stake_min_atto=STAKE,
        evaluator_stake_min_atto=STAKE,
        exit_delay_s=1000,
        aggregators=(AGGREGATOR.address,),
        challenge_seconds=CHALLENGE_S,
        function_digest=function_named("count").digest,
        parameters_digest=PARAMETERS.digest,
    )
    addresses, steps = plan(parameters, SPONSOR.address, 0)
    for step in steps:
        sponsor.deploy(load(step.name), *step.arguments, purpose=step.name)
    return addresses, sponsor


def network_file(addresses: Addresses) -> NetworkFile:
    return NetworkFile(
        network=NETWORK.name,
        chain_id=NETWORK.chain_id,
        rpc_url=DEAD_URL,
        contracts=addresses,
        deploy_block=0,
        genesis_s=GENESIS_S,
        epoch_seconds=EPOCH_SECONDS,
        first_epoch=FIRST_EPOCH,
        measure_url=DEAD_URL,
        publications=(MEASURE, *EVALUATORS),
        function="count",
        aggregator=AGGREGATOR.address,
        log_vkey=NETWORK.log_vkey,
        schema_digest=SCHEMA.digest,
        parameters_digest=PARAMETERS.digest,
        evaluators=(),
    )


def enact(
    root: Path, chain: EmbeddedChain, clock: Clock, sponsor: Sender, world: World, view: ChainView
) -> None:
    """Do on the contracts what the world says: joins, funds, commitments, reports, claims."""
    join(sponsor, world, view)
    first, budget = EPOCHS[0], world.chain.budgets[EPOCHS[0]]
    funds = view.rewards.encode("fund", first, len(EPOCHS), budget)
    sponsor.transact(view.rewards.address, funds, budget * len(EPOCHS), purpose="fund")
    clock.now_s = GENESIS_S + EPOCH_SECONDS * len(EPOCHS)
    opening = view.registry.encode("open_epochs", EPOCHS[-1])
    sponsor.transact(view.registry.address, opening, purpose="open")
    aggregator = Sender(chain, AGGREGATOR, root / "aggregator.sqlite")
    for event in world.chain.committed:
        nodes = Nodes.decode(world.read(MEASURE, world.manifest(event.epoch).nodes))
        tree_hash = node_tree_hash(nodes, SCHEMA.lanes.kind)
        data = view.commitments.encode(
            "commit", event.epoch, tree_hash, event.n_nodes, event.annotation, event.manifest
        )
        aggregator.transact(view.commitments.address, data, purpose=f"commit {event.epoch}")
    for epoch in EPOCHS:
        record = world.record(EVALUATORS[0], epoch)
        transmission = Transmission(record.network_id, epoch, record.report_hash)
        winner = next(key for key in EVALUATOR_KEYS if key.address == record.transmitter)
        data = view.evaluations.encode(
            "submit",
            record.report.values,
            signature_words(winner.sign(transmission.digest(world.domain))),
            ascending_words(dict(record.signatures)),
        )
        sponsor.transact(view.evaluations.address, data, purpose=f"report {epoch}")
    clock.now_s += 10 * CHALLENGE_S
    for number, paid in enumerate(world.chain.paid):
        record = world.record(EVALUATORS[0], paid.epoch)
        proof = ClaimsState.decode(world.find(record.claims)).proof(paid.node_key)
        claim = Claim(
            paid.epoch,
            proof.node_key,
            proof.payee,
            proof.cumulative,
            proof.index,
            proof.size,
            proof.path,
        )
        data = view.rewards.encode("claim", *claim.arguments)
        sponsor.transact(view.rewards.address, data, purpose=f"claim {number}")
    aggregator.close()
    sponsor.close()


def join(sponsor: Sender, world: World, view: ChainView) -> None:
    domain = Domain(world.network.chain_id, view.registry.address)
    for number, key in enumerate(EVALUATOR_KEYS):
        says = RegisterEvaluator(
            NETWORK.network_id, key.address, bytes([number + 1]) * 32, "host:1", 0, NEVER_S
        )
        joining = EvaluatorRegistration(says, key.sign(says.digest(domain)))
        data = view.registry.encode("register_evaluator", *joining.arguments)
        sponsor.transact(view.registry.address, data, STAKE, purpose=f"evaluator {number}")
    entries = []
    for number, name in enumerate(NODE_IDS):
        operator = PrivateKey(bytes([100 + number]) * 32)
        node = RegisterNode(
            NETWORK.network_id, node_key(name), operator.address, payee(name), 0, NEVER_S
        )
        entries.append(NodeRegistration(node, operator.sign(node.digest(domain))).arguments)
    data = view.registry.encode("register_nodes", entries)
    sponsor.transact(view.registry.address, data, STAKE * len(entries), purpose="nodes")


@pytest.fixture
def chain(run: RealRun, tmp_path: Path):
    copied = tmp_path / "chain.sqlite"
    shutil.copy(run.root / "chain" / "chain.sqlite", copied)
    embedded = EmbeddedChain(copied, NETWORK.chain_id)
    yield ContractChain(embedded, run.network)
    embedded.close()


def test_the_contracts_show_what_the_world_says(run: RealRun, chain: ContractChain) -> None:
    said = run.world.chain
    deployment, expected = chain.deployment(), said.deployment()
    assert replace(deployment, code={}) == replace(expected, code={})
    for epoch in (*EPOCHS, 99):
        assert chain.committee(epoch) == said.committee(epoch)
        assert chain.commitments(epoch) == said.commitments(epoch)
        assert chain.epoch_digest(epoch) == said.epoch_digest(epoch)
        assert chain.budget(epoch) == said.budget(epoch)
        assert chain.unlocked(epoch) == said.unlocked(epoch)
    assert chain.opened(8).n == 4
    assert chain.opened(99) is None
    assert chain.schedule(8) == said.version
    assert chain.payees(8) == said.payees(8)
    told = attrgetter(*(one.name for one in fields(Reported) if one.name != "unlock_at"))
    assert list(map(told, chain.reports())) == list(map(told, said.reported))
    assert replace(chain.report(8), unlock_at=0) == replace(said.report(8), unlock_at=0)
    assert chain.report(8).unlock_at == chain.reports()[-1].unlock_at
    assert chain.report(99) is None
    assert chain.claims() == said.claims()
    assert chain.claimed(node_key("alpha")) == said.claimed(node_key("alpha")) > 0
    assert (chain.total_funded(), chain.total_claimed()) == (
        said.total_funded(),
        said.total_claimed(),
    )


def test_addresses_without_contracts_break_the_first_link_only(
    run: RealRun, chain: ContractChain
) -> None:
    wrong = replace(run.network.contracts, rewards=AGGREGATOR.address)
    elsewhere = ContractChain(chain._client, replace(run.network, contracts=wrong))
    world = replace(run.world, chain=elsewhere)
    world.chain.network = replace(network_values(run.network), rewards=AGGREGATOR.address)
    links = verify_epoch_evidence(world.source, 8)
    assert links[0].state is State.BROKEN
    assert any(item.startswith("Rewards: there is no contract") for item in links[0].items)
    assert {link.state for link in links[1:]} == {State.UNCHECKED}


def test_a_finished_run_is_verified_although_its_chain_is_down(run: RealRun) -> None:
    """The whole command: the chain's file is served for the duration, and nothing is left behind."""
    before = sorted(path for path in run.root.rglob("*") if path.is_file())
    result = CliRunner().invoke(main, ["verify", "--data-dir", str(run.root), "--epoch", "8"])
    assert result.exit_code == 0, result.output
    assert result.stdout.rstrip().endswith("epoch 8: every link holds")
    left = sorted(path for path in run.root.rglob("*") if path.is_file())
    assert {path.name for path in set(left) - set(before)} <= {
        "chain.sqlite-wal",
        "chain.sqlite-shm",
        "chain.sqlite.lock",
    }


def test_node_show_reads_the_claim_from_the_chain(run: RealRun) -> None:
    arguments = ["node", "show", "--data-dir", str(run.root), "--epoch", "8", "--node", "alpha"]
    value = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert value["claim_status"] == "claimed"
    assert int(value["claimed_atto"]) == run.world.chain.claimed(node_key("alpha"))


def test_without_network_or_chain_the_source_says_so(run: RealRun, tmp_path: Path) -> None:
    with pytest.raises(NotFound), open_source(tmp_path):
        pass
    run.network.save(tmp_path)
    with pytest.raises(RemoteFault, match="does not answer"), open_source(tmp_path):
        pass
    (tmp_path / "chain").mkdir()
    (tmp_path / "chain" / "chain.sqlite").write_bytes(b"this is no database" * 100)
    with pytest.raises(RemoteFault, match=r"does not start: .*chain"), open_source(tmp_path):
        pass


def test_a_log_that_cannot_be_read_has_no_entries(pristine: World, tmp_path: Path) -> None:
    world = pristine.copied_to(tmp_path)
    whole = world.source.logs()[0].entries
    assert len(whole) == 2
    bundles = tmp_path / MEASURE / "log" / "tile" / "entries"
    (bundles / "000.p" / ".2.tmp").write_bytes(b"x")
    assert world.source.logs()[0].entries == whole
    filled = encode_bundle([*whole, *[b"later"] * 254])
    (bundles / "000").write_bytes(filled)
    (bundles / "000.p" / "2").rename(tmp_path / "2")
    assert world.source.logs()[0].entries == whole
    for damaged in (filled[:-1], bytes(1 << 25), b""):
        (bundles / "000").write_bytes(damaged)
        assert world.source.logs()[0].entries == ()
    assert first_broken(verify_epoch_evidence(world.source, 8)).name == "epoch-log"
    shutil.rmtree(bundles)
    assert world.source.logs()[0].entries == ()
    bundles.write_bytes(b"\x00\x03abc")
    assert world.source.logs()[0].entries == ()
    (tmp_path / MEASURE / "log" / "checkpoint").unlink()
    assert world.source.logs() == []


def test_a_publication_without_a_log_has_no_folder_for_one(tmp_path: Path) -> None:
    publication = Publication(tmp_path)
    publication.put(b"an artefact")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epochs", "objects"]
