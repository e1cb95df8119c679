"""What a member holds does not grow: not with epochs, not with connections that come and go.

The chaos programme sees resident memory, minutes long. Here objects are counted, so a leak of one object per epoch or
connection is seen, and garbage that only the cyclic collector finds counts too: it may hold buffers that
the collector knows nothing of.
"""

import asyncio
import gc
import sys
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from loopback import Loopback, Member
from mesh import Mesh, member_address, until, within

from meridian.ephemera.limits import Limits

CLOSED = 8
EPOCHS = 150
RECONNECTS = 25
QUIET_S = 0.5
"""What is on its way has arrived."""


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Objects go when nobody names them, or stay and are counted."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def decide(members: Iterable[Member], epochs: range) -> None:
    """Let all members take part in the epochs, and forget what they were told and what nobody asks for any more."""
    await asyncio.gather(*(member.go(epochs, 2) for member in members))
    for member in members:
        member.decided.clear()
        member.attested.clear()
        await member.driver.forget_before(epochs.stop - CLOSED)


@within(120)
async def test_epochs_leave_nothing_behind(tmp_path: Path, no_collector: None) -> None:
    async with Loopback(tmp_path, limits=Limits(closed_epochs_max=CLOSED)) as net:
        members = [await net.start(i) for i in range(4)]
        objects, blocks = [], []
        for part in range(3):
            await decide(members, range(part * EPOCHS, (part + 1) * EPOCHS))
            await asyncio.sleep(QUIET_S)
            objects.append(len(gc.get_objects()))
            blocks.append(sys.getallocatedblocks())
        # One object for each epoch at each of four members would make 4 * EPOCHS.
        assert objects[2] - objects[1] < 3 * EPOCHS
        assert blocks[2] - blocks[1] < 3 * EPOCHS


@within(60)
async def test_connections_leave_nothing_behind(no_collector: None) -> None:
    """A dead connection goes with its buffers at once, at both ends, whoever cut it."""
    async with Mesh(2) as mesh:
        await mesh.start()
        dead: list[weakref.ref[object]] = []
        for number in range(RECONNECTS):
            await mesh.connected()
            near, far = number % 2, 1 - number % 2
            heard = len(mesh.messages(near, far))
            mesh.links[far].send(member_address(near), bytes(100_000), bulk=True)
            await until(lambda: len(mesh.messages(near, far)) > heard)  # noqa: B023
            pair = [mesh.links[i]._links[member_address(1 - i)].connection for i in (0, 1)]
            dead += [weakref.ref(connection._stream) for connection in pair]
            dead += [weakref.ref(connection) for connection in pair]
            ends = [connection.ended for connection in pair]
            pair[near].close("test")
            del pair
            for end in ends:
                await end.wait()
        await mesh.connected()
        await asyncio.sleep(0.05)
        assert sum(connection() is not None for connection in dead) <= 2, "but for the last"
