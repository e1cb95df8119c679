"""The service on a real chain: registrations from the Registry, commitments in the contract, each once."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from measure_world import CALENDAR, Process, lines, make_config, record
from msgspec import structs

from meridian.contracts.artefact import load
from meridian.contracts.calldata import NodeRegistration
from meridian.contracts.deployment import Addresses, Parameters, plan
from meridian.contracts.statements import RegisterNode
from meridian.node.chain.rpc import Rpc
from meridian.node.chain.sender import Sender
from meridian.node.chain_view import ChainView
from meridian.node.keystore import load_or_create_key
from meridian.node.measure.config import ChainAccess, MeasureConfig
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, address_text, network_id, node_key
from meridian.primitives.keys import PrivateKey

CHAIN_ID = 31337
STAKE = 10


class World:
    """An embedded chain with our contracts, and a service configured for it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sponsor = PrivateKey(bytes(31) + b"\x01")
        self.aggregator = load_or_create_key(root / "keys/aggregator.key")
        alloc = ",".join(address_text(key.address) for key in (self.sponsor, self.aggregator))
        self._chain = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "meridian.node.chain.embedded",
                "--db",
                str(root / "chain.sqlite"),
                "--port",
                "0",
                "--chain-id",
                str(CHAIN_ID),
                "--alloc",
                alloc,
                "--block-ms",
                "50",
            ],
            stdout=subprocess.PIPE,
        )
        assert self._chain.stdout is not None
        self.url = str(json.loads(self._chain.stdout.readline())["url"])
        self.rpc = Rpc(self.url)
        self.sender = Sender(self.rpc, self.sponsor, root / "sponsor.sqlite")
        self.addresses = self._deploy()
        self.view = ChainView(self.rpc, self.addresses)

    def _deploy(self) -> Addresses:
        parameters = Parameters(
            network=network_id("test"),
            genesis_s=CALENDAR.genesis_s,
            epoch_seconds=CALENDAR.epoch_seconds,
            first_epoch=CALENDAR.first_epoch,
            node_stake_min_atto=STAKE,
            evaluator_stake_min_atto=STAKE,
            exit_delay_s=60,
            aggregators=(self.aggregator.address,),
            challenge_seconds=1,
            function_digest=b"\x01" * 32,
            parameters_digest=b"\x02" * 32,
        )
        addresses, steps = plan(parameters, self.sponsor.address, 0)
        for step in steps:
            self.sender.deploy(load(step.name), *step.arguments, purpose=step.name)
        return addresses

    def register(self, *node_ids: str) -> None:
        registrations = []
        for name in node_ids:
            key = PrivateKey(node_key("operator of " + name))
            statement = RegisterNode(
                network=network_id("test"),
                node_key=node_key(name),
                operator=key.address,
                payee=Address(node_key(name)[:20]),
                nonce=0,
                deadline_s=(1 << 64) - 1,
            )
            domain = Domain(CHAIN_ID, self.addresses.registry)
            registrations.append(
                NodeRegistration(statement, key.sign(statement.digest(domain))).arguments
            )
        self.sender.transact(
            self.addresses.registry,
            self.view.registry.encode("register_nodes", registrations),
            STAKE * len(node_ids),
            purpose="register " + ",".join(node_ids),
        )

    def config(self) -> MeasureConfig:
        access = ChainAccess(
            rpc_url=self.url,
            registry=address_text(self.addresses.registry),
            evaluations=address_text(self.addresses.evaluations),
            rewards=address_text(self.addresses.rewards),
        )
        return make_config(
            self.root,
            chain=access,
            nodes_file=None,
            commitments=address_text(self.addresses.commitments),
        )

    def end(self) -> None:
        self.sender.close()
        self.rpc.close()
        self._chain.terminate()
        self._chain.wait(20)
        assert self._chain.stdout is not None
        self._chain.stdout.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.end()


def test_registered_nodes_are_admitted_and_epochs_committed_once_over_crashes(world: World) -> None:
    world.register("a", "b")
    process = Process(world.root, world.config())
    client = process.client()
    client.set_clock(CALENDAR.end_us(8))
    jobs = [record(at, node="ab"[at % 2]) for at in range(100)]
    answer = client.submit(lines([*jobs, record(100, node="c")]))
    assert (answer.accepted, [r.reason for r in answer.rejected]) == (100, ["unknown_node"])
    world.register("c")
    pause = threading.Event()
    for _ in range(60):
        if client.submit(lines([record(100, node="c")])).accepted:
            break
        pause.wait(0.1)
    client.seal(5)
    process.kill()  # somewhere between seal and commitment
    process = Process(world.root, world.config())
    client = process.client()
    first = client.wait_committed(5)
    client.seal(6)
    client.wait_committed(6)
    process.kill()
    (process.config.data_dir / "sender.sqlite").unlink()
    for name in ("000005", "000006"):  # as if the crash had come before the answer of the chain
        path = process.config.public_dir / f"epochs/{name}.json"
        index = json.loads(path.read_text())
        path.write_text(json.dumps(index | {"state": "sealed", "commitment": None}))
    process = Process(world.root, world.config())
    client = process.client()
    assert client.wait_committed(5) == first
    client.wait_committed(6)
    client.seal(7)
    client.wait_committed(7)
    assert process.stop() == 0
    events = world.view.committed()
    assert [event.epoch for event in events] == [5, 6, 7]
    assert all(event.aggregator == world.aggregator.address for event in events)
    assert (events[0].root.hex(), events[0].n_nodes) == (first["root"], 3)
    assert int.from_bytes(events[0].annotation[:8], "big") == 101
    assert first["commitment"]["tx_hash"] == events[0].tx_hash.hex()
    assert first["commitment"]["gas_used"] > 21_000


def test_a_chain_that_is_away_holds_commitments_up_but_not_ingest(world: World) -> None:
    world.register("a")
    config = world.config()
    assert config.chain is not None
    deep = structs.replace(config.chain, confirmations=1_000, transaction_wait_s=0.2)
    process = Process(world.root, structs.replace(config, chain=deep))
    client = process.client()
    client.set_clock(CALENDAR.end_us(6))
    client.submit(lines([record(1, node="a")]))
    client.seal(5)
    while "no block after 0.2 s" not in (client.epoch(5).get("problem") or ""):
        threading.Event().wait(0.05)
    world._chain.kill()
    world._chain.wait()
    while "chain endpoint" not in (client.epoch(5).get("problem") or ""):
        threading.Event().wait(0.05)
    assert client.epoch(5)["state"] == "sealed"
    assert client.submit(lines([record(2, node="a", second=3700)])).accepted == 1
    assert process.stop() == 0
