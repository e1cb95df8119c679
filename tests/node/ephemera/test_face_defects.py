"""The defects of the Rust Ephemera's shell (4.2 crashes from outside, 4.3 availability): each against real nodes.

Which rule prevents which defect stands in docs/defects.md. Those of the core are in tests/ephemera.
"""

import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from members import KEYS, REALM, Network, message
from mesh import until, within
from served import TOKEN, Served, served

from meridian.ephemera.messages.message import SignedMessage, sign_message
from meridian.errors import InvalidInput, RemoteFault
from meridian.node.ephemera.address_hints import encode_hints, sign_hint
from meridian.node.ephemera.config import CONFIG_FILE, NodeConfig
from meridian.node.ephemera.documents import message_document
from meridian.node.ephemera.members_file import read_members, write_members
from meridian.node.ephemera.membership import FileMembers, Membership, UrlHints
from meridian.node.ephemera.setup import MEMBERS_FILE, init_local_cluster
from meridian.node.ephemera.storage import FinalisedBlock
from meridian.node.ephemera.subscribers import Subscribers
from meridian.node.link_frames import FrameParser, encode_frame
from meridian.node.link_frames import Kind as LinkKind
from meridian.primitives import base58
from meridian.primitives.keys import PrivateKey

shared_loop = pytest.mark.asyncio(loop_scope="module")
"""For tests that use the module's nodes."""

VERIFY = "/ephemera/messages/verify"
SUBMIT = "/ephemera/broadcast/submit_message"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    folder: Path = tmp_path_factory.mktemp("faces")
    async with served(folder) as network:
        yield network


async def ask(node: Served, method: str, path: str, **more: Any) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, node.url(0) + path, **more) as answer,
    ):
        return answer.status, await answer.json()


async def lives(node: Served) -> None:
    """The node still takes a message and finalises it at all members."""
    sent = message(0, b"still here")
    body = msgspec.to_builtins(message_document(sent))
    assert (await ask(node, "POST", SUBMIT, json=body))[0] == 200
    wanted = sent.hash(REALM)
    await until(node.all(lambda n: n.storage.find_message(wanted) is not None))


# ---- 4.2


@shared_loop
async def test_4_2_verify_with_a_hash_of_wrong_length_is_refused(node):
    """A base58 hash that is not 32 bytes, and an index outside the block, ended the original's node."""
    await lives(node)
    last = (await ask(node, "GET", "/ephemera/broadcast/blocks/last"))[1]
    good = {
        "block_hash": last["header"]["hash"],
        "message_hash": "00" * 32,
        "message_index": 0,
    }
    assert (await ask(node, "POST", VERIFY, json=good)) == (200, {"verified": False})
    for field, value in (
        ("message_hash", base58.encode(b"x" * 31)),
        ("message_hash", base58.encode(b"x" * 33)),
        ("message_hash", ""),
        ("block_hash", base58.encode(b"short")),
        ("message_index", len(last["messages"])),
        ("message_index", 1 << 40),
        ("message_index", -1),
    ):
        status, answer = await ask(node, "POST", VERIFY, json=good | {field: value})
        assert (status, answer["error"]["field"]) == (400, field)
    await lives(node)


@shared_loop
async def test_4_2_an_asker_that_has_gone_stops_nothing(node):
    """Requests whose client leaves before the answer; the original's main loop panicked."""
    for i in range(20):
        body = msgspec.to_builtins(message_document(message(1, b"gone %d" % i)))
        with pytest.raises((TimeoutError, aiohttp.ClientError)):
            async with asyncio.timeout(0.001):
                await ask(node, "POST", SUBMIT, json=body)
    await lives(node)


@shared_loop
async def test_4_2_bad_hex_for_the_store_is_refused(node):
    """hex2bytes(...).unwrap(): odd, empty, not hex."""
    token = {"Authorization": f"Bearer {TOKEN}"}
    for key in ("0", "xyz", "0x", "0xg0"):
        assert (await ask(node, "GET", f"/ephemera/dht/query/{key}"))[0] in {400, 404}
        body = {"key": key, "value": "00"}
        assert (await ask(node, "POST", "/ephemera/dht/store", json=body, headers=token))[0] == 400
    await lives(node)


