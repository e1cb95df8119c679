"""Peers that come, go and change while the links run; over real sockets and real TLS on loopback."""

import asyncio
import ssl
from dataclasses import replace

import pytest
from mesh import Mesh, free_port, member_address, member_identity, until, within

from meridian.errors import InvalidInput
from meridian.node.link_identity import client_context
from meridian.node.links import Peer
from meridian.primitives.ids import Address


async def exchanged(mesh: Mesh, i: int, j: int, message: bytes) -> None:
    """Let both members hear a message of the other."""
    mesh.links[i].send(member_address(j), message)
    mesh.links[j].send(member_address(i), message)
    await until(lambda: message in mesh.messages(i, j) and message in mesh.messages(j, i))


@pytest.mark.parametrize(("known", "new"), [((0, 1), 2), ((1, 2), 0)], ids=["dials", "is dialled"])
@within(20)
async def test_a_new_peer_gets_in_and_the_others_do_not_notice(
    known: tuple[int, int], new: int
) -> None:
    """Both directions: the newcomer has the highest address and is dialled, or the lowest and dials."""
    async with Mesh(3) as mesh:
        old = [mesh.peers[i] for i in known]
        await mesh.start(*known, peers=old)
        await mesh.connected()
        before = {i: mesh.links[i].connected() for i in known}
        await mesh.start(new)
        await asyncio.sleep(0.1)
        assert {i: mesh.links[i].connected() for i in known} == before, "nobody told them yet"
        assert mesh.links[new].connected() == frozenset()
        for i in known:
            mesh.links[i].update_peers(mesh.peers)
        await mesh.connected()
        for i in known:
            await exchanged(mesh, i, new, b"welcome %d" % i)
        assert mesh.counter(known[0], "connections", known[1]) == 1
        assert mesh.counter(known[1], "connections", known[0]) == 1


@pytest.mark.parametrize("gone", [0, 2])
@within(20)
async def test_a_removed_peer_is_cut_and_stays_out(gone: int) -> None:
    async with Mesh(3) as mesh:
        await mesh.start()
        await mesh.connected()
        left = [i for i in range(3) if i != gone]
        for i in left:
            mesh.links[i].update_peers([mesh.peers[j] for j in left])
        await until(lambda: not mesh.links[gone].connected())
        for i in left:
            assert mesh.links[i].connected() == {member_address(j) for j in left if j != i}
            mesh.links[i].send(member_address(gone), b"nobody")
            assert mesh.counter(i, "unroutable") == 1
        heard = len(mesh.heard[left[0]])
        mesh.links[gone].send(member_address(left[0]), b"let me in")
        await asyncio.sleep(0.4)  # Several times the reconnect backoff of `mesh.QUICK`.
        assert not mesh.links[gone].connected()
        assert len(mesh.heard[left[0]]) == heard
        await exchanged(mesh, left[0], left[1], b"still here")
        assert mesh.counter(left[0], "connections", left[1]) == 1


@within(20)
async def test_trust_in_a_removed_key_ends_at_once() -> None:
    """The TLS handshake itself fails, before anything of the protocol is read."""
    async with Mesh(3) as mesh:
        await mesh.start(2)
        mesh.links[2].update_peers(mesh.peers[1:])
        context = client_context(member_identity(0), mesh.peers[2].link_key)
        with pytest.raises((OSError, ssl.SSLError, asyncio.IncompleteReadError)):
            reader, _ = await asyncio.open_connection(
                "127.0.0.1", mesh.peers[2].port, ssl=context, server_hostname=""
            )
            await reader.readexactly(1)
        await until(lambda: mesh.counter(2, "inbound_SSLCertVerificationError") > 0)


