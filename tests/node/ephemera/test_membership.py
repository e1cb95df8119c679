"""Sources of members fail, lie and change; production goes on with the last set that worked."""

import asyncio
import ipaddress
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from members import KEYS, REALM, Network
from mesh import free_port, member_identity, within

from meridian.errors import InvalidInput, NotFound, RemoteFault
from meridian.node.ephemera import hints_url
from meridian.node.ephemera.address_hints import (
    AddressHint,
    decode_hints,
    encode_hints,
    is_public,
    newest,
    sign_hint,
    verify_hint,
)
from meridian.node.ephemera.member_set import MemberSet
from meridian.node.ephemera.members_file import MembersFile, read_members, write_members
from meridian.node.ephemera.membership import (
    FileHints,
    FileMembers,
    Membership,
    UrlHints,
)
from meridian.node.links import Peer
from meridian.primitives.base58 import public_key_text
from meridian.primitives.ids import address_text, network_id

NAME = "test"
LOCAL = replace(REALM, network=network_id(NAME))


def peers(n: int = 4) -> list[Peer]:
    return [
        Peer(KEYS[i].address, member_identity(i).link_key, "127.0.0.1", 3000 + i) for i in range(n)
    ]


def write(path: Path, number: int = 1, members: list[Peer] | None = None) -> None:
    entries = [(f"node-{i}", peer) for i, peer in enumerate(members or peers())]
    write_members(path, number=number, network=NAME, realm=LOCAL, members=entries)


# --- the file ---


def test_a_written_file_is_read_in_toml_and_json_with_either_form_of_link_key(tmp_path):
    path = tmp_path / "members.toml"
    write(path)
    found = read_members(path)
    expected = MemberSet.of(1, LOCAL, peers())
    assert found.member_set() == expected
    document = msgspec.to_builtins(found)
    for entry, peer in zip(document["members"], peers(), strict=True):
        entry["link_key"] = public_key_text(peer.link_key)
    (tmp_path / "members.json").write_text(json.dumps(document))
    assert read_members(tmp_path / "members.json").member_set() == expected


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("number = 1", "number = 0", "number"),
        ("number = 1", "numbr = 1", "numbr"),
        ("port = 3000", "port = 70000", "port"),
        ("port = 3000", "", "port"),
        ('host = "127.0.0.1"\nport = 3001', 'host = ""\nport = 3001', "host"),
        ('contract = "0x', 'contract = "x', "contract"),
        (address_text(KEYS[0].address), address_text(KEYS[1].address), "stands twice"),
        (address_text(KEYS[0].address), "0x12", "members.address"),
        ("link_key = ", "link_key = 7 #", "link_key"),
        ('link_key = "', 'link_key = "0', "members.link_key"),
        ("[[members]]", "[[membres]]", "members|membres"),
        ("number", "=", "statement|Invalid"),
    ],
)
def test_a_wrong_file_is_refused_by_its_field(tmp_path, old, new, reason):
    path = tmp_path / "members.toml"
    write(path)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InvalidInput, match=reason) as caught:
        read_members(path)
    assert caught.value.field == str(path)


def test_a_member_set_is_sorted_and_bounded():
    assert MemberSet.of(1, LOCAL, reversed(peers())).members == tuple(peers())
    with pytest.raises(InvalidInput, match="ascending"):
        MemberSet(1, LOCAL, tuple(reversed(peers())))
    assert MembersFile.__doc__


# --- the present set ---


async def test_the_last_known_set_stays_when_the_source_fails_also_over_a_restart(tmp_path):
    path = tmp_path / "members.toml"
    write(path)
    membership = Membership(FileMembers(path), [], tmp_path)
    first = await membership.first()
    await membership.accept(first)
    assert await membership.refresh() is None  # nothing new
    path.write_text("broken")
    assert await membership.refresh() is None
    assert membership.problem is not None
    assert membership.counters["failures"] == 1
    path.unlink()
    assert await membership.refresh() is None
    again = Membership(FileMembers(path), [], tmp_path)
    assert await again.first() == first
    await again.accept(first)
    write(path, number=2, members=peers()[:3])
    fresh = await membership.refresh()
    assert fresh is not None
    assert (fresh.number, len(fresh.members)) == (2, 3)
    assert membership.problem is None


