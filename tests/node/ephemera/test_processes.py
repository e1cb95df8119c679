"""A local cluster of real processes, made and used by the commands: finalise, store, kill -9, catch up, lose a disk."""

import asyncio
import contextlib
import json
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from click.testing import CliRunner
from mesh import free_port

from meridian.cli.main import main
from meridian.ephemera.broadcast.frame import Echo, encode
from meridian.ephemera.broadcast.slot import Kind, Slot, statement
from meridian.ephemera.messages.hooks import AcceptAll
from meridian.ephemera.messages.store_channel import STORE_CHANNEL
from meridian.errors import NotFound, RemoteFault
from meridian.node.ephemera.client import EphemeraClient
from meridian.node.ephemera.config import NodeConfig, update
from meridian.node.ephemera.documents import BlockDocument, verify_block_document
from meridian.node.ephemera.members_file import read_members
from meridian.node.ephemera.service import EphemeraService
from meridian.node.keystore import load_or_create_key, load_or_create_secret
from meridian.node.link_identity import link_identity
from meridian.node.links import Links
from meridian.primitives.ids import address_text

pytestmark = pytest.mark.asyncio(loop_scope="module")

MERIDIAN = [sys.executable, "-m", "meridian.cli.main", "ephemera"]
LIMIT_S = 60


def ephemera(*words: object, code: int = 0) -> str:
    """Run a command inside this process; returns what it printed. One at a time: it takes over standard output."""
    result = CliRunner().invoke(main, ["ephemera", *map(str, words)])
    assert result.exit_code == code, result.output
    return result.output


