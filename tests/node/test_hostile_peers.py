"""Three real nodes decide epochs while a stranger, or the fourth member, does its worst to all of them.

Real processes, sockets and TLS. Each attack must be refused within bounds: of time (connections end), of memory and
descriptors (of the victims' processes), of queues (as the victims count them). And it must disturb nothing: the
three decide every epoch that began meanwhile, and nobody is accused.
"""

import asyncio
import contextlib
import hashlib
import random
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest
from mesh import within

from chaos.checker import Checker
from chaos.failpoint import read_lines
from chaos.roster import LINK_LIMITS, TIMING, RunConfig
from chaos.world import World, sample_of
from fuzz.mutation import mutate
from meridian.ephemera.context import Kind as MessageKind
from meridian.journey.host import free_port
from meridian.node.effect_driver import INBOX
from meridian.node.link_frames import Hello, Kind, encode_frame
from meridian.node.link_identity import LinkIdentity, client_context, link_identity
from meridian.primitives.codec import Writer

ATTACKER = 0
"""The member that attacks: the lowest address, so it dials all others."""
VICTIMS = (1, 2, 3)
EPOCH_MS = 500
BOUND_S = TIMING.view_ms / 1000 + 4
"""For a decision while the attacker's turn to lead passes by, on a machine that is shared."""
GROWTH_KIB_MAX = 32 * 1024
"""Inbox, read buffers and parser of the attacker's link, and what the epochs themselves take meanwhile."""
REFUSED_S = LINK_LIMITS.handshake_ms / 1000 + 7
"""The victims give a caller three seconds from the moment at which they take it; the rest is for a shared machine."""

pytestmark = pytest.mark.journey


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Three of four members, running."""
    directory = tmp_path_factory.mktemp("hostile")
    ports: list[int] = []
    while len(ports) < 4:
        ports.append(free_port(0, ports))
    config = RunConfig(
        seed=1,
        endpoints=tuple(("127.0.0.1", port) for port in ports),
        genesis_ms=round(time.time() * 1000) + 2000,
        genesis_monotonic_s=time.monotonic() + 2,
        epoch_ms=EPOCH_MS,
        keep_epochs=40,
        directory=str(directory),
    )
    world = World(config, None, mounts=False)
    world.open()
    try:
        for i in VICTIMS:
            world.start(i)
        time.sleep(max(0.0, config.opens_at_s(4) - time.monotonic()))
        yield world
        for i in VICTIMS:
            world.stop(i)
        assert world.problems == []
        # Last of all: whatever was done, what the three wrote is right.
        found = Checker(config, [], []).judge(0, time.monotonic(), 1e9)
        wrong = [text for text in found.violations if "node 0" not in text]
        assert wrong == []
        assert found.evidence == {}
    finally:
        world.close()


@dataclass
class Line:
    """A raw connection to a victim."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ended(self) -> None:
        """Wait until the victim has ended the connection, whatever it still said."""
        with contextlib.suppress(OSError, ssl.SSLError):
            while await self.reader.read(1 << 16):
                pass

    async def frames(self) -> AsyncIterator[bytes]:
        """What the victim sends as small messages."""
        while True:
            header = await self.reader.readexactly(5)
            payload = await self.reader.readexactly(int.from_bytes(header[:4], "big") - 1)
            if header[4] == Kind.SMALL:
                yield payload