@shared_loop
async def test_4_2_pushing_blocks_keeps_no_memory(node):
    """The original leaked every block that it pushed. Ours are freed once the readers have read or lost them."""
    await lives(node)
    last = node.nodes[0].storage.last_block(None)
    assert last is not None
    subscribers = Subscribers()
    with subscribers.subscribe(blocks_max=8) as reader:
        gc.collect()
        before = sum(type(o) is FinalisedBlock for o in gc.get_objects())
        for _ in range(2_000):
            subscribers.publish(copied(last))
        await reader.next()
        gc.collect()
        after = sum(type(o) is FinalisedBlock for o in gc.get_objects())
    assert after - before <= 8


def copied(block: FinalisedBlock) -> FinalisedBlock:
    values = {name: getattr(block, name) for name in FinalisedBlock.__dataclass_fields__}
    return FinalisedBlock(**values)


@shared_loop
async def test_4_2_submission_is_authenticated_and_bounded(node):
    """A stranger, a forged signature, and more than a sender's share are refused before they cost anything."""
    made = message(1, b"mine")
    stranger = PrivateKey(b"\x07" * 32)
    values = {"number": 0, "created_ms": 1, "label": "test", "data": b"x"}
    foreign = sign_message(REALM, stranger, **values)
    forged = SignedMessage(KEYS[2].address, 0, 1, "test", b"mine", made.signature)
    for sent in (foreign, forged):
        status, _ = await ask(
            node, "POST", SUBMIT, json=msgspec.to_builtins(message_document(sent))
        )
        assert status == 401
    assert node.settings.mempool.per_sender_max <= 256  # the flood itself: D11


# ---- 4.3


@shared_loop
async def test_4_3_an_absent_key_is_answered_at_once(node):
    """The original's query of a key that nobody had wrote hung for ever."""
    async with asyncio.timeout(5):
        status, answer = await ask(node, "GET", "/ephemera/dht/query/0xabcdef")
    assert (status, answer["error"]["field"]) == (404, "request")


@within(60)
async def test_4_3_who_is_connected_changes_no_membership(tmp_path):
    """A member that leaves and comes back, twice: counted as away at once, n and q stay, links come again."""
    network = Network(tmp_path)
    await network.start()
    try:
        await until(network.all(lambda n: len(n.connected()) == 3))
        for _ in range(2):
            await network.stop(3)
            await until(network.all(lambda n: len(n.connected()) == 2))
            for n in network.nodes.values():
                health = n.health()
                assert (health.connected, health.members, health.quorum) == (2, 4, 3)
                assert not health.reasons
            sent = message(0, b"without you")
            await network.nodes[0].submit(sent)
            wanted = sent.hash(REALM)
            await until(network.all(lambda n: n.storage.find_message(wanted) is not None))  # noqa: B023
            await network.start(3, set_up=False)
            await until(network.all(lambda n: len(n.connected()) == 3))
            await until(network.all(lambda n: n.storage.find_message(wanted) is not None))  # noqa: B023
    finally:
        await network.stop()


@within(60)
async def test_4_3_a_provider_that_fails_stops_nothing(tmp_path):
    """Members file gone, broken, or empty: the last known set stays, over a restart too, and blocks go on."""
    network = Network(tmp_path)
    await network.start()
    path = tmp_path / "members.toml"
    present = network.member_set()
    write_members(
        path, number=1, network="x", realm=REALM, members=[("", p) for p in present.members]
    )
    try:
        membership = Membership(FileMembers(path), [], tmp_path)
        accepted = await membership.first()
        await membership.accept(accepted)
        for broken in ("", "number = ", "number = 2\nnetwork = 'x'\nmembers = []\n"):
            path.write_text(broken)
            assert await membership.refresh() is None
            assert membership.problem
        path.unlink()
        assert await membership.refresh() is None
        again = await Membership(FileMembers(path), [], tmp_path).first()
        assert {p.address for p in again.members} == {p.address for p in accepted.members}
        sent = message(0, b"goes on")
        await network.nodes[0].submit(sent)
        wanted = sent.hash(REALM)
        await until(network.all(lambda n: n.storage.find_message(wanted) is not None))
    finally:
        await network.stop()


