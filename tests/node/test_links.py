"""Links let members in and nobody else, keep order and bounds, and survive what one peer does.

Everything runs over real sockets and real TLS on loopback; attackers are raw TLS clients and
servers.
"""

import asyncio
import hashlib
import itertools
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
from mesh import NETWORK, QUICK, Mesh, free_port, member_address, member_identity, until, within

from meridian.errors import InvalidInput
from meridian.node.link_connection import Connection, PeerLink
from meridian.node.link_frames import FrameParser, Hello, Kind, PeerFault, encode_frame
from meridian.node.link_identity import (
    LinkIdentity,
    anchor_certificate,
    client_context,
    is_usable_link_key,
    issue_leaf,
    link_identity,
    server_context,
)
from meridian.node.link_queue import QueueLimits
from meridian.node.link_stream import LinkStream
from meridian.node.links import Links, Peer
from meridian.primitives.ids import Address

STRANGER = link_identity(hashlib.sha256(b"stranger").digest())

# --- who is let in -------------------------------------------------------------------------------


@dataclass
class Dialler:
    """A raw TLS client: an attacker, or a member without manners."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def is_refused(self) -> bool:
        """Tell whether the server ends the connection (it must, the test's limit waits)."""
        try:
            return await self.reader.read(1) == b""
        except (OSError, ssl.SSLError):
            return True

    def hello(self, sender: int, receiver: int, network: bytes = NETWORK) -> None:
        hello = Hello(network, member_address(sender), member_address(receiver))
        self.writer.write(encode_frame(Kind.HELLO, hello.encode()))

    async def answer(self) -> None:
        """Read the server's hello: the connection stands."""
        await self.reader.readexactly(len(encode_frame(Kind.HELLO, bytes(74))))


@asynccontextmanager
async def dialled(mesh: Mesh, to: int, identity: LinkIdentity) -> AsyncIterator[Dialler]:
    """Connect to a member with any identity."""
    peer = mesh.peers[to]
    context = client_context(identity, peer.link_key)
    reader, writer = await asyncio.open_connection(
        peer.host, peer.port, ssl=context, server_hostname=""
    )
    try:
        yield Dialler(reader, writer)
    finally:
        writer.transport.abort()


@within(20)
async def test_members_connect_in_full_mesh_and_hear_each_other_under_their_addresses() -> None:
    async with Mesh(4) as mesh:
        await mesh.start()
        await mesh.connected()
        for i, j in itertools.permutations(range(4), 2):
            mesh.links[i].send(member_address(j), b"from %d" % i)
        await until(lambda: all(len(mesh.heard[i]) == 3 for i in range(4)))
        for i, j in itertools.permutations(range(4), 2):
            assert mesh.messages(j, sender=i) == [b"from %d" % i]
            assert mesh.counter(i, "connections", peer=j) == 1


@within(20)
async def test_a_stranger_is_refused() -> None:
    async with Mesh(2) as mesh:
        await mesh.start(1)
        async with dialled(mesh, 1, STRANGER) as dialler:
            dialler.hello(0, 1)
            assert await dialler.is_refused()
        await until(lambda: mesh.counter(1, "pending") == 0)
        assert mesh.links[1].connected() == frozenset()
        assert mesh.heard[1] == []


@within(20)
async def test_a_stranger_who_signs_its_own_leaf_in_the_name_of_a_member_is_refused() -> None:
    """The issuer's name says member 0, the signature does not."""
    forged = issue_leaf_in_the_name_of(member_identity(0).link_key)
    async with Mesh(2) as mesh:
        await mesh.start(1)
        async with dialled(mesh, 1, forged) as dialler:
            dialler.hello(0, 1)
            assert await dialler.is_refused()
        assert mesh.links[1].connected() == frozenset()


def issue_leaf_in_the_name_of(victim_key: bytes) -> LinkIdentity:
    """Return the stranger with a leaf whose issuer name is replaced by the victim's (same length)."""
    honest_name, victim_name = STRANGER.link_key.hex().encode(), victim_key.hex().encode()
    from cryptography import x509

    certificate = x509.load_der_x509_certificate(STRANGER.leaf_der)
    tbs = certificate.tbs_certificate_bytes
    forged_tbs = tbs.replace(honest_name, victim_name)
    signature = STRANGER.private_key.sign(forged_tbs)
    forged = STRANGER.leaf_der.replace(tbs, forged_tbs).replace(certificate.signature, signature)
    assert forged != STRANGER.leaf_der
    return replace(STRANGER, leaf_der=forged)


@within(20)
async def test_a_leaf_that_a_member_signed_for_a_strangers_key_is_refused_although_tls_accepts_it() -> (
    None
):
    """A member may vouch for others in X.509; here only the pinned key itself counts."""
    member = member_identity(0)
    vouched = replace(STRANGER, leaf_der=issue_leaf(member.private_key, STRANGER.link_key))
    async with Mesh(2) as mesh:
        await mesh.start(1)
        async with dialled(mesh, 1, vouched) as dialler:
            dialler.hello(0, 1)
            assert await dialler.is_refused()
        await until(lambda: mesh.counter(1, "inbound_identity") == 1)
        assert mesh.links[1].connected() == frozenset()


@within(20)
async def test_a_member_that_claims_the_address_of_another_is_refused() -> None:
    async with Mesh(3) as mesh:
        await mesh.start(2)
        async with dialled(mesh, 2, member_identity(1)) as dialler:
            dialler.hello(0, 2)
            assert await dialler.is_refused()
        await until(lambda: mesh.counter(2, "inbound_identity") == 1)
        assert mesh.links[2].connected() == frozenset()


@pytest.mark.parametrize(
    ("name", "sender", "receiver", "network"),
    [
        ("inbound_network", 0, 1, bytes(32)),
        ("inbound_identity", 0, 2, NETWORK),
        ("inbound_direction", 2, 1, NETWORK),
    ],
)
@within(20)
async def test_a_hello_for_another_network_another_receiver_or_against_the_direction_is_refused(
    name: str, sender: int, receiver: int, network: bytes
) -> None:
    async with Mesh(3) as mesh:
        await mesh.start(1)
        async with dialled(mesh, 1, member_identity(sender)) as dialler:
            dialler.hello(sender, receiver, network)
            assert await dialler.is_refused()
        await until(lambda: mesh.counter(1, name) == 1)
        assert mesh.links[1].connected() == frozenset()


@pytest.mark.parametrize("impostor", [STRANGER, member_identity(2)], ids=["stranger", "member"])
@within(20)
async def test_a_server_with_the_wrong_key_is_refused(impostor: LinkIdentity) -> None:
    """At the port of member 1 answers a stranger, or another member: neither gets a hello."""
    async with Mesh(3) as mesh:
        got = bytearray()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            got.extend(await reader.read())
            writer.close()

        tls = server_context(impostor, [member_identity(0).link_key])
        server = await asyncio.start_server(serve, "127.0.0.1", mesh.peers[1].port, ssl=tls)
        async with server:
            await mesh.start(0)
            await until(lambda: mesh.counter(0, "dial_failures", peer=1) >= 2)
            assert mesh.links[0].connected() == frozenset()
            assert mesh.counter(0, "outbound_SSLCertVerificationError") >= 2
            await mesh.stop()
        assert bytes(got) == b""


@within(20)
async def test_a_server_whose_leaf_the_expected_member_signed_for_another_key_is_refused() -> None:
    vouched = replace(
        STRANGER, leaf_der=issue_leaf(member_identity(1).private_key, STRANGER.link_key)
    )
    async with Mesh(2) as mesh:

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        tls = server_context(vouched, [member_identity(0).link_key])
        server = await asyncio.start_server(serve, "127.0.0.1", mesh.peers[1].port, ssl=tls)
        async with server:
            await mesh.start(0)
            await until(lambda: mesh.counter(0, "outbound_identity") >= 1)
            await mesh.stop()


def test_certificates_are_functions_of_the_keys() -> None:
    seed = bytes(range(32))
    assert link_identity(seed).leaf_der == link_identity(seed).leaf_der
    key = link_identity(seed).link_key
    assert anchor_certificate(key) == anchor_certificate(key)
    assert link_identity(seed).private_key.private_bytes_raw().hex() not in repr(
        link_identity(seed)
    )
    with pytest.raises(InvalidInput, match="32"):
        link_identity(b"short")


def test_weak_link_keys_are_recognised() -> None:
    """Every encoding of a point whose order divides 8 is unusable; real keys and the base point are usable."""
    assert is_usable_link_key(link_identity(bytes(32)).link_key)
    base_point = bytes.fromhex("58" + "66" * 31)
    assert is_usable_link_key(base_point)
    assert not is_usable_link_key(bytes(31))
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p) % p
    for y in links_small_order():
        # x^2 from the curve equation; doubling three times must give y = 1, x = 0 (projective formulas avoid x itself:
        # y(2P) = (y^2 + x^2) / (2 + x^2 - y^2) on the curve -x^2 + y^2 = 1 + d x^2 y^2).
        value = y % p
        for _ in range(3):
            xx = (value * value - 1) * pow(d * value * value + 1, -1, p) % p
            value = (value * value + xx) * pow(2 + xx - value * value, -1, p) % p
        assert value == 1
        for sign in (0, 1 << 255):
            assert not is_usable_link_key((y | sign).to_bytes(32, "little"))


