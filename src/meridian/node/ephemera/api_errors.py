"""What stands around every handler of the API: limits, times, and errors as JSON.

Law: every request ends, with an answer, within the configured time; no answer shows a traceback; what one
client does costs the others nothing but its share.
"""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiohttp import web

from meridian.errors import InvalidInput, MeridianError, NotFound, Overloaded
from meridian.node.ephemera.config import ApiSection
from meridian.node.ephemera.rate_limit import RateLimit

RETRY_S: Final = 1
WEBSOCKET_PATH: Final = "/ephemera/ws"
_JSON: Final = "application/json"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger(__name__)


class Guard:
    """The middleware of one server, and the counts of its requests."""

    def __init__(self, config: ApiSection) -> None:
        self._config = config
        self._rate = RateLimit(
            per_s=config.requests_per_s,
            burst=config.requests_burst,
            clients_max=config.clients_max,
        )
        self._at_work = 0
        self.busy: set[object] = set()
        """Connections with a request in work."""
        self.requests: Counter[tuple[str, int]] = Counter()
        """(path of the route, status) -> answers; strangers' paths count as one."""

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Stand around a handler."""
        self.busy.add(request.protocol)
        try:
            response = await self._answer(request, handler)
        finally:
            self.busy.discard(request.protocol)
        resource = request.match_info.route.resource
        path = resource.canonical if resource is not None else "other"
        self.requests[path, response.status] += 1
        return response

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        now_s = asyncio.get_running_loop().time()
        delay_s = self._rate.delay_s(request.remote, now_s)
        if delay_s > 0:
            return _refusal(Overloaded(delay_s, "too many requests of this client"))
        if request.path == WEBSOCKET_PATH:
            return await self._judge(request, handler)
        if self._at_work >= self._config.concurrency_max:
            return fault("service", "too many requests are in work", 503, retry_s=RETRY_S)
        self._at_work += 1
        try:
            async with asyncio.timeout(self._config.timeout_ms / 1000):
                return await self._judge(request, handler)
        except TimeoutError:
            return fault("service", "the answer took too long", 503, retry_s=RETRY_S)
        finally:
            self._at_work -= 1

    async def _judge(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPRequestEntityTooLarge:
            return fault("body", f"at most {self._config.body_bytes_max} bytes are accepted", 413)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            answer = fault("request", error.reason, error.status)
            if isinstance(error, web.HTTPMethodNotAllowed):
                answer.headers["Allow"] = error.headers["Allow"]
            return answer
        except MeridianError as error:
            return _refusal(error)
        except (TimeoutError, ConnectionError):
            raise
        except Exception:
            log.exception("the handler of %s failed", request.match_info.route.resource)
            return fault("service", "a fault of this node; its log says more", 500)


def fault(field: str, reason: str, status: int, *, retry_s: float | None = None) -> web.Response:
    """Return ``{"error": {"field", "reason"}}``."""
    headers = {} if retry_s is None else {"Retry-After": str(max(1, -int(-retry_s // 1)))}
    text = json.dumps({"error": {"field": field, "reason": reason}})
    return web.Response(text=text, status=status, content_type=_JSON, headers=headers)


def refuse(error: InvalidInput, statuses: Mapping[str, int]) -> web.Response:
    """Return the answer to bad input whose status depends on the field; 400 where none is given."""
    return fault(error.field, error.reason, statuses.get(error.field, 400))


def _refusal(error: MeridianError) -> web.Response:
    if isinstance(error, Overloaded):
        return fault("rate", str(error), 429, retry_s=error.retry_after_s)
    if isinstance(error, NotFound):
        return fault("request", str(error), 404)
    if isinstance(error, InvalidInput):
        return fault(error.field, error.reason, 400)
    log.error("request refused: %s", error)
    return fault("service", "the node cannot answer now", 503, retry_s=RETRY_S)
