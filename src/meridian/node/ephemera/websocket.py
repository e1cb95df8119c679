"""Push of finalised blocks over WebSocket: JSON text frames, bounded queues, and an honest end for a slow client.

A client that asks for stored blocks gets them first, then those that become final, without a gap and none
twice. One whose queue overflows is told how many blocks it lost and closed with `CLOSE_LAGGED`; it comes back
with ``?after=`` the last `sequence` that it has.
"""

import asyncio
import contextlib
import json
from dataclasses import replace
from typing import Final

import msgspec
from aiohttp import WSCloseCode, web

from meridian.node.ephemera.api_errors import RETRY_S, fault
from meridian.node.ephemera.config import WebsocketSection
from meridian.node.ephemera.documents import block_document
from meridian.node.ephemera.node import EphemeraNode
from meridian.node.ephemera.storage import BlockQuery, FinalisedBlock
from meridian.node.ephemera.subscribers import Lost, Subscription

CLOSE_LAGGED: Final = 4008
"""The client was too slow and lost blocks."""

MESSAGE_BYTES_MAX: Final = 4_096
"""Longest frame of a client; we read them only to answer pings and closes."""


TEXTS_MAX: Final = 8
"""Blocks whose JSON is kept for the other clients."""


class BlockPush:
    """The WebSocket clients of one node."""

    def __init__(self, node: EphemeraNode, config: WebsocketSection) -> None:
        self._node = node
        self._config = config
        self._open: set[web.WebSocketResponse] = set()
        self._texts: dict[int, str] = {}

    def clients(self) -> int:
        """Return how many clients are connected."""
        return len(self._open)

    async def close(self, _app: web.Application) -> None:
        """Tell every client that the node stops."""
        for socket in tuple(self._open):
            with contextlib.suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(1):
                    await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the node stops")

    async def serve(
        self, request: web.Request, query: BlockQuery, *, resume: bool
    ) -> web.StreamResponse:
        """Serve one client until it leaves, lags or the node stops.

        Args:
            request: The handshake.
            query: Which blocks it wants; `limit` is how many are read at a time.
            resume: Whether it wants stored ones, too.
        """
        if len(self._open) >= self._config.clients_max:
            return fault("clients", "too many WebSocket clients", 503, retry_s=RETRY_S)
        socket = web.WebSocketResponse(
            heartbeat=self._config.ping_ms / 1000, max_msg_size=MESSAGE_BYTES_MAX, compress=False
        )
        self._open.add(socket)
        try:
            await socket.prepare(request)
            sending = asyncio.create_task(self._send(socket, query, resume=resume))
            try:
                async for (
                    _
                ) in socket:  # Answers pings and notices the close; what is said is ignored.
                    pass
            finally:
                sending.cancel()
                with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                    await sending
        finally:
            self._open.discard(socket)
        return socket

    async def _send(
        self, socket: web.WebSocketResponse, query: BlockQuery, *, resume: bool
    ) -> None:
        try:
            # The history goes out before the live queue begins to fill.
            if resume:
                query = await self._send_stored(socket, query)
            with self._node.subscribe(
                blocks_max=self._config.queue_blocks, creator=query.creator
            ) as live:
                if resume:
                    query = await self._send_stored(socket, query)
                await self._send_live(socket, query, live)
        except (TimeoutError, ConnectionError):
            await socket.close(code=CLOSE_LAGGED, message=b"too slow")

    async def _send_stored(self, socket: web.WebSocketResponse, query: BlockQuery) -> BlockQuery:
        """Send stored blocks until there are no more; returns the query for what comes after them."""
        while blocks := await self._node.blocks(query):
            for block in blocks:
                await self._send_block(socket, block)
            query = replace(query, after=blocks[-1].sequence)
        return query

    async def _send_live(
        self, socket: web.WebSocketResponse, query: BlockQuery, live: Subscription
    ) -> None:
        after = query.after
        while True:
            block = await live.next()
            if block is None:
                await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the node stops")
                return
            if isinstance(block, Lost):
                await self._end_lagging(socket, block.count, after)
                return
            if block.sequence <= after or not _wanted(block, query):
                continue
            await self._send_block(socket, block)
            after = block.sequence

    async def _end_lagging(self, socket: web.WebSocketResponse, lost: int, after: int) -> None:
        reason = f"{lost} blocks lost; resume with ?after={after}"
        async with asyncio.timeout(self._config.ping_ms / 1000):
            await socket.send_str(json.dumps({"error": {"field": "lagged", "reason": reason}}))
            await socket.close(code=CLOSE_LAGGED, message=b"lagged")

    async def _send_block(self, socket: web.WebSocketResponse, block: FinalisedBlock) -> None:
        text = await self._text(block)
        async with asyncio.timeout(self._config.ping_ms / 1000):
            await socket.send_str(text)

    async def _text(self, block: FinalisedBlock) -> str:
        """Return a block's JSON: made once for all clients, outside the event loop."""
        text = self._texts.get(block.sequence)
        if text is None:
            text = await asyncio.to_thread(_encode, block)
            self._texts[block.sequence] = text
            while len(self._texts) > TEXTS_MAX:
                self._texts.pop(next(iter(self._texts)))
        return text


def _encode(block: FinalisedBlock) -> str:
    return msgspec.json.encode(block_document(block)).decode()


def _wanted(block: FinalisedBlock, query: BlockQuery) -> bool:
    """Whether a live block fits the query; the subscription has chosen the creator."""
    if query.epoch is not None and block.context.epoch != query.epoch:
        return False
    return block.block.header.height >= query.from_height
