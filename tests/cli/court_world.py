"""A small network with disputes on a chain whose clock tests move: one epoch over and committed, nothing reported."""

from dataclasses import dataclass
from pathlib import Path

from chain_process import COIN, KEYS, write_keys
from clocked_chain import ClockedChain
from village_jobs import GENESIS_S, jobs_of

from meridian.contracts.artefact import load
from meridian.contracts.deployment import DisputeTerms, Parameters, plan
from meridian.measure.columns import write_segment
from meridian.measure.commitment import commit_epoch, node_tree_hash
from meridian.measure.manifest import Manifest, SegmentRef
from meridian.node.chain.contract import Contract, creation_code
from meridian.node.chain.sender import Sender
from meridian.node.chain_view import ChainView
from meridian.node.measure.publication import Publication
from meridian.node.network_file import NetworkFile
from meridian.primitives.ids import Address, network_id, node_key
from meridian.primitives.keys import PrivateKey
from meridian.scenario.jobs import NAME, NODES, SCHEMA

EPOCH_S = 1000
EPOCH = 1
SEALING_S = 3000
RESPONSE_S = 600
VOTING_S = 500
BOND = COIN // 4
SPONSOR, AGGREGATOR, EVALUATOR = KEYS["sponsor"], KEYS["operator"], KEYS["evaluator"]
REFEREES = tuple(PrivateKey(bytes(31) + bytes((number,))) for number in (111, 112, 113, 114))


@dataclass
class Court:
    """The network, its chain, and a data directory with `network.json`, keys and the publication."""

    root: Path
    chain: ClockedChain
    view: ChainView
    disputes: Contract
    referees: Contract

    def as_(self, who: str) -> list[object]:
        return ["--data-dir", self.root, "--key", self.key(who), "--yes"]

    def signs(self, who: str, out: str) -> list[object]:
        return ["--data-dir", self.root, "--key", self.key(who), "--out", self.root / out]

    def key(self, who: str) -> Path:
        return self.root / "keys" / f"{who}.key"

    def balance(self, account: Address) -> int:
        return int(self.chain.chain.call("eth_getBalance", "0x" + account.hex(), "latest"), 16)


def make_court(root: Path) -> Court:
    accounts = [SPONSOR, AGGREGATOR, EVALUATOR, *REFEREES]
    chain = ClockedChain(GENESIS_S + EPOCH_S + 100, [one.address for one in accounts])
    write_keys(root / "keys")
    for at, referee in enumerate(REFEREES):
        path = root / "keys" / f"referee-{at}.key"
        path.write_text(referee.secret.hex())
        path.chmod(0o600)
    sponsor = Sender(chain.chain, SPONSOR, root / "setup.sqlite")
    addresses, steps = plan(_parameters(), SPONSOR.address, 0)
    for step in steps:
        sponsor.transact(None, creation_code(load(step.name), step.arguments), purpose=step.name)
    sponsor.close()
    view = ChainView(chain.chain, addresses)
    _write_network(root, chain, view)
    _commit(root, chain, view)
    judges = (
        Contract(chain.chain, getattr(addresses, name.lower()), load(name))
        for name in ("Disputes", "Referees")
    )
    return Court(root, chain, view, *judges)


def _parameters() -> Parameters:
    return Parameters(
        network=network_id(NAME),
        genesis_s=GENESIS_S,
        epoch_seconds=EPOCH_S,
        first_epoch=EPOCH,
        node_stake_min_atto=COIN // 10,
        evaluator_stake_min_atto=COIN,
        exit_delay_s=100_000,
        aggregators=(AGGREGATOR.address,),
        challenge_seconds=100,
        function_digest=b"\x02" * 32,
        parameters_digest=b"\x03" * 32,
        sealing_seconds=SEALING_S,
        disputes=DisputeTerms(
            bond_atto=BOND,
            response_seconds=RESPONSE_S,
            burn_ppm=100_000,
            burn_address=Address(b"\xdd" * 20),
            referees=tuple(one.address for one in REFEREES),
            referee_stake_min_atto=7 * COIN,
            voting_seconds=VOTING_S,
        ),
    )


def _write_network(root: Path, chain: ClockedChain, view: ChainView) -> None:
    at = view.registry.address, view.commitments.address
    addresses, _ = plan(_parameters(), SPONSOR.address, 0)
    assert at == (addresses.registry, addresses.commitments)
    NetworkFile(
        network=NAME,
        chain_id=31337,
        rpc_url=chain.url,
        contracts=addresses,
        deploy_block=0,
        genesis_s=GENESIS_S,
        epoch_seconds=EPOCH_S,
        first_epoch=EPOCH,
        measure_url="http://127.0.0.1:1",
        publications=("measure/public",),
        function="count",
        aggregator=AGGREGATOR.address,
        log_vkey="",
        schema_digest=SCHEMA.digest,
        parameters_digest=b"\x03" * 32,
        evaluators=(),
    ).save(root)


def _commit(root: Path, chain: ClockedChain, view: ChainView) -> None:
    """Publish the epoch, and commit to it as the measure service does."""
    publication = Publication(root / "measure" / "public")
    table = jobs_of(NODES)
    made = commit_epoch(
        SCHEMA, EPOCH, table, {name: Address(node_key(name)[:20]) for name in NODES}
    )
    publication.put(SCHEMA.encode())
    data = write_segment(table)
    manifest = Manifest(
        network=NAME,
        network_id=network_id(NAME),
        epoch=EPOCH,
        aggregator=AGGREGATOR.address,
        schema=SCHEMA.digest,
        segments=(SegmentRef(publication.put(data), table.num_rows, len(data)),),
        nodes=publication.put(made.nodes.encode()),
        inputs=(),
        root=made.root,
        n_nodes=made.n_nodes,
        annotation=made.annotation,
        late=0,
        duplicates=0,
    )
    publication.put(manifest.encode())
    call = view.commitments.encode(
        "commit",
        EPOCH,
        node_tree_hash(made.nodes, SCHEMA.lanes.kind),
        made.n_nodes,
        made.annotation,
        manifest.digest,
    )
    aggregator = Sender(chain.chain, AGGREGATOR, root / "setup-aggregator.sqlite")
    aggregator.transact(view.commitments.address, call, purpose="commit")
    aggregator.close()