@within(60)
async def test_4_3_a_url_is_asked_again_and_says_what_went_wrong(tmp_path):
    """A provider over HTTP that fails, then answers, then fails: every poll ends, and none panics."""
    asked = 0
    hint = sign_hint(REALM, KEYS[1], host="127.0.0.1", port=4242, sequence=1)
    body = msgspec.json.encode(encode_hints([hint]))

    async def answer(_request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(body=body) if asked == 2 else web.Response(status=500)

    app = web.Application()
    app.router.add_get("/hints", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/hints"
        hints = UrlHints(url, allow_private=True)
        members = Network(tmp_path).member_set()
        with pytest.raises(RemoteFault):
            await hints.fetch(members)
        assert await hints.fetch(members) == {KEYS[1].address: ("127.0.0.1", 4242)}
        with pytest.raises(RemoteFault):
            await hints.fetch(members)
        assert [known.member for known in hints.known()] == [KEYS[1].address]
        assert asked == 3
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64])
def test_4_3_a_frame_is_read_whole_however_it_arrives(step):
    """The original returned the whole buffer for a frame, and lost the prefix on partial reads."""
    sent = [(LinkKind.SMALL, bytes([i]) * i * 5) for i in range(1, 20)]
    wire = b"".join(encode_frame(kind, payload) for kind, payload in sent)
    parser = FrameParser(1_000)
    got = [frame for at in range(0, len(wire), step) for frame in parser.feed(wire[at : at + step])]
    assert got == sent
    assert not parser.inside


def test_4_3_only_storage_that_is_tested_can_be_chosen():
    """The original offered a backend that did not compile."""
    assert NodeConfig.parse('[storage]\nbackend = "sqlite"\n', "test").storage.backend == "sqlite"
    with pytest.raises(InvalidInput, match="backend"):
        NodeConfig.parse('[storage]\nbackend = "rocksdb"\n', "test")


def test_4_3_a_local_cluster_is_made_as_its_documents_say(tmp_path):
    """Configurations that load, hosts that are hosts, and no key that has no effect."""
    nodes = init_local_cluster(tmp_path, 4)
    members = read_members(tmp_path / MEMBERS_FILE)
    assert len({(entry.host, entry.port) for entry in members.members}) == 4
    for made in nodes:
        config = NodeConfig.load(made.config)
        assert config.links.host == "127.0.0.1"
        assert config.links.port in {entry.port for entry in members.members}
        assert made.keys.address in {peer.address for peer in members.member_set().members}
        assert made.config.name == CONFIG_FILE
    for unknown in ("[block_config]\n", "[blocks]\nproducers = true\n", "[node]\npub_key = ''\n"):
        with pytest.raises(InvalidInput):
            NodeConfig.parse(unknown, "test")


def test_D_also_no_key_stands_in_the_configuration(tmp_path):
    """Keys are files that only their owner reads; the configuration and the members file hold paths and public halves."""
    [made, *_] = init_local_cluster(tmp_path, 2)
    folder = made.config.parent
    config = NodeConfig.load(made.config)
    key_file = folder / config.node.key_file
    assert key_file.stat().st_mode & 0o077 == 0
    secret = key_file.read_text().strip().removeprefix("0x")
    for path in (made.config, tmp_path / MEMBERS_FILE):
        assert secret not in path.read_text()
    with pytest.raises(InvalidInput):
        NodeConfig.parse(f'[node]\nprivate_key = "{secret}"\n', "test")