def links_small_order() -> list[int]:
    from meridian.node.link_identity import _SMALL_ORDER_Y

    assert len(_SMALL_ORDER_Y) == 7
    return [int.from_bytes(y, "little") for y in _SMALL_ORDER_Y]


@within(20)
async def test_members_with_meaningless_or_copied_link_keys_harm_only_themselves() -> None:
    async with Mesh(5) as mesh:
        mesh.peers[2] = replace(mesh.peers[2], link_key=bytes(32))
        mesh.peers[3] = replace(mesh.peers[3], link_key=b"\xff" * 32)
        mesh.peers[4] = replace(mesh.peers[4], link_key=member_identity(0).link_key)
        await mesh.start(0, 1)
        await mesh.connected()
        mesh.links[0].send(member_address(2), b"nobody there")
        assert mesh.counter(0, "unroutable") == 1
        assert mesh.counter(0, "unusable_keys") == 1
        mesh.links[0].send(member_address(1), b"x")
        await until(lambda: mesh.messages(1, sender=0) == [b"x"])


@within(20)
async def test_meaningless_endpoints_in_the_registry_harm_only_their_members() -> None:
    async with Mesh(7) as mesh:
        for i, (host, port) in enumerate(
            [("x" * 300, 1), ("a\0b", 1), ("127.0.0.1", 70_000), ("", -1), ("256.1.1.1", 1)], 2
        ):
            mesh.peers[i] = replace(mesh.peers[i], host=host, port=port)
        await mesh.start(0, 1)
        await mesh.connected()
        await until(lambda: all(mesh.counter(0, "dial_failures", i) >= 2 for i in range(2, 7)))
        assert mesh.links[0].connected() == {member_address(1)}


