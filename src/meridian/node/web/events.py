"""News as server-sent events: each says which epoch's files have changed, or (null) that anything may have.

A client that reads slowly gets fewer events, never a longer queue: what has changed since the last one is joined.
Source of the format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
import contextlib
import json
from collections.abc import Iterable
from typing import Final

from aiohttp import web

from meridian.errors import Overloaded

CLIENTS_MAX: Final = 256
HEARTBEAT_S: Final = 15.0
"""A line that means nothing, so that proxies and clients know the connection lives."""
WRITE_TIMEOUT_S: Final = 30.0
EPOCHS_AT_ONCE_MAX: Final = 32
"""When more have changed, one event says that anything may have."""
RETRY_S: Final = 10
RETRY_MS: Final = 3_000
"""When a client that lost the connection comes back."""


class _Client:
    """What one client has not been told."""

    def __init__(self) -> None:
        self.epochs: set[int | None] = set()
        self.woken = asyncio.Event()

    def add(self, epochs: Iterable[int | None]) -> None:
        self.epochs.update(epochs)
        if len(self.epochs) > EPOCHS_AT_ONCE_MAX:
            self.epochs = {None}
        self.woken.set()

    def take(self) -> list[int | None]:
        epochs = {None} if None in self.epochs else self.epochs
        self.epochs = set()
        self.woken.clear()
        return sorted(epochs, key=lambda epoch: -1 if epoch is None else epoch)


class EventHub:
    """Who listens; everything runs in the server's loop."""

    def __init__(self, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._clients: set[_Client] = set()
        self._heartbeat_s = heartbeat_s
        self._closed = False

    def __len__(self) -> int:
        return len(self._clients)

    def publish(self, epochs: Iterable[int | None]) -> None:
        """Tell everybody that the files of these epochs have changed."""
        news = list(epochs)
        for client in self._clients if news else ():
            client.add(news)

    def close(self) -> None:
        """End all answers."""
        self._closed = True
        for client in self._clients:
            client.woken.set()

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Answer with events until the client goes or the hub closes."""
        if len(self._clients) >= CLIENTS_MAX:
            raise Overloaded(RETRY_S)
        client = _Client()
        self._clients.add(client)  # before the first wait: what happens from now on is told
        try:
            headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
            answer = web.StreamResponse(headers=headers)
            answer.content_type = "text/event-stream"
            await answer.prepare(request)
            with contextlib.suppress(ConnectionError, TimeoutError):
                await self._send(answer, f"retry: {RETRY_MS}\n\n")
                while not self._closed:
                    await self._send(answer, await self._next(client))
            return answer
        finally:
            self._clients.discard(client)

    async def _next(self, client: _Client) -> str:
        try:
            await asyncio.wait_for(client.woken.wait(), self._heartbeat_s)
        except TimeoutError:
            return ": still here\n\n"
        return "".join(f"data: {json.dumps({'epoch': epoch})}\n\n" for epoch in client.take())

    async def _send(self, answer: web.StreamResponse, text: str) -> None:
        await asyncio.wait_for(answer.write(text.encode()), WRITE_TIMEOUT_S)
