"""Evaluators without a chain: real replica, safety log, driver and links on loopback, through many epochs."""

import asyncio
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from mesh import NETWORK, QUICK, free_port, member_identity

from meridian.ephemera.context import Context
from meridian.ephemera.effects import Attested, Decided, Misbehaviour
from meridian.ephemera.limits import Limits, Timing
from meridian.ephemera.replica import Replica
from meridian.node.links import Links, Peer
from meridian.node.replica_driver import ReplicaDriver
from meridian.node.safety_log import SafetyLog
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey

TIMING = Timing(
    row_ms=20,
    reveal_ms=5,
    have_ms=20,
    fill_ms=100,
    grace_ms=1,
    view_ms=3_000,
    resend_ms=100,
    fetch_ms=500,
)
KEYS = sorted(
    (PrivateKey(hashlib.sha256(b"loopback %d" % i).digest()) for i in range(5)),
    key=lambda key: key.address,
)
ADDRESSES = tuple(key.address for key in KEYS)
DOMAIN = Domain(chain_id=31337, contract=Address(b"\xe0" * 20))


def context(epoch: int, members: Iterable[int] = range(4)) -> Context:
    return Context(DOMAIN, NETWORK, epoch, tuple(ADDRESSES[i] for i in sorted(members)))


def row(epoch: int, i: int) -> bytes:
    return b"row of %d in %d" % (i, epoch)


def report_of(decided: Decided) -> bytes:
    return hashlib.sha256(b"report" + decided.block.hash).digest()


class AnyRow:
    """Accepts every row."""

    def check_row(self, epoch: int, member: Address, body: bytes) -> str | None:
        return None


class Member:
    """One member as its process holds it together."""

    def __init__(self, number: int, folder: Path, peers: Sequence[Peer], limits: Limits) -> None:
        self.number = number
        path = folder / f"safety-{number}.db"
        self.log = SafetyLog(path, network=NETWORK, member=ADDRESSES[number])
        self.decided: dict[int, Decided] = {}
        self.attested: dict[int, Attested] = {}
        self.misbehaviour: list[Misbehaviour] = []
        self.open_at_once = 0
        self.replica = Replica(KEYS[number], TIMING, limits, AnyRow(), self.log)
        self.driver = ReplicaDriver(
            self.replica,
            self.log,
            on_decided=self._on_decided,
            on_attested=self._on_attested,
            on_misbehaviour=self.misbehaviour.append,
        )
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self.links = Links(
            member_identity(number),
            peers,
            self.driver.deliver,
            address=ADDRESSES[number],
            network=NETWORK,
            limits=QUICK,
        )

    def _on_decided(self, effect: Decided) -> None:
        self.decided[effect.epoch] = effect
        self._wake(effect.epoch)

    def _on_attested(self, effect: Attested) -> None:
        self.attested[effect.epoch] = effect
        self._wake(effect.epoch)

    def _wake(self, epoch: int) -> None:
        waiting = self._waiting.pop(epoch, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    async def _next(self, epoch: int) -> None:
        self._waiting[epoch] = asyncio.get_running_loop().create_future()
        await self._waiting[epoch]

    async def start(self) -> None:
        await self.links.start()
        await self.driver.start(self.links)

    async def stop(self) -> None:
        await self.driver.stop()
        await self.links.stop()
        self.log.close()

    async def open(self, made: Context) -> None:
        await self.driver.open_epoch(made)
        self.open_at_once = max(self.open_at_once, len(self.replica.epochs))

    async def finish(self, epoch: int) -> None:
        """Report what is decided, and close the epoch when the report is attested."""
        while epoch not in self.decided:
            await self._next(epoch)
        await self.driver.submit_report(epoch, bytes(32), report_of(self.decided[epoch]))
        while epoch not in self.attested:
            await self._next(epoch)
        await self.driver.close_epoch(epoch)

    async def take_part(self, made: Context) -> None:
        await self.open(made)
        await self.driver.submit_row(made.epoch, row(made.epoch, self.number))
        await self.finish(made.epoch)

    async def go(self, epochs: Iterable[int], at_once: int) -> None:
        """Take part in epochs in order, so many at once."""
        places = asyncio.Semaphore(at_once)

        async def one(epoch: int) -> None:
            try:
                await self.take_part(context(epoch))
            finally:
                places.release()

        async with asyncio.TaskGroup() as group:
            for epoch in epochs:
                await places.acquire()
                group.create_task(one(epoch))


class Loopback:
    """Members on ports of this machine; all know the same peers unless told otherwise."""

    def __init__(self, folder: Path, n: int = 4, limits: Limits | None = None) -> None:
        self.folder = folder
        self.limits = limits or Limits()
        self.peers = [
            Peer(ADDRESSES[i], member_identity(i).link_key, "127.0.0.1", free_port())
            for i in range(n)
        ]
        self.members: dict[int, Member] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        for i in tuple(self.members):
            await self.members.pop(i).stop()

    async def start(self, i: int, peers: Iterable[int] | None = None) -> Member:
        known = self.peers if peers is None else [self.peers[j] for j in peers]
        member = self.members[i] = Member(i, self.folder, known, self.limits)
        await member.start()
        return member