@within(20)
async def test_older_tls_is_refused() -> None:
    async with Mesh(2) as mesh:
        await mesh.start(1)
        context = client_context(member_identity(0), mesh.peers[1].link_key)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises((OSError, ssl.SSLError)):
            await asyncio.open_connection(
                "127.0.0.1", mesh.peers[1].port, ssl=context, server_hostname=""
            )


def test_contradicting_peers_are_refused() -> None:
    mesh = Mesh(2)
    with pytest.raises(InvalidInput, match="twice"):
        mesh.make(0, peers=[*mesh.peers, mesh.peers[0]])
    with pytest.raises(InvalidInput, match="another link key"):
        mesh.make(0, identity=STRANGER)
    with pytest.raises(InvalidInput, match="listen"):
        mesh.make(0, peers=mesh.peers[1:])
    with pytest.raises(InvalidInput, match="20 bytes"):
        mesh.make(0, peers=[*mesh.peers, replace(mesh.peers[1], address=Address(bytes(19)))])
    with pytest.raises(InvalidInput, match="network"):
        mesh.make(0, network=b"short")
    many = [Peer(Address(i.to_bytes(20, "big")), bytes(32), "", 0) for i in range(257)]
    with pytest.raises(InvalidInput, match="256"):
        mesh.make(0, peers=many)


