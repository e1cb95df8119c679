"""Requests that another server answers: what a further server does not have comes from the coordinator, answers to batches
from the server that promised them. So a load balancer may send anything to any server.

Law: a request is passed on once from a further server and once from the coordinator, never in a circle.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

import aiohttp
from aiohttp import web

from meridian.errors import NotFound, RemoteFault
from meridian.node.measure.addresses import Addresses
from meridian.node.measure.elsewhere import HeldElsewhere
from meridian.node.measure.granting import OURSELVES
from meridian.node.measure.journal import Journal
from meridian.primitives.ids import parse_digest

FORWARDED: Final = "Meridian-Forwarded"
COORDINATOR: Final = OURSELVES
CONNECT_S: Final = 5.0
READ_S: Final = 120.0

_OWN: Final = re.compile(
    r"/v1/(?:jobs|clock|openapi\.json|receipts/.*|servers/.*)|/healthz|/readyz|/metrics|/state"
)
"""What every server answers itself."""
_RECEIPT: Final = re.compile(r"/v1/receipts/([0-9a-fA-F]{64})")
_PASSED_UP: Final = ("Authorization", "Content-Type", "Range", "If-None-Match", "If-Modified-Since")
_PASSED_DOWN: Final = (
    "Content-Type",
    "Content-Range",
    "Cache-Control",
    "ETag",
    "Last-Modified",
    "Retry-After",
    "WWW-Authenticate",
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Forwarding:
    """A middleware of the service's application.

    Args:
        journal: Ours.
        addresses: Of the servers.
        coordinates: Whether this server is the coordinator.
    """

    def __init__(self, journal: Journal, addresses: Addresses, *, coordinates: bool) -> None:
        self._journal, self._addresses, self._coordinates = journal, addresses, coordinates
        self._session: aiohttp.ClientSession | None = None

    def add_to(self, app: web.Application) -> None:
        """Register it; it is asked after the one that makes errors into answers."""
        app.middlewares.append(self._middleware())
        app.on_cleanup.append(self._close)

    def _middleware(self) -> Any:
        @web.middleware
        async def forward(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not self._coordinates and not _OWN.fullmatch(request.path):
                return await self._from(COORDINATOR, request)
            try:
                return await handler(request)
            except HeldElsewhere as held:
                return await self._answer_of(held)
            except NotFound:
                holder = await self._holder(request)
                if holder is None:
                    raise
                return await self._from(holder, request)

        return forward

    async def _close(self, _app: web.Application) -> None:
        if self._session is not None:
            await self._session.close()

    async def _holder(self, request: web.Request) -> int | None:
        """Return which server may know a batch that we do not know."""
        found = _RECEIPT.fullmatch(request.path)
        if found is None:
            return None
        if not self._coordinates:
            return None if FORWARDED in request.headers else COORDINATOR
        batch = parse_digest(found[1], "batch")
        holder = await asyncio.to_thread(self._journal.holder, batch)
        return None if holder is None else holder[0]

    async def _answer_of(self, held: HeldElsewhere) -> web.StreamResponse:
        """Return the answer that another server gave to a batch.

        Raises:
            RemoteFault: If it does not give it now; the sender tries again.
        """
        url = await asyncio.to_thread(self._addresses.url, held.server)
        try:
            async with self._client().get(
                f"{url}/v1/receipts/{held.batch.hex()}", headers={FORWARDED: "1"}
            ) as answer:
                body = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise held from error
        if answer.status != 200:
            raise held
        return web.Response(body=body, content_type="application/json")

    async def _from(self, server: int, request: web.Request) -> web.StreamResponse:
        if FORWARDED in request.headers and not self._coordinates:
            raise RemoteFault("the coordinator's address leads back to a further server")
        url = await asyncio.to_thread(self._addresses.url, server)
        headers = {name: request.headers[name] for name in _PASSED_UP if name in request.headers}
        headers[FORWARDED] = "1"
        body = await request.read()
        response: web.StreamResponse | None = None
        try:
            async with self._client().request(
                request.method, f"{url}{request.raw_path}", headers=headers, data=body or None
            ) as answer:
                passed = {
                    name: answer.headers[name] for name in _PASSED_DOWN if name in answer.headers
                }
                response = web.StreamResponse(status=answer.status, headers=passed)
                if answer.content_length is not None:
                    response.content_length = answer.content_length
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
        except (aiohttp.ClientError, TimeoutError) as error:
            if response is not None and response.prepared:
                raise  # the connection breaks off: the reader sees that the answer is short
            raise RemoteFault(f"server {server} does not answer: {error}") from error
        await response.write_eof()
        return response

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=READ_S)
            self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False)
        return self._session
