"""The block driver: carries out what the block core asks for, over links and a storage.

The law of `effect_driver` holds. After the transaction of a delivered block the application hears of
it (`Hooks.deliver_block`), then the subscribers. The application hears every block at least once, in
the order of `sequence`: how far it has heard goes into the next transaction, and a restart begins there.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

from meridian.ephemera.context import Context
from meridian.ephemera.effects import Durable, Effect, Misbehaviour
from meridian.ephemera.messages.hooks import Hooks
from meridian.ephemera.messages.message import SignedMessage
from meridian.ephemera.messages.replica import BlockReplica, BlockStatus
from meridian.node.effect_driver import EffectDriver, Transport
from meridian.node.ephemera.storage import FinalisedBlock, Storage
from meridian.primitives.ids import Address

_TOLD_AGAIN_PER_READ = 64


class BlockDriver(EffectDriver):
    """Runs one member's block core.

    `deliver_block` and `on_block` run in the driver's task and must return at once; an exception of
    the application ends the driver, and the block comes again after the restart.
    """

    def __init__(
        self,
        core: BlockReplica,
        storage: Storage,
        hooks: Hooks,
        *,
        on_block: Callable[[FinalisedBlock], None],
        on_misbehaviour: Callable[[Misbehaviour], None],
    ) -> None:
        super().__init__("block driver", on_misbehaviour)
        self._core = core
        self._storage = storage
        self._hooks = hooks
        self._on_block = on_block
        self._told_through = 0

    async def start(self, links: Transport) -> None:
        """Tell the application what it may not have heard, and begin to drive."""
        while blocks := await asyncio.to_thread(self._storage.untold, _TOLD_AGAIN_PER_READ):
            for block in blocks:
                self._tell(block)
            await asyncio.to_thread(self._storage.note_told, self._told_through)
        await super().start(links)

    async def stop(self) -> None:
        """End, and keep how far the application has heard."""
        await super().stop()
        await asyncio.to_thread(self._storage.note_told, self._told_through)

    async def open(self, context: Context, *, observer: bool = False) -> None:
        """Open a member set with what the storage holds about it; the newest one makes blocks.

        Args:
            context: `epoch` is the number of the member set.
            observer: True if records of it may have been lost: we then follow, and sign nothing.

        Raises:
            InvalidInput: We are not a member, or the member set is open already.
            StorageFailure: Another member set of this number is stored; the driver has ended.
        """

        async def call() -> Sequence[Effect]:
            await asyncio.to_thread(self._storage.remember_member_set, context)
            records = await asyncio.to_thread(self._storage.load, context.epoch)
            return self._core.open(context, records, self._now_ms(), observer=observer)

        await self._command(call)

    async def close(self, epoch: int) -> None:
        """Forget a member set that nobody has to catch up with any more; what it finalised stays."""

        async def call() -> Sequence[Effect]:
            self._core.close(epoch)
            return ()

        await self._command(call)

    async def submit(self, message: SignedMessage) -> None:
        """Let a message wait for our next block, and tell the others of it.

        Raises:
            InvalidInput: It is refused; the field says by what.
            Overloaded: The mempool, or the sender's share of it, is full.
        """

        async def call() -> Sequence[Effect]:
            return self._core.submit(message, self._now_ms())

        await self._command(call)

    async def put(self, key: bytes, value: bytes) -> None:
        """Write to the replicated store; returns when the write is durable here and on its way.

        Raises:
            InvalidInput: Key or value are too long, or we only observe.
            Overloaded: Too many writes are under way.
        """

        async def call() -> Sequence[Effect]:
            return self._core.put(key, value, self._now_ms())

        await self._command(call)

    @property
    def epochs(self) -> tuple[int, ...]:
        """The open member sets, ascending."""
        return self._core.epochs

    def status(self) -> BlockStatus:
        """Return where the core stands."""
        return self._core.status()

    @property
    def running(self) -> bool:
        """Whether the driver drives."""
        return self._task is not None and not self._task.done() and not self._stopping

    def _receive(self, sender: Address, frame: bytes, now_ms: int) -> Sequence[Effect]:
        return self._core.receive(sender, frame, now_ms)

    def _tick(self, now_ms: int) -> Sequence[Effect]:
        return self._core.tick(now_ms, time.time_ns() // 1_000_000)

    def _next_deadline_ms(self) -> int | None:
        return self._core.next_deadline_ms()

    async def _store(self, run: Sequence[Durable]) -> None:
        for block in await asyncio.to_thread(self._storage.commit, run, self._told_through):
            self._tell(block)

    def _tell(self, block: FinalisedBlock) -> None:
        self._hooks.deliver_block(block.block, block.certificate)
        self._told_through = block.sequence
        self._on_block(block)

    def _report(self, effect: Effect) -> None:
        raise AssertionError(f"the block core asks for {type(effect).__name__}")