@within(20)
async def test_an_occupied_port_is_reported_by_start() -> None:
    async with Mesh(2) as mesh:
        await mesh.start(0)
        with pytest.raises(InvalidInput, match="listen"):
            await mesh.make(1, listen=("127.0.0.1", mesh.peers[0].port)).start()


# --- garbage, floods, silence --------------------------------------------------------------------


@asynccontextmanager
async def rude_member(mesh: Mesh, sender: int, receiver: int) -> AsyncIterator[Dialler]:
    """Connect as a real member, hello done, and leave the rest to the test."""
    async with dialled(mesh, receiver, member_identity(sender)) as dialler:
        dialler.hello(sender, receiver)
        await dialler.answer()
        yield dialler


GARBAGE = {
    "a length of 1 GiB": (2**30).to_bytes(4, "big") + b"\x04",
    "a length of zero": bytes(5),
    "an unknown kind": encode_frame(Kind.SMALL, b"x")[:4] + b"\x63x",
    "a second hello": encode_frame(Kind.HELLO, bytes(74)),
    "bulk pieces without end": encode_frame(Kind.BULK_PART, bytes(2**20)) * 3,
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
@within(20)
async def test_garbage_of_a_member_ends_its_connection_only(garbage: bytes) -> None:
    async with Mesh(3) as mesh:
        await mesh.start(1, 2)
        await mesh.connected()
        async with rude_member(mesh, 0, 2) as dialler:
            dialler.writer.write(garbage)
            while not await dialler.is_refused():
                pass
        await until(lambda: member_address(0) not in mesh.links[2].connected())
        assert mesh.messages(2, sender=0) == []
        assert mesh.counter(2, "ended_length", 0) + mesh.counter(2, "ended_garbage", 0) == 1
        mesh.links[1].send(member_address(2), b"still here")
        await until(lambda: mesh.messages(2, sender=1) == [b"still here"])
        assert mesh.counter(2, "connections", peer=1) == 1


@within(20)
async def test_bytes_that_are_not_tls_and_hellos_of_1_gib_are_refused_before_authentication() -> (
    None
):
    async with Mesh(2) as mesh:
        await mesh.start(1)
        reader, writer = await asyncio.open_connection("127.0.0.1", mesh.peers[1].port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 10)
        await reader.read()  # Perhaps an alert; then the end.
        writer.transport.abort()
        async with dialled(mesh, 1, member_identity(0)) as dialler:
            dialler.writer.write((2**30).to_bytes(4, "big") + b"\x01")
            assert await dialler.is_refused()
        await until(lambda: mesh.counter(1, "inbound_length") == 1)
        await until(lambda: mesh.counter(1, "pending") == 0)


def test_a_length_of_1_gib_allocates_nothing() -> None:
    import tracemalloc

    parser = FrameParser(2**21)
    tracemalloc.start()
    try:
        with pytest.raises(PeerFault, match="length"):
            parser.feed((2**30).to_bytes(4, "big") + b"\x04" + b"x" * 1000)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_a_frame_is_stored_as_it_arrives_not_in_advance() -> None:
    """A peer that announces 2 MiB and sends 1000 bytes makes us hold about 1000 bytes."""
    import tracemalloc

    parser = FrameParser(2**21)
    tracemalloc.start()
    try:
        assert parser.feed((2**21 + 1).to_bytes(4, "big") + b"\x04" + b"x" * 1000) == []
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("chunk_bytes", [1, 4, 5, 6, 79, 80, 10_000])
def test_frames_are_the_same_however_the_bytes_arrive(chunk_bytes: int) -> None:
    """The hello alone first, under its own limit; what arrived with it is kept and read under the next limit."""
    hello = encode_frame(Kind.HELLO, bytes(74))
    rest = [(Kind.SMALL, b""), (Kind.BULK_PART, bytes(3000)), (Kind.PING, b""), (Kind.SMALL, b"x")]
    data = hello + b"".join(encode_frame(kind, payload) for kind, payload in rest)
    parser, heard = FrameParser(74), []
    for first in range(0, len(data), chunk_bytes):
        chunk = data[first : first + chunk_bytes]
        if heard:
            parser.keep(chunk)
        else:
            heard = parser.feed(chunk, frames_max=1)
    assert heard == [(Kind.HELLO, bytes(74))]
    parser.payload_max_bytes = 3000
    assert parser.feed(b"") == rest
    assert not parser.inside
    again, heard = FrameParser(3000), []
    for first in range(0, len(data), chunk_bytes):
        heard += again.feed(data[first : first + chunk_bytes])
    assert heard == [(Kind.HELLO, bytes(74)), *rest]


@within(20)
async def test_a_flood_of_10_000_messages_is_admitted_at_the_allowed_rate_only() -> None:
    """All arrive in order in the end: the flooder is slowed down by TCP, nothing is stored, others are served."""
    limits = replace(QUICK, inbound_messages_per_s=5_000, inbound_messages_burst=500)
    async with Mesh(3, limits) as mesh:
        await mesh.start(1, 2)
        await mesh.connected()
        clock = asyncio.get_running_loop().time
        async with rude_member(mesh, 0, 2) as dialler:
            began_s = clock()
            for i in range(10_000):
                dialler.writer.write(encode_frame(Kind.SMALL, b"%d" % i))
            await until(lambda: len(mesh.messages(2, sender=0)) >= 600)
            mesh.links[1].send(member_address(2), b"vote")
            await until(lambda: mesh.messages(2, sender=1) == [b"vote"])
            took_s = clock() - began_s
            admitted = len(mesh.messages(2, sender=0))
            assert admitted <= 500 + 5_000 * took_s + 1
            await until(lambda: len(mesh.messages(2, sender=0)) == 10_000)
            assert clock() - began_s >= (10_000 - 500) / 5_000 - 0.1
        assert mesh.messages(2, sender=0) == [b"%d" % i for i in range(10_000)]
        assert mesh.counter(2, "throttled", peer=0) > 0


@within(20)
async def test_unauthenticated_connections_are_capped_and_cannot_lock_members_out() -> None:
    limits = replace(QUICK, pending_max=8)
    async with Mesh(2, limits) as mesh:
        await mesh.start(1)
        idle = [await asyncio.open_connection("127.0.0.1", mesh.peers[1].port) for _ in range(40)]
        await until(lambda: mesh.counter(1, "pending_evicted") == 32)
        assert mesh.counter(1, "pending") == 8
        await mesh.start(0)
        await mesh.connected()
        for _, writer in idle:
            writer.transport.abort()


@within(20)
async def test_a_connection_that_says_nothing_is_closed_after_the_handshake_time() -> None:
    async with Mesh(2, replace(QUICK, handshake_ms=200)) as mesh:
        await mesh.start(1)
        reader, writer = await asyncio.open_connection("127.0.0.1", mesh.peers[1].port)
        assert await Dialler(reader, writer).is_refused()
        writer.transport.abort()
        async with dialled(mesh, 1, member_identity(0)) as dialler:  # TLS done, but no hello.
            assert await dialler.is_refused()
        await until(lambda: mesh.counter(1, "pending") == 0)


@within(20)
async def test_a_silent_peer_is_disconnected_and_an_idle_but_living_one_is_not() -> None:
    limits = replace(QUICK, ping_ms=100, dead_ms=300)
    async with Mesh(3, limits) as mesh:
        await mesh.start(1, 2)
        await mesh.connected()
        async with rude_member(mesh, 0, 2):
            await until(lambda: mesh.counter(2, "connected", peer=0) == 1)
            await until(lambda: mesh.counter(2, "ended_silent", peer=0) == 1)
        await asyncio.sleep(0.5)
        assert mesh.counter(2, "connections", peer=1) == 1
        assert mesh.counter(2, "connected", peer=1) == 1


@within(20)
async def test_a_slow_reader_fills_only_its_own_bounded_queues() -> None:
    limits = replace(
        QUICK,
        small=QueueLimits(frames_max=50, bytes_max=2**21),
        bulk=QueueLimits(frames_max=50, bytes_max=4 * 2**20),
    )
    async with Mesh(3, limits) as mesh:
        await mesh.start(1, 2)
        await mesh.connected()
        async with rude_member(mesh, 0, 2) as dialler:
            dialler.writer.transport.pause_reading()  # type: ignore[attr-defined]
            victim = member_address(0)
            for _ in range(200):
                mesh.links[2].send(victim, bytes(2**20), bulk=True)
                mesh.links[2].send(victim, bytes(10_000))
                await asyncio.sleep(0)
            assert mesh.counter(2, "bulk_waiting_bytes", peer=0) <= 4 * 2**20
            assert mesh.counter(2, "small_waiting", peer=0) <= 50
            assert mesh.counter(2, "bulk_dropped", peer=0) >= 100
            assert mesh.counter(2, "small_dropped", peer=0) >= 50
            for i in range(100):
                mesh.links[2].send(member_address(1), b"%d" % i)
                await until(lambda i=i: len(mesh.messages(1, sender=2)) == i + 1)


@within(20)
async def test_a_peer_that_takes_no_bytes_is_disconnected() -> None:
    limits = replace(QUICK, ping_ms=10_000, dead_ms=300)
    async with Mesh(2, limits) as mesh:
        await mesh.start(1)
        async with rude_member(mesh, 0, 1) as dialler:
            dialler.writer.transport.pause_reading()  # type: ignore[attr-defined]
            for _ in range(12):
                mesh.links[1].send(member_address(0), bytes(2**20), bulk=True)
            await until(
                lambda: mesh.counter(1, "ended_stalled", 0) + mesh.counter(1, "ended_lost", 0) == 1
            )


@within(20)
async def test_what_the_receiver_cannot_digest_ends_that_senders_connection_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Mesh(3) as mesh:

        def on_frame(sender: Address, message: bytes) -> None:
            if message == b"poison":
                raise KeyError(message)
            mesh.heard[2].append((sender, message))

        await mesh.start(0, 1)
        await mesh.start(2, on_frame=on_frame)
        await mesh.connected()
        mesh.links[0].send(member_address(2), b"poison")
        await until(lambda: mesh.counter(2, "ended_indigestible", peer=0) == 1)
        mesh.links[1].send(member_address(2), b"fine")
        await until(lambda: mesh.messages(2, sender=1) == [b"fine"])
        assert mesh.counter(2, "connections", peer=1) == 1
        assert "not digested" in caplog.text


# --- order, restart ------------------------------------------------------------------------------


@within(20)
async def test_messages_of_one_class_arrive_in_order() -> None:
    async with Mesh(2, replace(QUICK, small=QueueLimits(5000, 2**22))) as mesh:
        await mesh.start()
        await mesh.connected()
        sent = [b"%d" % i for i in range(3000)]
        for message in sent:
            mesh.links[0].send(member_address(1), message)
        await until(lambda: len(mesh.heard[1]) == len(sent))
        assert mesh.messages(1, sender=0) == sent


@within(20)
async def test_large_empty_and_longest_messages_arrive_whole_and_longer_ones_are_refused_here() -> (
    None
):
    async with Mesh(2) as mesh:
        await mesh.start()
        await mesh.connected()
        longest = bytes(range(256)) * (2**21 // 256)
        messages = [b"", b"x", longest[: 2**16], longest[: 2**16 + 1], longest]
        for bulk in (False, True):
            for message in messages:
                mesh.links[0].send(member_address(1), message, bulk=bulk)
            await until(lambda: len(mesh.heard[1]) == len(messages))
            assert mesh.messages(1, sender=0) == messages
            mesh.heard[1].clear()
        with pytest.raises(InvalidInput, match="frame"):
            mesh.links[0].send(member_address(1), longest + b"x")


@within(20)
async def test_small_messages_overtake_bulk_ones() -> None:
    """32 MiB of bodies wait; a vote sent after them arrives before nearly all of them."""
    limits = replace(QUICK, bulk=QueueLimits(64, 2**26))
    async with Mesh(2, limits) as mesh:
        await mesh.start()
        await mesh.connected()
        for _ in range(32):
            mesh.links[0].send(member_address(1), bytes(2**20), bulk=True)
        await until(lambda: len(mesh.heard[1]) >= 1)
        mesh.links[0].send(member_address(1), b"vote")
        await until(lambda: b"vote" in mesh.messages(1, sender=0))
        assert mesh.messages(1, sender=0).index(b"vote") < 16
        await until(lambda: len(mesh.heard[1]) == 33)


@within(20)
async def test_a_vote_waits_behind_one_piece_of_a_body_at_most() -> None:
    loop = asyncio.get_running_loop()
    link = PeerLink(member_address(1), QUICK, loop.time())
    stream = LinkStream(None, server_side=False)
    connection = Connection(link, stream, QUICK, lambda sender, message: None)
    link.put(bytes(2**21), bulk=True, slot=None)
    first = connection._next_piece()
    assert first is not None
    assert first[4] == Kind.BULK_PART
    assert len(first) <= 2**16 + 5
    link.put(b"vote", bulk=False, slot=None)
    assert connection._next_piece() == encode_frame(Kind.SMALL, b"vote")
    rest = list(iter(connection._next_piece, None))
    assert [piece[4] for piece in rest] == [Kind.BULK_PART] * 30 + [Kind.BULK_END]


@within(20)
async def test_the_newest_message_of_a_slot_replaces_the_one_that_waits() -> None:
    async with Mesh(2) as mesh:
        await mesh.start(0)
        for i in range(1000):
            mesh.links[0].send(member_address(1), b"wish %d" % i, slot=b"wish")
            mesh.links[0].send(member_address(1), b"echo", slot=b"echo")
        await mesh.start(1)
        await until(lambda: len(mesh.heard[1]) == 2)
        assert mesh.messages(1, sender=0) == [b"wish 999", b"echo"]
        assert mesh.counter(0, "replaced", peer=1) == 1998


@pytest.mark.parametrize("restarted", [0, 1])
@within(20)
async def test_the_link_comes_back_after_either_side_restarts(restarted: int) -> None:
    other = 1 - restarted
    async with Mesh(2) as mesh:
        await mesh.start()
        await mesh.connected()
        for generation in range(3):
            await mesh.stop(restarted)
            await until(lambda: not mesh.links[other].connected())
            mesh.links[other].send(member_address(restarted), b"waited %d" % generation)
            await mesh.start(restarted)
            await mesh.connected()
            await until(
                lambda generation=generation: (
                    mesh.messages(restarted, sender=other)
                    == [b"waited %d" % i for i in range(generation + 1)]
                )
            )


@within(20)
async def test_a_new_connection_of_the_same_member_supersedes_the_dead_one() -> None:
    async with Mesh(2) as mesh:
        await mesh.start(1)
        async with rude_member(mesh, 0, 1) as first, rude_member(mesh, 0, 1) as second:
            assert await first.is_refused()
            second.writer.write(encode_frame(Kind.SMALL, b"alive"))
            await until(lambda: mesh.messages(1, sender=0) == [b"alive"])
        assert mesh.counter(1, "ended_superseded", peer=0) == 1


@within(20)
async def test_stop_closes_everything_and_leaves_no_task() -> None:
    before = asyncio.all_tasks()
    async with Mesh(3) as mesh:
        await mesh.start()
        await mesh.connected()
        joined = asyncio.create_task(mesh.links[0].join())
        await mesh.stop()
        await joined
    await until(lambda: asyncio.all_tasks() == before)
    for peer in mesh.peers:
        with pytest.raises(OSError):
            await asyncio.open_connection(peer.host, peer.port)


@within(20)
async def test_a_member_alone_in_its_committee_listens_and_waits() -> None:
    async with Mesh(1) as mesh:
        await mesh.start()
        assert mesh.links[0].connected() == frozenset()
        assert isinstance(mesh.links[0], Links)
        assert free_port() != mesh.links[0].port