async def test_without_any_known_set_there_is_no_start(tmp_path):
    with pytest.raises(NotFound):
        await Membership(FileMembers(tmp_path / "none.toml"), [], tmp_path).first()


async def test_an_older_set_is_not_taken(tmp_path):
    path = tmp_path / "members.toml"
    write(path, number=2)
    membership = Membership(FileMembers(path), [], tmp_path)
    present = await membership.first()
    await membership.accept(present)
    write(path, number=1)
    assert await membership.refresh() is None
    assert "older" in str(membership.problem)
    again = Membership(FileMembers(path), [], tmp_path)
    assert await again.first() == present
    assert "older" in str(again.problem)


async def test_a_set_that_the_node_refuses_is_offered_again_and_not_remembered(tmp_path):
    path = tmp_path / "members.toml"
    write(path)
    membership = Membership(FileMembers(path), [], tmp_path)
    first = await membership.first()
    await membership.accept(first)
    write(path, number=2)
    for _ in range(2):
        assert await membership.refresh() is not None
        membership.reject(InvalidInput("member set", "does not hold our own address"))
    path.unlink()
    assert await Membership(FileMembers(path), [], tmp_path).first() == first


async def test_hints_of_a_file_say_where_and_never_who(tmp_path):
    write(tmp_path / "members.toml", members=peers(3))
    moved = [replace(peer, port=9_000 + i) for i, peer in enumerate(peers(4))]
    write(tmp_path / "hints.toml", number=9, members=moved)
    membership = Membership(
        FileMembers(tmp_path / "members.toml"), [FileHints(tmp_path / "hints.toml")], tmp_path
    )
    found = await membership.first()
    assert (found.number, [p.port for p in found.members]) == (1, [9_000, 9_001, 9_002])
    (tmp_path / "hints.toml").write_text("broken")
    assert (await membership.first()).members == found.members  # the last known hints stay
    assert membership.problem


# --- signed hints ---


def hint(
    i: int = 0, host: str = "node.example.org", port: int = 3000, sequence: int = 1
) -> AddressHint:
    return sign_hint(LOCAL, KEYS[i], host=host, port=port, sequence=sequence)


def test_a_hint_is_bound_to_everything_in_it():
    good = hint()
    verify_hint(LOCAL, good)
    for change in (
        {"host": "other.example.org"},
        {"port": 1},
        {"sequence": 2},
        {"member": KEYS[1].address},
    ):
        with pytest.raises(InvalidInput, match="signature"):
            verify_hint(LOCAL, replace(good, **change))
    with pytest.raises(InvalidInput, match="signature"):
        verify_hint(REALM, good)
    for host in ("", "a b", "-x", "x\n", "x" * 300, "http://x"):
        with pytest.raises(InvalidInput, match="host"):
            hint(host=host)
    for host in ("127.0.0.1", "::1", "node-1", "a.example.org", "2001:db8::1"):
        verify_hint(LOCAL, hint(host=host))


def test_documents_of_hints_come_back_and_the_newest_counts():
    hints = [hint(0), hint(1)]
    body = msgspec.json.encode(encode_hints(hints))
    assert decode_hints(body, LOCAL) == hints
    for bad in (b"", b"[]", b'{"hints": [1]}', body.replace(b'"port":3000', b'"port":3001')):
        with pytest.raises(InvalidInput):
            decode_hints(bad, LOCAL)
    members = frozenset({KEYS[0].address})
    known = newest({}, [hint(0, sequence=5), hint(1)], members)
    assert set(known) == members  # strangers are not kept
    assert newest(known, [hint(0, port=1, sequence=4)], members) == known
    assert newest(known, [hint(0, port=1, sequence=6)], members)[KEYS[0].address].port == 1


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("0.0.0.0", False),
        ("::1", False),
        ("fe80::1", False),
        ("fc00::1", False),
        ("::ffff:169.254.169.254", False),
        ("2002:a9fe:a9fe::1", False),
        ("::ffff:8.8.8.8", True),
    ],
)
def test_private_addresses_are_known_in_every_dress(address, public):
    assert is_public(ipaddress.ip_address(address)) is public


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/hints",
        "ftp://example.org",
        "file:///etc/passwd",
        "https://user@example.org/",
        "https://10.0.0.1/",
        "https://[::ffff:169.254.169.254]/",
        "https://",
        "https://x:99999/",
        "",
    ],
)
def test_urls_that_may_not_be_fetched(url):
    with pytest.raises(InvalidInput, match="hints_url"):
        UrlHints(url, allow_private=False)


