"""A Byzantine member: the real key of a member, over real links, and not one rule kept.

``python -m tests.chaos.hostile CONFIG NUMBER MANNER`` with one of the manners

* ``garbage``: noise, captured frames, frames with a flipped bit, in floods;
* ``twins``: two correct copies with one key and different rows, each talking to one half of the others;
* ``liar``: one copy whose every ROW, HAVE, ECHO, VOTE and report is another one for half of the others.

What it signs is in no safety log, so the member that takes its place again must not sign in these epochs.
"""

import asyncio
import hashlib
import random
import sys
import tempfile
from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from meridian.ephemera import frame as frames
from meridian.ephemera.block import have_digest
from meridian.ephemera.context import Kind
from meridian.ephemera.effects import Decided
from meridian.ephemera.message import (
    Echo,
    Have,
    Message,
    ReportSignature,
    Reveal,
    Row,
    Vote,
    report_digest,
)
from meridian.ephemera.opening import NO_TRACE, Opening, commitment_of
from meridian.ephemera.replica import Replica
from meridian.errors import InvalidInput
from meridian.journey.saboteur import garbage
from meridian.node.links import Links
from meridian.node.process import ready_line, serve_until_stopped, start_logging
from meridian.node.replica_driver import ReplicaDriver
from meridian.node.safety_log import SafetyLog
from meridian.primitives.ids import Address

from .member import ATTEMPT, LOOK_S
from .roster import LIMITS, LINK_LIMITS, TIMING, Committee, Rows, RunConfig, row_body

MANNERS: Final = ("garbage", "twins", "liar")
FLOOD: Final = 200
HEARD_MAX: Final = 400
BACK: Final = 4
"""Epochs before the running one in which it begins to take part."""

Change = Callable[[Address, bytes], bytes | None]


class Altered:
    """Links that ask what to send to whom instead; None is silence."""

    def __init__(self, links: Links, change: Change) -> None:
        self._links = links
        self._change = change

    def send(
        self, address: Address, frame: bytes, bulk: bool = False, slot: bytes | None = None
    ) -> None:
        """See `Links.send`."""
        changed = self._change(address, frame)
        if changed is not None:
            self._links.send(address, changed, bulk, slot)


