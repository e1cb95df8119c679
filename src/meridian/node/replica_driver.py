"""The replica driver: carries out what the agreement asks for, over links and a safety log.

The law of `effect_driver` holds: durable before sent, and the first error ends the driver.
"""

import asyncio
from collections.abc import Callable, Sequence

from meridian.ephemera.context import Context
from meridian.ephemera.effects import (
    Attested,
    Decided,
    Durable,
    Effect,
    Misbehaviour,
    Persist,
)
from meridian.ephemera.epoch import EpochStatus
from meridian.ephemera.opening import NO_TRACE
from meridian.ephemera.replica import Replica
from meridian.node.effect_driver import EffectDriver
from meridian.node.safety_log import SafetyLog
from meridian.primitives.ids import Address


class ReplicaDriver(EffectDriver):
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
        super().__init__("replica driver", on_misbehaviour)
        self._replica = replica
        self._log = log
        self._on_decided = on_decided
        self._on_attested = on_attested

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

    async def submit_row(self, epoch: int, body: bytes, trace_root: bytes = NO_TRACE) -> None:
        """Contribute our own row, with what proves our work on it; returns when its commitment is durable and queued.

        Raises:
            NotFound: The epoch is not open.
            InvalidInput: Our own application refuses the body.
        """

        async def call() -> Sequence[Effect]:
            return self._replica.submit_row(epoch, body, self._now_ms(), trace_root)

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
        """End an epoch's machine; its records stay in the log, and a replica with an archive answers from them."""

        async def call() -> Sequence[Effect]:
            await self._store_lazy()  # From now on only the records answer.
            self._replica.close(epoch)
            return ()

        await self._command(call)

    async def answer_for(self, contexts: Sequence[Context]) -> None:
        """Answer members that catch up about epochs that were closed before this start."""

        async def call() -> Sequence[Effect]:
            for context in contexts:
                self._replica.answer_for(context)
            return ()

        await self._command(call)

    async def forget_before(self, epoch: int) -> None:
        """Delete the records of all epochs before `epoch`, which must be closed and final on chain.

        Raises:
            StorageFailure: The log cannot be written; the driver has ended.
        """

        async def call() -> Sequence[Effect]:
            self._replica.forget_before(epoch)
            await asyncio.to_thread(self._log.forget_before, epoch)
            return ()

        await self._command(call)

    def status(self, epoch: int) -> EpochStatus:
        """Return what an epoch waits for.

        Raises:
            NotFound: The epoch is not open.
        """
        return self._replica.status(epoch)

    def _receive(self, sender: Address, frame: bytes, now_ms: int) -> Sequence[Effect]:
        return self._replica.receive(sender, frame, now_ms)

    def _tick(self, now_ms: int) -> Sequence[Effect]:
        return self._replica.tick(now_ms)

    def _next_deadline_ms(self) -> int | None:
        return self._replica.next_deadline_ms()

    async def _store(self, run: Sequence[Durable]) -> None:
        records = [effect.record for effect in run if isinstance(effect, Persist)]
        assert len(records) == len(run), "the agreement delivers nothing"
        await asyncio.to_thread(self._log.write, records)

    def _report(self, effect: Effect) -> None:
        match effect:
            case Decided():
                self._on_decided(effect)
            case Attested():
                self._on_attested(effect)
            case _:
                raise AssertionError(f"the agreement asks for {type(effect).__name__}")
