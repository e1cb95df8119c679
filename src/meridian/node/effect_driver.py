"""What the drivers of the pure cores have in common: one task that feeds a core and carries out what it asks for.

One task does everything, one input after the other: a command of this process, a frame of a peer,
or the passing of a deadline goes into the pure core, and the effects that come out are carried out
in their order. It is the only place that shows a core a clock (milliseconds, monotonic).

Law: what one command, one deadline, or one round of frames (at most one of every peer) makes durable
(`Persist`, `Forget`, `Delivered`) is one transaction, and that transaction is durable before any other effect of
the round is touched; so a message leaves after what it needs, and perhaps after more. What is lazy goes
into the next transaction, in its place in the order, or into one of its own after `LAZY_MS`. An error of the storage, or any error
that is not somebody's bad input, ends the driver before anything else is sent, and for good: the
process should end too, and come back from its storage.
"""

import abc
import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from meridian.ephemera.effects import (
    Broadcast,
    Durable,
    Effect,
    Misbehaviour,
    Persist,
    Rejected,
    Send,
)
from meridian.errors import InvalidInput, MeridianError, NotFound, Overloaded, StorageFailure
from meridian.node.link_queue import FrameQueue, QueueLimits
from meridian.primitives.ids import Address, address_text

COMMANDS_MAX = 256
"""Commands of this process that may wait; one more is refused as Overloaded."""

SENDERS_MAX = 256
"""Peers that may have frames waiting; links know no more members than that at a time."""

INBOX = QueueLimits(frames_max=1024, bytes_max=8 * 1024 * 1024)
"""Frames of one peer that may wait; beyond it the oldest is forgotten, and the peer resends."""

REJECT_FIELDS_MAX = 64
"""Fields by which refused frames are counted apart."""

LAZY_MS = 100
"""A lazy record that met no transaction gets one of its own after this time."""

_WAIT_MIN_MS = 1

_log = logging.getLogger(__name__)

Call = Callable[[], Awaitable[Sequence[Effect]]]
"""A command: shows the core an input and returns its effects."""


class Transport(Protocol):
    """What a driver needs of `links.Links`."""

    def send(
        self, address: Address, frame: bytes, bulk: bool = False, slot: bytes | None = None
    ) -> None:
        """Let a frame leave for a member, best effort, without waiting."""
        ...


