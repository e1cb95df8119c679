"""The replica driver: carries out what a replica asks for, over links, a safety log and a clock.

One task does everything, one input after the other: a command of this process, a frame of a peer,
or the passing of a deadline goes into the pure replica, and the effects that come out are carried
out in their order. It is the only place that shows the replica a clock (milliseconds, monotonic).

Law: consecutive `Persist` effects are one transaction, and that transaction is durable before the
next effect of any other kind is touched. An error of the safety log, or any error that is not
somebody's bad input, ends the driver before anything else is sent, and for good: the process should
end too, and come back from its log.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from meridian.ephemera.context import Context
from meridian.ephemera.effects import (
    Attested,
    Broadcast,
    Decided,
    Delivered,
    Effect,
    Misbehaviour,
    Persist,
    Record,
    Rejected,
    Send,
)
from meridian.ephemera.epoch import EpochStatus
from meridian.ephemera.replica import Replica
from meridian.errors import InvalidInput, MeridianError, NotFound, Overloaded, StorageFailure
from meridian.node.link_queue import FrameQueue, QueueLimits
from meridian.node.safety_log import SafetyLog
from meridian.primitives.ids import Address, address_text

COMMANDS_MAX = 256
"""Commands of this process that may wait; one more is refused as Overloaded."""

SENDERS_MAX = 128
"""Peers that may have frames waiting; links know no more members than that."""

INBOX = QueueLimits(frames_max=1024, bytes_max=8 * 1024 * 1024)
"""Frames of one peer that may wait; beyond it the oldest is forgotten, and the peer resends."""

_WAIT_MIN_MS = 1

_log = logging.getLogger(__name__)

_Call = Callable[[], Awaitable[Sequence[Effect]]]


class Transport(Protocol):
    """What the driver needs of `links.Links`."""

    def send(
        self, address: Address, frame: bytes, bulk: bool = False, slot: bytes | None = None
    ) -> None:
        """Let a frame leave for a member, best effort, without waiting."""
        ...


class ReplicaDriver:
    """Runs one member's replica.

    Make it, give its `deliver` to `Links` as `on_frame`, then `start` it with these links. The
    callbacks run in the driver's task: they must return at once (put the value into a queue) and
    must not raise. After a restart they may be called again for what they were called for before.
    """

    def __init__(
        self,
        replica: Replica,
        log: SafetyLog,
        *,
        on_decided: Callable[[Decided], None],
        on_attested: Callable[[Attested], None],
        on_misbehaviour: Callable[[Misbehaviour], None],
    ) -> None:
        self._replica = replica
        self._log = log
        self._on_decided = on_decided
        self._on_attested = on_attested
        self._on_misbehaviour = on_misbehaviour
        self._commands: deque[tuple[_Call, asyncio.Future[None]]] = deque()
        self._inbox: dict[Address, FrameQueue] = {}
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
        self._links: Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    # --- for the process ---

    async def start(self, links: Transport) -> None:
        """Begin to drive, sending over `links`."""
        assert self._task is None, "a driver starts once"
        self._links = links
        self._task = asyncio.create_task(self._drive(), name="replica driver")

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
                self._counters["inbox_senders_refused"] += 1
                return
            queue = self._inbox[sender] = FrameQueue(INBOX)
        queue.put(frame)
        self._wake.set()

    async def open_epoch(self, context: Context, *, observer: bool = False) -> None:
        """Open an epoch with what the safety log holds about it; returns when its first messages are queued.

        Args:
            context: The epoch's domain and members.
            observer: True if records of this epoch may have been lost (a new or restored disk,
                while we took part before): the member then follows the epoch but signs nothing in
                it.

        Raises:
            InvalidInput: We are not a member, the epoch is open already, or too many are.
            StorageFailure: The log cannot be read or contradicts the context; the driver has ended.
        """

        async def call() -> Sequence[Effect]:
            records = await asyncio.to_thread(self._log.load, context.epoch)
            return self._replica.open(context, records, self._now_ms(), observer=observer)

        await self._command(call)

    async def submit_row(self, epoch: int, body: bytes) -> None:
        """Contribute our own row; returns when it is durable and queued.

        Raises:
            NotFound: The epoch is not open.
            InvalidInput: Our own application refuses the body.
        """

        async def call() -> Sequence[Effect]:
            return self._replica.submit_row(epoch, body, self._now_ms())

        await self._command(call)

    async def submit_report(self, epoch: int, attempt: bytes, digest: bytes) -> None:
        """Sign a report digest; returns when the signature is durable and queued.

        Raises:
            NotFound: The epoch is not open.
            InvalidInput: Nothing is decided yet, or another digest was signed in this attempt.
        """

        async def call() -> Sequence[Effect]:
            return self._replica.submit_report(epoch, attempt, digest, self._now_ms())

        await self._command(call)

    async def close_epoch(self, epoch: int) -> None:
        """Forget an epoch that nobody has to catch up with any more; its records stay in the log."""

        async def call() -> Sequence[Effect]:
            self._replica.close(epoch)
            return ()

        await self._command(call)

    def status(self, epoch: int) -> EpochStatus:
        """Return what an epoch waits for.

        Raises:
            NotFound: The epoch is not open.
        """
        return self._replica.status(epoch)

    def statistics(self) -> Mapping[str, int]:
        """Return counters as they stand."""
        return dict(self._counters) | {
            "commands_waiting": len(self._commands),
            "frames_waiting": sum(len(queue) for queue in self._inbox.values()),
            "frames_dropped": sum(queue.dropped for queue in self._inbox.values()),
        }

    async def _command(self, call: _Call) -> None:
        if self._task is None or self._stopping or self._task.done():
            raise StorageFailure("the replica driver does not run")
        if len(self._commands) >= COMMANDS_MAX:
            raise Overloaded(1.0, f"{COMMANDS_MAX} commands wait for the replica")
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
        except Exception:
            _log.exception("the replica driver ends")
            raise
        finally:
            self._stopping = True
            while self._commands:
                _, done = self._commands.popleft()
                _settle(done, StorageFailure("the replica driver has ended"))

    async def _take_command(self) -> None:
        if not self._commands:
            return
        call, done = self._commands.popleft()
        try:
            try:
                effects = await call()
            except (InvalidInput, NotFound) as refusal:
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
        for sender, queue in tuple(self._inbox.items()):
            frame = queue.take()
            if frame is not None:
                self._counters["frames_taken"] += 1
                await self._carry_out(self._replica.receive(sender, frame, self._now_ms()))

    async def _take_time(self) -> None:
        deadline_ms = self._replica.next_deadline_ms()
        if deadline_ms is not None and deadline_ms <= self._now_ms():
            await self._carry_out(self._replica.tick(self._now_ms()))

    async def _wait(self) -> None:
        """Let the links run, and sleep if there is nothing to do before the next deadline."""
        if self._commands or any(self._inbox.values()):
            await asyncio.sleep(0)
            return
        deadline_ms = self._replica.next_deadline_ms()
        wait_ms = None
        if deadline_ms is not None:
            wait_ms = max(_WAIT_MIN_MS, deadline_ms - self._now_ms())
        try:
            async with asyncio.timeout(None if wait_ms is None else wait_ms / 1000):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _carry_out(self, effects: Sequence[Effect]) -> None:
        records: list[Record] = []
        for effect in effects:
            if isinstance(effect, Persist):
                records.append(effect.record)
                continue
            await self._persist(records)
            records = []
            self._perform(effect)
        await self._persist(records)

    async def _persist(self, records: Sequence[Record]) -> None:
        if records:
            await asyncio.to_thread(self._log.write, records)
            self._counters["transactions"] += 1
            self._counters["records"] += len(records)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Send(to, frame, bulk):
                self._send(to, frame, bulk)
            case Broadcast(members, frame):
                for to in members:
                    self._send(to, frame, bulk=False)
            case Decided():
                self._on_decided(effect)
            case Attested():
                self._on_attested(effect)
            case Misbehaviour(epoch, member, kind):
                _log.warning("misbehaviour: member %d, %s, epoch %d", member, kind, epoch)
                self._on_misbehaviour(effect)
            case Rejected(sender, field, reason):
                self._counters["frames_rejected"] += 1
                _log.debug("refused of %s: %s: %s", address_text(sender), field, reason)
            case Persist() | Delivered():
                raise AssertionError(
                    "a Persist goes with its neighbours, and agreement delivers nothing"
                )

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
