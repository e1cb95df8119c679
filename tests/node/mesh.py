"""Links on loopback for the tests: members with ports, a mesh that starts and stops, and patient waiting."""

import asyncio
import functools
import hashlib
from collections import defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Self

from meridian.journey import host
from meridian.node.link_connection import LinkLimits
from meridian.node.link_identity import LinkIdentity, link_identity
from meridian.node.links import Links, Peer
from meridian.primitives.ids import Address

NETWORK = hashlib.sha256(b"links under test").digest()

QUICK = replace(LinkLimits(), reconnect_first_ms=20, reconnect_max_ms=100, stable_ms=50)
"""The real limits with a backoff for people who wait for tests."""


def within(
    limit_s: float,
) -> Callable[[Callable[..., Coroutine[Any, Any, None]]], Callable[..., Coroutine[Any, Any, None]]]:
    """Let a test fail, not hang, when what it waits for does not happen."""

    def decorate(
        test: Callable[..., Coroutine[Any, Any, None]],
    ) -> Callable[..., Coroutine[Any, Any, None]]:
        @functools.wraps(test)
        async def limited(*args: Any, **kwargs: Any) -> None:
            async with asyncio.timeout(limit_s):
                await test(*args, **kwargs)

        return limited

    return decorate


async def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds; the test's own limit is the timeout."""
    while not condition():  # noqa: ASYNC110 - what is waited for lives in other objects.
        await asyncio.sleep(0.005)


def member_address(number: int) -> Address:
    """Return the address of test member `number`; they ascend with the number."""
    return Address(bytes([number + 1]) * 20)


def member_identity(number: int) -> LinkIdentity:
    """Return the link identity of test member `number`."""
    return link_identity(hashlib.sha256(b"link seed %d" % number).digest())


_given: set[int] = set()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on, another one at every call.

    It lies below the range of outgoing connections: a port of that range may be taken by anybody's client before it
    is listened on.
    """
    _given.add(port := host.free_port(0, _given))
    return port


class Mesh:
    """`n` members of one committee; `heard[i]` is what member i got, in order, as (sender, message)."""

    def __init__(self, n: int, limits: LinkLimits = QUICK) -> None:
        self.limits = limits
        self.peers = [
            Peer(member_address(i), member_identity(i).link_key, "127.0.0.1", free_port())
            for i in range(n)
        ]
        self.heard: defaultdict[int, list[tuple[Address, bytes]]] = defaultdict(list)
        self.links: dict[int, Links] = {}

    def make(self, i: int, **changes: Any) -> Links:
        """Return the links of member i, not started."""

        def on_frame(sender: Address, message: bytes) -> None:
            self.heard[i].append((sender, message))

        arguments: dict[str, Any] = {
            "identity": member_identity(i),
            "peers": self.peers,
            "on_frame": on_frame,
            "address": member_address(i),
            "network": NETWORK,
            "limits": self.limits,
        }
        return Links(**(arguments | changes))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    async def start(self, *members: int, **changes: Any) -> None:
        """Start some members, or all."""
        for i in members or range(len(self.peers)):
            self.links[i] = self.make(i, **changes)
            await self.links[i].start()

    async def connected(self) -> None:
        """Wait until every started member is connected with every other started one."""
        started = {member_address(i) for i in self.links}
        await until(
            lambda: all(
                links.connected() >= started - {member_address(i)}
                for i, links in self.links.items()
            )
        )

    async def stop(self, *members: int) -> None:
        """Stop some members, or all that run."""
        for i in members or tuple(self.links):
            await self.links.pop(i).stop()

    def messages(self, i: int, sender: int) -> list[bytes]:
        """Return what member i heard from `sender`, in order."""
        return [message for address, message in self.heard[i] if address == member_address(sender)]

    def counter(self, i: int, name: str, peer: int | None = None) -> int:
        """Return one number of the statistics of member i."""
        key = "links" if peer is None else "0x" + member_address(peer).hex()
        return self.links[i].statistics()[key].get(name, 0)