class EffectDriver(abc.ABC):
    """Drives one pure core; a subclass says which.

    Make it, give its `deliver` to `Links` as `on_frame`, then `start` it with these links.
    """

    def __init__(self, name: str, on_misbehaviour: Callable[[Misbehaviour], None]) -> None:
        """Prepare a driver; `name` is what log lines and errors call it."""
        self._name = name
        self._on_misbehaviour = on_misbehaviour
        self._commands: deque[tuple[Call, asyncio.Future[None]]] = deque()
        self._inbox: dict[Address, FrameQueue] = {}
        self._ready: dict[Address, FrameQueue] = {}
        self._lazy: list[Durable] = []
        self._lazy_due_ms = 0
        self._wake = asyncio.Event()
        self._counters = Counter(
            dict.fromkeys(
                (
                    "frames_taken",
                    "frames_rejected",
                    "frames_sent",
                    "transactions",
                    "records",
                    "inbox_senders_refused",
                ),
                0,
            )
        )
        self._rejects: Counter[str] = Counter()
        self._links: Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    # --- what a subclass says about its core ---

    @abc.abstractmethod
    def _receive(self, sender: Address, frame: bytes, now_ms: int) -> Sequence[Effect]:
        """Show the core a frame."""

    @abc.abstractmethod
    def _tick(self, now_ms: int) -> Sequence[Effect]:
        """Let the core do what is due."""

    @abc.abstractmethod
    def _next_deadline_ms(self) -> int | None:
        """Return when something will be due."""

    @abc.abstractmethod
    async def _store(self, run: Sequence[Durable]) -> None:
        """Make a run of durable effects durable, together; raises StorageFailure."""

    @abc.abstractmethod
    def _report(self, effect: Effect) -> None:
        """Carry out an effect that is the core's own kind."""

    # --- for the process ---

    async def start(self, links: Transport) -> None:
        """Begin to drive, sending over `links`."""
        assert self._task is None, "a driver starts once"
        self._links = links
        self._task = asyncio.create_task(self._drive(), name=self._name)

    async def stop(self) -> None:
        """Finish the effects of the current input, and end. Raises what had ended the driver before."""
        self._stopping = True
        self._wake.set()
        await self.join()

    async def join(self) -> None:
        """Wait until the driver ends; raises what ended it if it was not `stop`."""
        if self._task is not None:
            await asyncio.shield(self._task)

    def deliver(self, sender: Address, frame: bytes) -> None:
        """Take a frame from a link; the `on_frame` of `Links`."""
        queue = self._inbox.get(sender)
        if queue is None:
            if len(self._inbox) >= SENDERS_MAX:
                self._forget_idle_senders()
            if len(self._inbox) >= SENDERS_MAX:
                self._counters["inbox_senders_refused"] += 1
                return
            queue = self._inbox[sender] = FrameQueue(INBOX)
        queue.put(frame)
        self._ready[sender] = queue
        self._wake.set()

    def _forget_idle_senders(self) -> None:
        """Make room in the inbox: peers come and go with the committees."""
        for sender, queue in tuple(self._inbox.items()):
            if not queue:
                self._counters["frames_dropped"] += self._inbox.pop(sender).dropped

    def statistics(self) -> Mapping[str, int]:
        """Return counters as they stand."""
        return dict(self._counters) | {
            "commands_waiting": len(self._commands),
            "frames_waiting": sum(len(queue) for queue in self._inbox.values()),
            "frames_dropped": self._counters["frames_dropped"]
            + sum(queue.dropped for queue in self._inbox.values()),
        }

    def rejects(self) -> Mapping[str, int]:
        """Return how many frames were refused, by the field that was wrong."""
        return dict(self._rejects)

    async def _command(self, call: Call) -> None:
        if self._task is None or self._stopping or self._task.done():
            raise StorageFailure(f"the {self._name} does not run")
        if len(self._commands) >= COMMANDS_MAX:
            raise Overloaded(1.0, f"{COMMANDS_MAX} commands wait for the {self._name}")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._commands.append((call, done))
        self._wake.set()
        await done

    # --- the one task ---

    async def _drive(self) -> None:
        try:
            while not self._stopping:
                self._wake.clear()
                await self._take_command()
                await self._take_frames()
                await self._take_time()
                await self._wait()
            await self._store_lazy()
        except Exception:
            _log.exception("the %s ends", self._name)
            raise
        finally:
            self._stopping = True
            while self._commands:
                _, done = self._commands.popleft()
                _settle(done, StorageFailure(f"the {self._name} has ended"))

    async def _take_command(self) -> None:
        if not self._commands:
            return
        call, done = self._commands.popleft()
        try:
            try:
                effects = await call()
            except (InvalidInput, NotFound, Overloaded) as refusal:
                _settle(done, refusal)
                return
            await self._carry_out(effects)
        except BaseException as error:
            ended = error if isinstance(error, MeridianError) else StorageFailure(repr(error))
            _settle(done, ended)
            raise
        else:
            _settle(done, None)

    async def _take_frames(self) -> None:
        """Take one frame of every peer that has some: a busy peer gets no more turns than the others."""
        effects: list[Effect] = []
        now_ms = self._now_ms()
        for sender, queue in tuple(self._ready.items()):
            frame = queue.take()
            if not queue:
                del self._ready[sender]
            if frame is not None:
                self._counters["frames_taken"] += 1
                effects += self._receive(sender, frame, now_ms)
        await self._carry_out(effects)

    async def _take_time(self) -> None:
        if self._lazy and self._lazy_due_ms <= self._now_ms():
            await self._store_lazy()
        deadline_ms = self._next_deadline_ms()
        if deadline_ms is not None and deadline_ms <= self._now_ms():
            await self._carry_out(self._tick(self._now_ms()))

    async def _wait(self) -> None:
        """Let the links run, and sleep if there is nothing to do before the next deadline."""
        if self._commands or self._ready:
            await asyncio.sleep(0)
            return
        deadline_ms = self._next_deadline_ms()
        if self._lazy:
            due_ms = self._lazy_due_ms
            deadline_ms = due_ms if deadline_ms is None else min(due_ms, deadline_ms)
        if deadline_ms is None:
            await self._wake.wait()
            return
        wait_ms = max(_WAIT_MIN_MS, deadline_ms - self._now_ms())
        alarm = asyncio.get_running_loop().call_later(wait_ms / 1000, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            alarm.cancel()

    async def _carry_out(self, effects: Sequence[Effect]) -> None:
        if not effects:
            return
        run = [effect for effect in effects if isinstance(effect, Durable)]
        if run:
            if not self._lazy:
                self._lazy_due_ms = self._now_ms() + LAZY_MS
            self._lazy += run
            if not all(isinstance(effect, Persist) and effect.lazy for effect in run):
                await self._store_lazy()
        for effect in effects:
            if not isinstance(effect, Durable):
                self._perform(effect)

    async def _store_lazy(self) -> None:
        """Make durable what waits, in its order."""
        run, self._lazy = self._lazy, []
        if run:
            await self._store(run)
            self._counters["transactions"] += 1
            self._counters["records"] += len(run)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Send(to, frame, bulk):
                self._send(to, frame, bulk)
            case Broadcast(members, frame):
                for to in members:
                    self._send(to, frame, bulk=False)
            case Misbehaviour(epoch, member, kind):
                _log.warning(
                    "misbehaviour: member %d, %s, epoch %d",
                    member,
                    kind,
                    epoch,
                    extra={"epoch": epoch},
                )
                self._on_misbehaviour(effect)
            case Rejected(sender, field, reason):
                self._counters["frames_rejected"] += 1
                # The core names fields, not the peer; the bound holds should that ever change.
                known = field in self._rejects or len(self._rejects) < REJECT_FIELDS_MAX
                self._rejects[field if known else "other"] += 1
                _log.debug("refused of %s: %s: %s", address_text(sender), field, reason)
            case _:
                self._report(effect)

    def _send(self, to: Address, frame: bytes, bulk: bool) -> None:
        assert self._links is not None
        # The same small frame is resent until it is answered: to wait once in a queue is enough.
        self._links.send(to, frame, bulk, slot=None if bulk else frame)
        self._counters["frames_sent"] += 1

    def _now_ms(self) -> int:
        return int(asyncio.get_running_loop().time() * 1000)


def _settle(done: asyncio.Future[None], refusal: MeridianError | None) -> None:
    """Answer a command, unless whoever gave it has gone."""
    if done.done():
        return
    if refusal is None:
        done.set_result(None)
    else:
        done.set_exception(refusal)
