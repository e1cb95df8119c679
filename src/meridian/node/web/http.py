"""The explorer over HTTP: the site's files, news, complaints, proofs and the operator's endpoints.

Law: a handler decides nothing. Every answer, also a refusal, has the headers of `headers`. Errors are
``{"error": {"field", "reason"}}`` as everywhere in this system.
"""

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from meridian.errors import (
    InvalidInput,
    MeridianError,
    NotFound,
    Overloaded,
    RemoteFault,
    StorageFailure,
)
from meridian.node.observe.observation import CONTENT_TYPE
from meridian.node.web import headers
from meridian.node.web.complaint_desk import ComplaintDesk
from meridian.node.web.complaint_request import BODY_BYTES_MAX
from meridian.node.web.complaint_store import ComplaintStore
from meridian.node.web.events import EventHub
from meridian.node.web.metrics import WebMetrics
from meridian.node.web.proof_proxy import ProofProxy
from meridian.node.web.site_keeper import SiteKeeper
from meridian.node.web.static_files import BINARY, StaticFiles

STALE_S: Final = 60.0
"""A site that was not found up to date for so long is not ready."""
COMPLAINTS_WAITING_MAX: Final = 32
RETRY_S: Final = 1
INDEX: Final = "index.html"
_JSON: Final = "application/json"
_OBJECTS: Final = "objects/"