class Attack:
    """One attack on all victims, and what it did to them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.config = world.config
        self.committee = world.committee
        self.chance = random.Random(7)

    @contextlib.asynccontextmanager
    async def line(self, to: int, identity: LinkIdentity | None = None) -> AsyncIterator[Line]:
        """Connect to a victim with an identity (default: the attacker's own); TLS is done."""
        own = identity or self.committee.identities[ATTACKER]
        context = client_context(own, self.committee.identities[to].link_key)
        reader, writer = await asyncio.open_connection(
            *self.config.endpoints[to], ssl=context, server_hostname=""
        )
        try:
            yield Line(reader, writer)
        finally:
            writer.transport.abort()

    @contextlib.asynccontextmanager
    async def member(self, to: int) -> AsyncIterator[Line]:
        """Connect as the member that we are, hello and all."""
        members = self.committee.members
        async with self.line(to) as line:
            hello = Hello(self.committee.network, members[ATTACKER], members[to])
            line.writer.write(encode_frame(Kind.HELLO, hello.encode()))
            await line.reader.readexactly(len(encode_frame(Kind.HELLO, hello.encode())))
            yield line

    def memory(self) -> dict[int, tuple[int, int]]:
        """Memory (KiB) and descriptors of every victim."""
        found = {}
        for i in VICTIMS:
            sample = sample_of(i, self.world.pid(i))
            assert sample is not None, f"node {i} has ended"
            found[i] = (sample.rss_kib, sample.descriptors)
        return found

    def running(self) -> int:
        return self.config.epoch_at(time.monotonic())

    async def decided(self, first: int, last: int) -> None:
        """Wait until all victims have decided these epochs; the bound counts from the last one's begin."""
        wanted = set(range(first, last + 1))
        deadline = self.config.opens_at_s(last) + BOUND_S
        while not all(self.world.decided[i] >= wanted for i in VICTIMS):
            assert time.monotonic() < deadline, {
                i: sorted(wanted - self.world.decided[i]) for i in VICTIMS
            }
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def under(world: World, seconds: float = 0.0) -> AsyncIterator[Attack]:
    """Attack inside; afterwards everything is as it was. It lasts some seconds at least, so epochs begin under it."""
    attack = Attack(world)
    before, first = attack.memory(), attack.running() + 1
    world.queues_most.clear()
    ends_s = max(time.monotonic() + seconds, attack.config.opens_at_s(first + 1))
    peak = asyncio.create_task(peak_of(attack))
    try:
        yield attack
        await asyncio.sleep(max(0.0, ends_s - time.monotonic()))
    finally:
        peak.cancel()
    most = await peak
    await attack.decided(first, attack.running())
    for i in VICTIMS:
        assert most[i] - before[i][0] < GROWTH_KIB_MAX, "memory"
    assert world.queues_most["inbox"] <= 3 * INBOX.frames_max
    assert world.queues_most["pending"] <= LINK_LIMITS.pending_max
    assert world.queues_most["small_bytes"] <= 3 * LINK_LIMITS.small.bytes_max
    deadline = time.monotonic() + REFUSED_S
    while any(world.queues[i]["pending"] for i in VICTIMS) or any(
        now[1] > before[i][1] + 2 for i, now in attack.memory().items()
    ):
        assert time.monotonic() < deadline, (attack.memory(), before, world.queues)
        await asyncio.sleep(0.1)
    assert all(world.queues[i]["connected"] == 2 for i in VICTIMS)


async def peak_of(attack: Attack) -> dict[int, int]:
    """Look at the victims' memory until cancelled; return the most of each."""
    most = dict.fromkeys(VICTIMS, 0)
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            for i, (rss_kib, _) in attack.memory().items():
                most[i] = max(most[i], rss_kib)
            await asyncio.sleep(0.02)
    return most


async def all_victims(deed: Callable[[int], Awaitable[None]]) -> None:
    """Do something to all victims at once."""
    await asyncio.gather(*(deed(i) for i in VICTIMS))


@within(60)
async def test_strangers_are_refused(world):
    """Unknown keys, plain bytes and silence, sixty connections to each victim."""
    stranger = link_identity(hashlib.sha256(b"stranger").digest())
    async with under(world) as attack:

        async def knock(i: int) -> None:
            # In TLS 1.3 a client hears only after its own handshake that it was refused.
            with contextlib.suppress(OSError, ssl.SSLError):
                async with attack.line(i, stranger) as line:
                    line.writer.write(bytes(1000))
                    await line.ended()

        async def shout(i: int, data: bytes) -> None:
            reader, writer = await asyncio.open_connection(*attack.config.endpoints[i])
            writer.write(data)
            await Line(reader, writer).ended()
            writer.transport.abort()

        async def everything(i: int) -> None:
            began_s = time.monotonic()
            await asyncio.gather(
                *(knock(i) for _ in range(20)),
                *(shout(i, b"GET / HTTP/1.1\r\n\r\n") for _ in range(20)),
                *(shout(i, b"") for _ in range(20)),
            )
            assert time.monotonic() - began_s < REFUSED_S

        await all_victims(everything)


@within(60)
async def test_a_length_of_a_gibibyte_is_refused_wherever_it_stands(world):
    """Before the hello, after it, and in a bulk message that never ends."""
    gibibyte = (2**30).to_bytes(4, "big")
    async with under(world) as attack:

        async def deed(i: int) -> None:
            began_s = time.monotonic()
            async with attack.line(i) as line:
                line.writer.write(gibibyte + bytes([Kind.HELLO]) + bytes(1 << 16))
                await line.ended()
            for kind in (Kind.SMALL, Kind.BULK_PART, Kind.BULK_END, Kind.PING):
                async with attack.member(i) as line:
                    line.writer.write(gibibyte + bytes([kind]) + bytes(1 << 20))
                    await line.ended()
            async with attack.member(i) as line:
                part = encode_frame(Kind.BULK_PART, bytes(1 << 16))
                for _ in range(2 * LINK_LIMITS.frame_max_bytes // (1 << 16)):
                    line.writer.write(part)
                await line.ended()
            assert time.monotonic() - began_s < REFUSED_S

        await all_victims(deed)


@within(60)
async def test_a_flood_of_10_000_messages_of_one_member_holds_up_nobody(world):
    """Each message has the form of a vote of the running epoch, so that each costs a signature check."""
    async with under(world) as attack:
        rejected = sum(world.queues[i]["rejected"] for i in VICTIMS)

        def vote() -> bytes:
            out = Writer().u8(1).u8(MessageKind.VOTE).u64(attack.running()).u16(ATTACKER).u32(0)
            return out.raw(attack.chance.randbytes(96)).bytes()

        async def deed(i: int) -> None:
            async with attack.member(i) as line:
                for _ in range(100):
                    for _ in range(100):
                        line.writer.write(encode_frame(Kind.SMALL, vote()))
                    await line.writer.drain()
                line.writer.write(encode_frame(Kind.PING))
                # All is taken before the answer to what came last.
                async with asyncio.timeout(20):
                    while True:
                        header = await line.reader.readexactly(5)
                        await line.reader.readexactly(int.from_bytes(header[:4], "big") - 1)
                        if header[4] == Kind.PONG:
                            return

        began_s = time.monotonic()
        await all_victims(deed)
        # The allowance: a burst, then so many a second.
        burst, rate = LINK_LIMITS.inbound_messages_burst, LINK_LIMITS.inbound_messages_per_s
        assert time.monotonic() - began_s > (10_000 - burst) / rate - 0.5
        await asyncio.sleep(1)
        now = sum(world.queues[i]["rejected"] + world.queues[i]["dropped"] for i in VICTIMS)
        # Those that came after the epoch's decision were not even looked at.
        assert now - rejected > 3_000


@within(60)
async def test_replayed_messages_change_nothing(world):
    """What the victims said to us, in older and in running epochs, comes back to all of them again and again."""
    async with under(world, seconds=2.5) as attack:
        heard: list[bytes] = []

        async def listen(i: int) -> None:
            async with attack.member(i) as line, asyncio.timeout(1.2):
                async for frame in line.frames():
                    heard.append(frame)  # noqa: PERF401 - what came until the time is over counts

        await asyncio.gather(*(listen(i) for i in VICTIMS), return_exceptions=True)
        kinds = {MessageKind(frame[1]) for frame in heard}
        assert kinds >= {MessageKind.ROW, MessageKind.HAVE, MessageKind.ASK}

        async def replay(i: int) -> None:
            async with attack.member(i) as line:
                for _ in range(10):
                    for frame in heard:
                        line.writer.write(encode_frame(Kind.SMALL, frame))
                    await line.writer.drain()

        await all_victims(replay)


@within(60)
async def test_malformed_messages_of_a_fuzzer_are_refused(world):
    """Genuine frames of the running epochs, changed at random; then link frames changed at random."""
    async with under(world, seconds=2) as attack:
        heard: list[bytes] = []
        async with attack.member(VICTIMS[0]) as line, asyncio.timeout(5):
            async for frame in line.frames():
                heard.append(frame)
                if len(heard) == 12:
                    break

        def changed(data: bytes) -> bytes:
            return mutate(attack.chance, data, attack.chance.choice(heard), 4096)

        async def deed(i: int) -> None:
            async with attack.member(i) as line:
                for _ in range(1500):
                    small = changed(attack.chance.choice(heard))
                    line.writer.write(encode_frame(Kind.SMALL, small))
                await line.writer.drain()
            for _ in range(30):
                stream = b"".join(encode_frame(Kind.SMALL, frame) for frame in heard)
                async with attack.member(i) as line:
                    with contextlib.suppress(OSError):
                        line.writer.write(changed(stream))
                        await line.writer.drain()

        await all_victims(deed)


def test_what_the_victims_wrote_in_the_end_names_nobody(world):
    """Before they stop: no evidence against anybody came out of all this."""
    for i in VICTIMS:
        lines = read_lines(world.config.results(i))
        assert len({line["epoch"] for line in lines if line["what"] == "decided"}) > 10
        assert not [line for line in lines if line["what"] == "misbehaviour"]