class Hostile:
    """One hostile member in one process."""

    def __init__(self, config: RunConfig, number: int) -> None:
        self._config = config
        self._number = number
        self._committee = Committee(config)
        self._key = self._committee.keys[number]
        others = [m for m in self._committee.members if m != self._key.address]
        self._others = others
        self._half = frozenset(others[::2])
        self._listeners: list[Callable[[Address, bytes], None]] = []
        self._links = Links(
            self._committee.identities[number],
            self._committee.peers(),
            self._hear,
            address=self._key.address,
            network=self._committee.network,
            limits=LINK_LIMITS,
        )

    def _hear(self, sender: Address, frame: bytes) -> None:
        for listen in self._listeners:
            listen(sender, frame)

    async def run(self, manner: str) -> None:
        """Be hostile until cancelled."""
        await self._links.start()
        ready_line(hostile=manner)
        try:
            await {"garbage": self._garbage, "twins": self._twins, "liar": self._liar}[manner]()
        finally:
            await self._links.stop()

    async def _garbage(self) -> None:
        chance = random.Random(self._config.seed)
        heard: list[bytes] = []

        def listen(_sender: Address, frame: bytes) -> None:
            if len(heard) < HEARD_MAX:
                heard.append(frame)

        self._listeners.append(listen)
        while True:
            for other in self._others:
                for _ in range(chance.choice((1, 1, 1, FLOOD))):
                    self._links.send(other, garbage(chance, heard))
            await asyncio.sleep(0.02)

    async def _twins(self) -> None:
        rest = frozenset(self._others) - self._half
        await self._take_part(
            [(0, self._half, self._only(self._half)), (1, rest, self._only(rest))]
        )

    async def _liar(self) -> None:
        await self._take_part([(0, frozenset(self._others), self._contradict)])

    def _only(self, members: Collection[Address]) -> Change:
        return lambda address, frame: frame if address in members else None

    def _contradict(self, address: Address, frame: bytes) -> bytes | None:
        """Return for half of the others a signed contradiction of what the frame says."""
        epoch = frames.epoch_of(frame)
        context = self._committee.context(epoch)
        if address in self._half or Kind(frame[1]) is Kind.FETCH_REPLY:
            return frame
        message: Message = frames.decode(frame, context)
        if getattr(message, "member", None) != self._number:
            return frame
        other = hashlib.sha256(b"the opposite" + frame).digest()

        def sign(kind: Kind, view: int, digest: bytes) -> bytes:
            return self._key.sign(context.statement(kind, view, digest))

        match message:
            case Row() | Reveal():
                opening = Opening(bytes(32), b"\x0b" * 32, NO_TRACE)
                other = commitment_of(self._key.address, opening)
                signature = sign(Kind.ROW, 0, other)
                message = replace(message, digest=other, signature=signature)
                if isinstance(message, Reveal):
                    message = replace(message, opening=opening, body=None)
            case Have(_, entries):
                if len(entries) > context.rows_min:
                    entries = entries[:-1]
                else:
                    entries = (*entries[:-1], (entries[-1][0], other))
                signature = sign(Kind.HAVE, 0, have_digest(entries))
                message = replace(message, entries=entries, signature=signature)
            case Echo() | Vote():
                kind = Kind.ECHO if isinstance(message, Echo) else Kind.VOTE
                signature = sign(kind, message.view, other)
                message = replace(message, block_hash=other, signature=signature)
            case ReportSignature():
                said = sign(Kind.REPORT_SIG, 0, report_digest(message.attempt, other))
                message = replace(
                    message,
                    digest=other,
                    report_signature=self._key.sign(other),
                    signature=said,
                )
        return frames.encode(message, epoch)

    async def _take_part(self, copies: Sequence[tuple[int, Collection[Address], Change]]) -> None:
        """Run copies of the member, each with a row of its own, hearing and reaching some of the others."""
        async with AsyncExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            drivers: list[tuple[int, ReplicaDriver, dict[int, bytes]]] = []
            for variant, circle, change in copies:
                log = SafetyLog(
                    Path(folder) / f"{variant}.sqlite",
                    network=self._committee.network,
                    member=self._key.address,
                )
                stack.callback(log.close)
                decided: dict[int, bytes] = {}
                driver = self._driver(log, decided)
                self._listeners.append(self._heard_by(driver, circle))
                await driver.start(Altered(self._links, change))
                stack.push_async_callback(driver.stop)
                drivers.append((variant, driver, decided))
            await self._follow(drivers)

    def _driver(self, log: SafetyLog, decided: dict[int, bytes]) -> ReplicaDriver:
        def on_decided(effect: Decided) -> None:
            decided[effect.epoch] = effect.block.hash

        return ReplicaDriver(
            Replica(self._key, TIMING, LIMITS, Rows()),
            log,
            on_decided=on_decided,
            on_attested=lambda _: None,
            on_misbehaviour=lambda _: None,
        )

    def _heard_by(
        self, driver: ReplicaDriver, circle: Collection[Address]
    ) -> Callable[[Address, bytes], None]:
        def listen(sender: Address, frame: bytes) -> None:
            if sender in circle:
                driver.deliver(sender, frame)

        return listen

    async def _follow(self, drivers: Sequence[tuple[int, ReplicaDriver, Any]]) -> None:
        epoch = max(0, self._config.epoch_by_wall_clock() - BACK)
        while True:
            while epoch <= self._config.epoch_by_wall_clock():
                for variant, driver, _ in drivers:
                    await driver.open_epoch(self._committee.context(epoch))
                    await driver.submit_row(epoch, row_body(epoch, self._key.address, variant))
                    await driver.close_epoch(epoch - self._config.keep_epochs)
                epoch += 1
            for _, driver, decided in drivers:
                for decided_epoch in tuple(decided):
                    digest = decided.pop(decided_epoch)
                    with suppress(InvalidInput):  # it may have signed another one before
                        await driver.submit_report(decided_epoch, ATTEMPT, digest)
            await asyncio.sleep(LOOK_S)


def main() -> int:
    """Run the process and return its exit code."""
    config, number = RunConfig.load(Path(sys.argv[1])), int(sys.argv[2])
    start_logging(f"hostile-{number}")
    return serve_until_stopped(lambda: Hostile(config, number).run(sys.argv[3]))


if __name__ == "__main__":
    sys.exit(main())