def run(*words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command as a process to its end."""
    done = subprocess.run(
        [*MERIDIAN, *map(str, words)], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


class Cluster:
    """Four nodes as processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        made = ephemera(
            "init-local-cluster", "-n", 4, "--dir", folder, "--interval-ms", 100, "--json"
        )
        self.nodes = json.loads(made)["nodes"]
        self.processes: dict[int, subprocess.Popen[str]] = {}
        # Ports of its own for every test run: the members file and the configurations say the same.
        members = (folder / "members.toml").read_text()
        for i in range(4):
            port = free_port()
            members = members.replace(f"port = {3000 + i}\n", f"port = {port}\n")
            update(self.config(i), "links.port", str(port))
            update(self.config(i), "api.port", str(free_port()))
            update(self.config(i), "membership.refresh_ms", "200")
        (folder / "members.toml").write_text(members)

    def config(self, i: int) -> Path:
        return self.folder / f"node-{i + 1}" / "ephemera.toml"

    def key(self, i: int) -> str:
        return str(self.nodes[i]["key_file"])

    def url(self, i: int) -> str:
        return f"http://127.0.0.1:{tomllib.loads(self.config(i).read_text())['api']['port']}"

    def client(self, i: int) -> EphemeraClient:
        return EphemeraClient(self.url(i), timeout_s=LIMIT_S)

    def start(self, *members: int) -> None:
        """Start nodes the way that the command says."""
        for i in members:
            words = self.nodes[i]["start"].split()
            assert words[:2] == ["meridian", "ephemera"]
            self.processes[i] = subprocess.Popen(
                [*MERIDIAN, *words[2:]],
                stdout=subprocess.PIPE,
                stderr=(self.folder / f"log-{i + 1}").open("a"),
                text=True,
            )
        for i in members:
            output = self.processes[i].stdout
            assert output is not None
            line = output.readline()
            assert line, (self.folder / f"log-{i + 1}").read_text()
            assert json.loads(line)["event"] == "ready"

    def end(self, i: int, number: signal.Signals) -> int:
        process = self.processes.pop(i)
        process.send_signal(number)
        code = process.wait(LIMIT_S)
        assert process.stdout is not None
        process.stdout.close()
        return code

    async def submit(self, i: int, text: str) -> str:
        """Submit by command; returns the message hash."""
        done = await asyncio.to_thread(
            ephemera, "submit", "--url", self.url(i), "--label", "test", "--data", text,
            "--key-file", self.key(i), "--json",
        )  # fmt: skip
        return str(json.loads(done)["message_hash"])


async def eventually(question: Callable[[], Any], *, but: tuple[type[Exception], ...] = ()) -> Any:
    """Ask until the answer is something."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            with contextlib.suppress(*but):
                answer = await question()
                if answer:
                    return answer
            await asyncio.sleep(0.05)


async def with_message(client: EphemeraClient, text: str) -> BlockDocument:
    """The first block at a node that holds a message of this text."""

    async def find() -> BlockDocument | None:
        page = await client.blocks(limit=100)
        for block in page.blocks:
            if any(m.data == text.encode().hex() for m in block.messages):
                return block
        return None

    return await eventually(find)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        made.start(0, 1, 2, 3)
        yield made
    finally:
        for process in made.processes.values():
            process.kill()
            process.wait()


async def test_a_submitted_message_is_the_same_certified_block_at_all(cluster):
    message_hash = await cluster.submit(0, "hello")
    async with cluster.client(0) as first:
        block = await with_message(first, "hello")
        for i in range(4):
            async with cluster.client(i) as client:

                async def same(client: EphemeraClient = client) -> bool:
                    return (await client.finalised(block.header.hash)) is not None

                await eventually(same, but=(NotFound,))
                found = await client.block(block.header.hash)
                assert (found.header, found.messages) == (block.header, block.messages)
        assert await first.verify_message(block.header.hash, message_hash, 0)
        (cluster.folder / "proof.json").write_bytes(
            msgspec.json.encode(await first.message_proof(block.header.hash, 0))
        )
    shown = await asyncio.to_thread(ephemera, "blocks", "--url", cluster.url(2))
    assert block.header.hash in shown
    saved = cluster.folder / "blocks.jsonl"
    await asyncio.to_thread(ephemera, "blocks", "--url", cluster.url(3), "--json", "-o", saved)
    members = cluster.folder / "members.toml"
    checked = ephemera("verify-block", saved, cluster.folder / "proof.json", "--members", members)
    assert "✗" not in checked
    broken = saved.read_text().replace(b"hello".hex(), b"jello".hex(), 1)
    (cluster.folder / "broken.jsonl").write_text(broken)
    refused = ephemera("verify-block", cluster.folder / "broken.jsonl", "--json", code=1)
    assert '"holds": false' in refused
    other = members.read_text().replace("number = 1", "number = 2")
    (cluster.folder / "other.toml").write_text(other)
    refused = ephemera("verify-block", saved, "--members", cluster.folder / "other.toml", code=1)
    assert "not that of the members file" in refused


async def test_a_value_put_at_one_is_read_at_all(cluster):
    token = (cluster.folder / "node-2" / "admin.token").read_text().strip()
    assert (cluster.folder / "node-2" / "admin.token").stat().st_mode & 0o077 == 0
    async with cluster.client(1) as client:
        await client.store(b"key", b"value", token)
    for i in range(4):
        async with cluster.client(i) as client:

            async def read(client: EphemeraClient = client) -> bool:
                return (await client.query(b"key")).value == "0x" + b"value".hex()

            await eventually(read, but=(NotFound,))


async def test_a_killed_node_comes_back_and_catches_up(cluster):
    await cluster.submit(3, "before the kill")
    async with cluster.client(0) as client:
        await with_message(client, "before the kill")
    cluster.end(3, signal.SIGKILL)
    await cluster.submit(0, "while one is dead")
    async with cluster.client(1) as client:
        block = await with_message(client, "while one is dead")
        follower = asyncio.create_task(
            asyncio.to_thread(
                run, "blocks", "--url", cluster.url(2), "--follow", "--limit", 3, "--json"
            )
        )
    cluster.start(3)
    async with cluster.client(3) as client:

        async def there() -> bool:
            return verify_block_document(await client.block(block.header.hash)) is not None

        await eventually(there, but=(NotFound,))
    await cluster.submit(3, "after the kill")
    async with cluster.client(2) as client:
        await with_message(client, "after the kill")
    lines = (await follower).stdout.splitlines()
    assert len(lines) == 3
    for line in lines:
        verify_block_document(msgspec.json.decode(line, type=BlockDocument))


async def test_signals_stop_a_node_cleanly_and_it_goes_on(cluster):
    async with cluster.client(2) as client:
        last = await client.last_block()
    for number in (signal.SIGTERM, signal.SIGINT):
        assert cluster.end(2, number) == 0
        cluster.start(2)
    async with cluster.client(2) as client:
        assert await client.block(last.header.hash) is not None


async def test_a_lost_disk_observes_until_the_next_member_set(cluster):
    cluster.end(3, signal.SIGKILL)
    shutil.rmtree(cluster.folder / "node-4" / "data")
    cluster.start(3)
    async with cluster.client(3) as client:
        assert (await client.health()).observer
        async with cluster.client(0) as other:
            known = await other.last_block()

        async def followed() -> bool:
            return bool(await client.block(known.header.hash))

        await eventually(followed, but=(NotFound,))  # it has everything again, and signs nothing
        token = (cluster.folder / "node-4" / "admin.token").read_text().strip()
        with pytest.raises(RemoteFault, match="observes"):
            await client.store(b"k", b"v", token)
    members = cluster.folder / "members.toml"
    text = members.read_text().replace("number = 1", "number = 2")
    temporary = members.with_suffix(".new")
    temporary.write_text(text)
    temporary.replace(members)
    async with cluster.client(3) as client:

        async def takes_part() -> bool:
            return not (await client.health()).observer

        await eventually(takes_part)
    await cluster.submit(3, "in the second set")
    async with cluster.client(0) as client:
        block = await with_message(client, "in the second set")
        assert block.member_set.number == 2


async def test_a_node_without_a_quorum_is_unhealthy_and_finalises_later(cluster):
    cluster.end(1, signal.SIGTERM)
    cluster.end(2, signal.SIGTERM)
    async with cluster.client(0) as client:

        async def ill() -> bool:
            return bool((await client.health()).reasons)

        await eventually(ill)
        await cluster.submit(0, "waits for a third")
        cluster.start(1)
        await with_message(client, "waits for a third")


async def test_wrong_starts_end_with_their_exit_code(cluster, tmp_path):
    done = run("run-node", "--config", cluster.config(0), code=5)  # two processes of one node
    assert "locked" in done.stderr
    shutil.copytree(cluster.folder / "node-3", tmp_path / "node")
    shutil.copy(cluster.folder / "members.toml", tmp_path)
    config = tmp_path / "node" / "ephemera.toml"
    (tmp_path / "node" / "link.key").unlink()
    with pytest.raises(NotFound, match="generate-keypair"):
        EphemeraService(config, NodeConfig.load(config), AcceptAll())
    ephemera(
        "generate-keypair",
        "--key-file",
        tmp_path / "x",
        "--link-key-file",
        tmp_path / "node" / "link.key",
    )
    assert "another link key" in run("run-node", "--config", config, code=2).stderr


async def test_evidence_against_an_equivocator_is_kept_and_checked_by_anyone(cluster, tmp_path):
    """The third node's place is taken by a liar with its keys; what it signs twice convicts it, offline too."""
    node = cluster.folder / "node-3"
    key = load_or_create_key(Path(cluster.key(2)))
    members = read_members(cluster.folder / "members.toml").member_set()
    context = members.context()
    own = context.index_of(key.address)
    assert own is not None
    links = Links(
        link_identity(load_or_create_secret(node / "link.key")),
        members.members,
        lambda *_: None,
        address=key.address,
        network=members.realm.network,
    )
    await links.start()
    slot = Slot(STORE_CHANNEL, own, 5)
    frames = []
    for digest in (bytes(32), b"\x01" * 32):
        signature = key.sign(statement(context, Kind.ECHO, slot, digest))
        frames.append(encode(Echo(own, slot, digest, signature), context.epoch))
    folder = cluster.folder / "node-1" / "data" / "evidence"
    try:

        async def convicted() -> list[Path]:
            for frame in frames:
                for member in members.members:
                    links.send(member.address, frame)
            return sorted(folder.glob("*.evidence"))

        (path,) = await eventually(convicted)
    finally:
        await links.stop()
    shown = ephemera("verify-evidence", path, "--members", cluster.folder / "members.toml")
    assert f"{address_text(key.address)} is guilty of broadcast_echo" in shown
    (tmp_path / "cut").write_bytes(path.read_bytes()[:-1])
    assert "✗" in ephemera("verify-evidence", tmp_path / "cut", code=1)
    other = cluster.folder / "members.toml"
    (tmp_path / "other.toml").write_text(other.read_text().replace("number = 2", "number = 3"))
    refused = ephemera("verify-evidence", path, "--members", tmp_path / "other.toml", code=1)
    assert "another network or member set" in refused