SERVER: Final = {
    "version": 1,
    "events": "events",
    "complaints": "api/complaints",
    "proofs": "api/proofs/",
}
"""What `data/server.json` says: a plain directory has no such file, so a page knows what it may ask for."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """What the handlers work with."""

    site: Path
    publications: Sequence[Path | None]
    """Served under ``publications/0/``, ``publications/1/`` …, in the order of the network file; None: it is elsewhere."""
    files: StaticFiles
    events: EventHub
    desk: ComplaintDesk
    complaints: ComplaintStore
    proofs: ProofProxy
    keeper: SiteKeeper


class WebHttp:
    """The application's handlers."""

    def __init__(self, face: Face) -> None:
        self._face = face
        self._requests: Counter[tuple[str, int]] = Counter()
        self._desk_thread = ThreadPoolExecutor(1, "complaints")
        self._waiting = 0

    def application(self) -> web.Application:
        """Return the application."""
        app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[self._answer_errors])
        face = self._face
        app.add_routes(
            [
                web.get("/healthz", self.get_health),
                web.get("/readyz", self.get_ready),
                web.get("/state", self.get_state),
                web.get("/metrics", self.get_metrics),
                web.get("/events", face.events.get),
                web.post("/api/complaints", self.post_complaint),
                web.get("/api/proofs/{path:.+}", face.proofs.get),
                web.get("/data/server.json", self.get_server),
                web.get("/publications/{number:[0-9]{1,3}}/{path:.+}", self.get_published),
                web.get("/{path:.*}", self.get_file),
            ]
        )
        app.on_response_prepare.append(_add_headers)
        app.on_shutdown.append(self._end_events)
        app.on_cleanup.append(self._close)
        return app

    async def _end_events(self, _app: web.Application) -> None:
        self._face.events.close()

    async def _close(self, _app: web.Application) -> None:
        self._desk_thread.shutdown(wait=True, cancel_futures=True)
        self._face.files.close()
        await self._face.proofs.close()

    # -- the site ---------------------------------------------------------------------------------

    async def get_file(self, request: web.Request) -> web.StreamResponse:
        """Return a file of the site."""
        name = request.match_info["path"] or INDEX
        return await self._face.files.answer(request, self._face.site, name, headers.REVALIDATE)

    async def get_published(self, request: web.Request) -> web.StreamResponse:
        """Return a file of a publication; a browser never takes it for a page."""
        number, name = int(request.match_info["number"]), request.match_info["path"]
        known = self._face.publications
        root = known[number] if number < len(known) else None
        if root is None:
            raise NotFound("no such publication")
        cache = headers.FOREVER if name.startswith(_OBJECTS) else headers.REVALIDATE
        return await self._face.files.answer(request, root, name, cache, BINARY)

    async def get_server(self, _request: web.Request) -> web.StreamResponse:
        """Tell the page what this server does beyond files."""
        return web.json_response(SERVER, headers={"Cache-Control": headers.REVALIDATE})

    # -- complaints -------------------------------------------------------------------------------

    async def post_complaint(self, request: web.Request) -> web.StreamResponse:
        """Take a complaint in."""
        if request.content_type != _JSON:  # a form of another site can send anything else
            raise web.HTTPUnsupportedMediaType(
                text=_error("Content-Type", f"{_JSON} is needed"), content_type=_JSON
            )
        body = await request.read()
        if self._waiting >= COMPLAINTS_WAITING_MAX:
            raise Overloaded(RETRY_S)
        self._waiting += 1
        try:
            take = partial(self._face.desk.take, body, request.remote or "")
            loop = asyncio.get_running_loop()
            complaint, is_new = await loop.run_in_executor(self._desk_thread, take)
        finally:
            self._waiting -= 1
        if is_new:
            self._face.keeper.hurry()
        return web.json_response(
            {"complaint": complaint.document()},
            status=201 if is_new else 200,
            headers={"Cache-Control": "no-store"},
        )

    # -- for the operator -------------------------------------------------------------------------

    async def get_health(self, _request: web.Request) -> web.StreamResponse:
        """Tell whether the process can go on."""
        failed = self._face.keeper.failure is not None
        return web.json_response(
            {"status": "failed" if failed else "ok", "problem": self._face.keeper.problem},
            status=503 if failed else 200,
        )

    async def get_ready(self, _request: web.Request) -> web.StreamResponse:
        """Tell whether the site is there and not old."""
        document = self._readiness()
        return web.json_response(document, status=200 if document["ready"] else 503)

    async def get_state(self, _request: web.Request) -> web.StreamResponse:
        """Return what `meridian status` shows: how old the site is, and why."""
        age_s = round(self._age_s(), 1) if self._face.keeper.rounds else None
        return web.json_response(self._readiness() | {"age_s": age_s})

    def _readiness(self) -> dict[str, Any]:
        keeper = self._face.keeper
        ready = keeper.rounds > 0 and keeper.failure is None and self._age_s() <= STALE_S
        return {"ready": ready, "problem": keeper.problem}

    async def get_metrics(self, _request: web.Request) -> web.StreamResponse:
        """Return the metrics."""
        face = self._face
        values = WebMetrics(
            requests=dict(self._requests),
            listeners=len(face.events),
            complaints=await asyncio.to_thread(face.complaints.counts),
            rounds=face.keeper.rounds,
            age_s=self._age_s(),
            healthy=face.keeper.problem is None and face.keeper.failure is None,
        )
        return web.Response(
            body=values.render(face.site.parent), headers={"Content-Type": CONTENT_TYPE}
        )

    def _age_s(self) -> float:
        at_s = self._face.keeper.updated_at_s
        return time.monotonic() - at_s if at_s else 0.0

    # -- errors -----------------------------------------------------------------------------------

    @web.middleware
    async def _answer_errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            answer = await handler(request)
        except web.HTTPException as error:
            if error.status >= 400 and error.content_type != _JSON:
                error.text, error.content_type = _error("request", error.reason), _JSON
            self._count(request, error.status)
            raise
        except MeridianError as error:
            answer = _refusal(error)
        self._count(request, answer.status)
        return answer

    def _count(self, request: web.Request, status: int) -> None:
        resource = request.match_info.route.resource
        self._requests[resource.canonical if resource else "none", status] += 1


async def _add_headers(_request: web.Request, answer: web.StreamResponse) -> None:
    answer.headers.update(headers.SECURITY)
    answer.headers.setdefault("Cache-Control", "no-store")


def _error(field: str, reason: str) -> str:
    return json.dumps({"error": {"field": field, "reason": reason}})


def _refusal(error: MeridianError) -> web.Response:
    more: dict[str, str] = {}
    field, reason = "service", str(error)
    if isinstance(error, Overloaded):
        status, more["Retry-After"] = 429, str(max(1, round(error.retry_after_s)))
    elif isinstance(error, NotFound):
        status, field = 404, "path"
    elif isinstance(error, InvalidInput):
        status, field, reason = 400, error.field, error.reason
    elif isinstance(error, RemoteFault):
        status, more["Retry-After"] = 502, str(RETRY_S)
    else:
        status, more["Retry-After"] = 503, str(RETRY_S)
        if isinstance(
            error, StorageFailure
        ):  # its text names paths, which are nobody else's business
            _log.error("%s", error)
            field, reason = "storage", "the disk refuses"
    answer: dict[str, Any] = {"text": _error(field, reason), "content_type": _JSON}
    return web.Response(status=status, headers=more, **answer)
