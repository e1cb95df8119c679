"""Bounds the connections of the API: strangers who connect and say nothing must not use up the process's descriptors.

The links of the members live in the same process. A connection may stay for `AGE_S`; then, or when there are too
many, the oldest first, it is closed if no request of it is in work. Otherwise it ends after its answer, which
`api_errors` bounds; a WebSocket stays until it ends by itself.
"""

import asyncio
from collections.abc import Container
from typing import Any, Final

from aiohttp import web

AGE_S: Final = 60.0
LOOK_EVERY_S: Final = 0.25


async def bound_connections(
    server: web.Server, busy: Container[object], connections_max: int, *, age_s: float = AGE_S
) -> None:
    """Look at a server's connections for ever; `busy` are those with a request in work."""
    clock = asyncio.get_running_loop().time
    since_s: dict[Any, float] = {}
    while True:
        now_s = clock()
        present = server.connections
        known = set(present)
        # A dictionary keeps the order in which they came: the oldest are first.
        since_s = {one: since_s.get(one, now_s) for one in [*since_s, *present] if one in known}
        surplus = len(since_s) - connections_max
        for place, (one, at_s) in enumerate(since_s.items()):
            if place < surplus or now_s - at_s > age_s:
                one.close() if one in busy else one.force_close()
        await asyncio.sleep(LOOK_EVERY_S)