@pytest.mark.parametrize("moved", [0, 1], ids=["who dials", "who is dialled"])
@within(20)
async def test_a_peer_that_comes_back_at_another_place_under_another_key(moved: int) -> None:
    async with Mesh(2) as mesh:
        await mesh.start()
        await mesh.connected()
        stays = 1 - moved
        await mesh.stop(moved)
        identity = member_identity(77)
        mesh.peers[moved] = replace(mesh.peers[moved], link_key=identity.link_key, port=free_port())
        await mesh.start(moved, identity=identity)
        await asyncio.sleep(0.1)
        assert not mesh.links[stays].connected()
        mesh.links[stays].update_peers(mesh.peers)
        await mesh.connected()
        await exchanged(mesh, 0, 1, b"again")


@within(20)
async def test_a_changed_key_cuts_a_standing_link() -> None:
    async with Mesh(2) as mesh:
        await mesh.start()
        await mesh.connected()
        changed = replace(mesh.peers[0], link_key=member_identity(77).link_key)
        mesh.links[1].update_peers([changed, mesh.peers[1]])
        await until(lambda: mesh.counter(1, "ended_rekeyed", 0) == 1)
        await until(lambda: not mesh.links[0].connected())
        await asyncio.sleep(0.2)
        assert not mesh.links[1].connected(), "the old key opens nothing any more"
        mesh.links[1].update_peers(mesh.peers)
        await mesh.connected()


@within(20)
async def test_a_changed_port_does_not_disturb_a_standing_link_and_counts_for_the_next() -> None:
    async with Mesh(2) as mesh:
        await mesh.start()
        await mesh.connected()
        mesh.peers[1] = replace(mesh.peers[1], port=free_port())
        mesh.links[0].update_peers(mesh.peers)
        await exchanged(mesh, 0, 1, b"undisturbed")
        assert mesh.counter(0, "connections", 1) == 1
        await mesh.stop(1)
        await mesh.start(1)
        await mesh.connected()


@within(20)
async def test_the_same_peers_again_change_nothing() -> None:
    async with Mesh(3) as mesh:
        await mesh.start()
        await mesh.connected()
        for _ in range(3):
            for links in mesh.links.values():
                links.update_peers(list(reversed(mesh.peers)))
        await exchanged(mesh, 0, 2, b"as before")
        assert all(mesh.counter(i, "connections", j) == 1 for i, j in ((0, 1), (1, 2), (2, 0)))


@within(20)
async def test_contradicting_peers_change_nothing() -> None:
    async with Mesh(2) as mesh:
        await mesh.start()
        await mesh.connected()
        foreign = replace(mesh.peers[0], link_key=member_identity(77).link_key)
        for bad in (
            [*mesh.peers, mesh.peers[1]],
            [foreign, mesh.peers[1]],
            [Peer(Address(b"\x01" * 19), bytes(32), "127.0.0.1", 1)],
        ):
            with pytest.raises(InvalidInput, match="peers"):
                mesh.links[0].update_peers(bad)
        await exchanged(mesh, 0, 1, b"as before")
        assert mesh.counter(0, "connections", 1) == 1


@within(20)
async def test_peers_may_change_before_the_start_and_after_the_end() -> None:
    async with Mesh(2) as mesh:
        links = mesh.make(0, peers=mesh.peers[:1])
        links.update_peers(mesh.peers)
        mesh.links[0] = links
        await links.start()
        await mesh.start(1)
        await mesh.connected()
        await links.stop()
        links.update_peers(mesh.peers[:1])
        assert links.connected() == frozenset()


@within(30)
async def test_peers_that_come_and_go_quickly_leave_one_link_and_no_task_behind() -> None:
    async with Mesh(3) as mesh:
        await mesh.start()
        await mesh.connected()
        for round_ in range(20):
            for links in mesh.links.values():
                links.update_peers(mesh.peers[: 2 + round_ % 2])
            await asyncio.sleep(0.01 * (round_ % 3))
        await mesh.connected()
        await exchanged(mesh, 0, 2, b"settled")
        await exchanged(mesh, 1, 2, b"settled")
        dialling = [task for task in asyncio.all_tasks() if "_keep_dialled" in repr(task)]
        assert len(dialling) == 3