@pytest.fixture
async def serve() -> AsyncIterator[Any]:
    """Serves answers on loopback: path -> function of the request."""
    runners: list[web.AppRunner] = []

    async def start(handler: Any) -> str:
        app = web.Application()
        app.router.add_get("/{tail:.*}", handler)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        runners.append(runner)
        return f"http://127.0.0.1:{port}/hints"

    yield start
    for runner in runners:
        await runner.cleanup()


@within(90)
async def test_what_a_url_may_not_do(serve, monkeypatch):
    monkeypatch.setattr(hints_url, "TIMEOUT_S", 0.5)

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/redirect":
            raise web.HTTPFound("/hints")
        if request.path == "/long":
            return web.Response(body=b" " * (hints_url.BODY_BYTES_MAX + 1))
        if request.path == "/slow":
            await asyncio.sleep(5)
        if request.path == "/error":
            raise web.HTTPInternalServerError
        return web.Response(body=b"fine")

    base = (await serve(answer)).removesuffix("/hints")
    assert await hints_url.fetch(base + "/hints", allow_private=False) == b"fine"
    for path, reason in (
        ("/redirect", "answers 302"),
        ("/error", "answers 500"),
        ("/long", "more than"),
        ("/slow", "Timeout"),
    ):
        with pytest.raises(RemoteFault, match=reason):
            await hints_url.fetch(base + path, allow_private=False)
    with pytest.raises(OSError, match="private"):
        await hints_url.PinnedResolver(allow_private=False).resolve("localhost", 1)
    with pytest.raises(RemoteFault):
        await hints_url.fetch("http://127.0.0.1:9/", allow_private=False)


@within(90)
async def test_hints_of_a_url_move_members_and_its_failures_do_not(serve, tmp_path):
    answers = [
        msgspec.json.encode(encode_hints([hint(0, host="127.0.0.1", port=9_000, sequence=2)])),
        msgspec.json.encode(encode_hints([hint(0, host="127.0.0.1", port=9_001, sequence=1)])),
        b"broken",
        msgspec.json.encode(encode_hints([hint(1, host="no-such-host.invalid", port=1)])),
    ]

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=answers.pop(0))

    write(tmp_path / "members.toml")
    source = UrlHints(await serve(answer), allow_private=True)
    membership = Membership(FileMembers(tmp_path / "members.toml"), [source], tmp_path)
    for _ in range(4):
        found = await membership.first()
        assert [peer.port for peer in found.members] == [9_000, 3_001, 3_002, 3_003]
    assert [h.sequence for h in membership.hints() if h.member == KEYS[0].address] == [2]
    strict = UrlHints(await serve(answer), allow_private=False)
    answers.append(msgspec.json.encode(encode_hints([hint(0, host="127.0.0.1", port=1)])))
    assert await strict.fetch(found) == {}  # a private address on a stranger's word


@within(90)
async def test_a_running_node_takes_over_new_addresses(tmp_path):
    network = Network(tmp_path)
    await network.start(0, 1, 2)
    try:
        moved = replace(network.peers[3], port=free_port())
        wrong = list(network.peers)
        network.peers[3] = moved
        await network.start(3, present=MemberSet.of(1, REALM, network.peers))
        present = MemberSet.of(1, REALM, network.peers)
        for i in range(3):
            assert not await network.nodes[i].change_members(present)
            assert network.nodes[i].member_set != MemberSet.of(1, REALM, wrong)
        while not all(len(node.connected()) == 3 for node in network.nodes.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    finally:
        await network.stop()
