"""``/readyz``, ``/metrics`` and ``/state`` for processes that serve HTTP already."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from aiohttp import web

from meridian.node.observe.observation import CONTENT_TYPE, Observation, exposition

UNAVAILABLE: Final = 503


class ObserveRoutes:
    """The handlers.

    Args:
        look: Called in a thread for every question.
        directory: The process's own, whose disk is told of.
    """

    def __init__(self, look: Callable[[], Observation], directory: Path) -> None:
        self._look, self._directory = look, directory

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        app.add_routes(
            [
                web.get("/readyz", self.get_ready),
                web.get("/metrics", self.get_metrics),
                web.get("/state", self.get_state),
            ]
        )

    async def get_ready(self, _request: web.Request) -> web.StreamResponse:
        """Tell whether the process can do its work now."""
        document = (await asyncio.to_thread(self._look)).readiness()
        return web.json_response(document, status=200 if document["ready"] else UNAVAILABLE)

    async def get_metrics(self, _request: web.Request) -> web.StreamResponse:
        """Return the metrics."""
        seen = await asyncio.to_thread(self._look)
        body = await asyncio.to_thread(exposition, seen.metrics, self._directory)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    async def get_state(self, _request: web.Request) -> web.StreamResponse:
        """Return what `meridian status` shows."""
        seen = await asyncio.to_thread(self._look)
        return web.json_response(seen.readiness() | seen.detail)
