"""docs/submit.md: every command that it shows in a block is run, in its order, on a village with a real service."""

import json
import shlex
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from markdown_pages import ROOT, fenced

from meridian.cli.main import main
from meridian.measure.commitment import node_tree_hash
from meridian.measure.manifest import Manifest, Nodes
from meridian.node.keystore import load_or_create_secret
from meridian.node.measure.publication import Publication
from meridian.primitives.cid import parse_cid
from meridian.primitives.ids import address_text
from meridian.scenario.jobs import EPOCH_SECONDS, FIRST_EPOCH, JOBS, NAME, NODES, SCHEMA, batch_of
from node.measure.measure_world import Process, make_config, operator_key
from node.watch.chain_endpoint import served
from node.watch.watch_world import AGGREGATOR, WORK, WatchWorld

ALL = sum(JOBS.values())


class Village:
    """A chain, a service whose epoch the test commits, and a directory in which somebody works."""

    def __init__(self, root: Path, world: WatchWorld, url: str) -> None:
        self.world, self.work = world, root / "work"
        (self.work / "net").mkdir(parents=True)
        network = world.network
        keys = root / "service" / "keys"
        keys.mkdir(parents=True)
        secret(keys / "aggregator.key", AGGREGATOR.secret.hex())
        config = make_config(
            root / "service",
            nodes=NODES,
            network=NAME,
            commitments=address_text(network.contracts.commitments),
            genesis_s=WORK.genesis_s,
            epoch_seconds=EPOCH_SECONDS,
            first_epoch=FIRST_EPOCH,
        )
        (root / "service" / "schema").write_bytes(SCHEMA.encode())
        self.service = Process(root / "service", config)
        self.public = root / "service" / "public"
        more = {"rpc_url": url, "measure_url": self.service.url, "publications": ()}
        replace(network, **more).save(self.work / "net")
        jobs = WORK.jobs_of(1)
        own = [job for job in jobs if job.node_id == "carl"]
        (self.work / "jobs.ndjson").write_bytes(batch_of(jobs))
        (self.work / "own.ndjson").write_bytes(batch_of(own))
        secret(self.work / "gateway.token", load_or_create_secret(config.gateway_token_file).hex())
        secret(self.work / "operator.key", operator_key("carl").secret.hex())
        with closing(self.service.client()) as client:
            client.set_clock(WORK.end_us(1))

    def commit(self) -> None:
        """Seal the epoch at the service, and commit to what it publishes."""
        with closing(self.service.client()) as client:
            client.seal(1)
            index = client.wait_committed(1)
            manifest = Manifest.decode(client.artefact(parse_cid(index["manifest"])[1]))
            nodes = Nodes.decode(client.artefact(manifest.nodes))
        tree = node_tree_hash(nodes, SCHEMA.lanes.kind)
        self.world.open(1)
        facts = (1, tree, manifest.n_nodes, manifest.annotation, manifest.digest)
        self.world.send(AGGREGATOR, self.world.view.commitments, "commit", *facts)


def secret(path: Path, text: str) -> None:
    path.write_text(text + "\n")
    path.chmod(0o600)


@pytest.fixture
def village(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Village]:
    WatchWorld.found(tmp_path / "template")
    world = WatchWorld.copy(tmp_path / "template", tmp_path / "village")
    with served(world.chain) as url:
        made = Village(tmp_path, world, url)
        monkeypatch.chdir(made.work)
        yield made
        assert made.service.stop() == 0
    world.close()


def test_every_command_of_the_page_runs_in_its_order(village: Village) -> None:
    page = (ROOT / "docs/submit.md").read_text()
    commands = [shlex.split(line) for block in fenced(page, "sh") for line in block.splitlines()]
    said: list[str] = []
    for words in filter(None, commands):
        if words[1:3] == ["receipt", "check"] and "--job" not in words:
            village.commit()
        result = CliRunner().invoke(main, words[1:])
        assert result.exit_code == 0, f"{words}\n{result.output}"
        said.append(result.output)
    assert len(said) == 9
    again = json.loads(said[1])
    assert (again["accepted"], again["sent_earlier"]) == (ALL, ALL)
    assert f"{ALL} │" in said[2]
    assert "counted in epoch 1: number" in said[4]
    assert "everything agrees" in said[6]
    assert Publication(village.work / "public").root.joinpath("objects").iterdir()
