"""The HTTP face of the measure service; what it answers is described in `openapi`.

Law: a handler decides nothing about jobs. It checks who asks and how much is asked, and passes the rest to the intake or
reads what is published. Errors are ``{"error": {"field", "reason"}}`` with a status that tells whose turn it is:
4xx change something, 429 and 503 come back after ``Retry-After`` seconds.
"""

import asyncio
import hmac
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from meridian.errors import InvalidInput, MeridianError, NotFound, Overloaded, StorageFailure
from meridian.measure.manifest import INPUT_NAME_BYTES_MAX, INPUTS_MAX
from meridian.node.measure.answering import Answering
from meridian.node.measure.bodies import BodyTooLarge, BodyUnsupported
from meridian.node.measure.cosigning import Cosigning
from meridian.node.measure.following import Following
from meridian.node.measure.grouping import NotAuthenticated
from meridian.node.measure.intake import Intake
from meridian.node.measure.jobs_route import JobsRoute
from meridian.node.measure.journal import Journal
from meridian.node.measure.limits import JobsLimits
from meridian.node.measure.log_routes import LogRoutes
from meridian.node.measure.membership import Membership
from meridian.node.measure.nodes import NodeDirectory
from meridian.node.measure.observed import observe
from meridian.node.measure.openapi import document
from meridian.node.measure.proof_routes import ProofRoutes
from meridian.node.measure.proving import Proving
from meridian.node.measure.publication import Publication
from meridian.node.measure.settling import Settling
from meridian.node.observe.observation import Observation
from meridian.node.observe.routes import ObserveRoutes
from meridian.primitives.cid import parse_cid
from meridian.primitives.ids import parse_digest

INPUT_BYTES_MAX: Final = 64 << 20
"""Of an auxiliary input."""
CLOCK_BYTES_MAX: Final = 256
RETRY_S: Final = 1
EPOCHS_SHOWN_MAX: Final = 1000

_JSON: Final = "application/json"
_INPUT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """What the handlers work with."""

    intake: Intake
    journal: Journal
    settling: Settling | Following
    publication: Publication
    proving: Proving
    gateway_token: str
    admin_token: str
    directory: NodeDirectory
    limits: JobsLimits
    network: str
    first_epoch: int
    data_dir: Path
    answering: Answering | None = None
    """None: there is no chain on which anybody could be challenged."""
    cosigning: Cosigning | None = None
    servers: Membership | None = None
    """None: there are no other servers."""

    @property
    def failure(self) -> BaseException | None:
        """Why a thread has stopped by itself, if one has: nothing more may be promised then."""
        answering = None if self.answering is None else self.answering.failure
        cosigning = None if self.cosigning is None else self.cosigning.failure
        return self.intake.failure or self.settling.failure or answering or cosigning

    def look(self) -> Observation:
        """Return what the operator may know."""
        return observe(self.intake, self.journal, self.settling, self.cosigning, self.failure)


class MeasureHttp:
    """The application's handlers."""

    def __init__(self, face: Face) -> None:
        self._face = face
        tokens = {"gateway": face.gateway_token, "admin": face.admin_token}
        self.jobs: Final = JobsRoute(face.intake, face.directory, tokens, face.limits)

    def application(self) -> web.Application:
        """Return the application."""
        app = web.Application(client_max_size=INPUT_BYTES_MAX, middlewares=[_answer_errors])
        app.add_routes(
            [
                web.get("/v1/epochs", self.get_epochs),
                web.get("/v1/epochs/{epoch}", self.get_epoch),
                web.post("/v1/epochs/{epoch}/seal", self.post_seal),
                web.put("/v1/epochs/{epoch}/inputs/{name}", self.put_input),
                web.post("/v1/clock", self.post_clock),
                web.get("/v1/artefacts/{cid}", self.get_artefact),
                web.get("/v1/receipts/{batch}", self.get_receipt),
                web.get("/healthz", self.get_health),
                web.get("/v1/openapi.json", self.get_openapi),
            ]
        )
        face = self._face
        self.jobs.add_to(app)
        ProofRoutes(face.proving).add_to(app)
        LogRoutes(face.publication).add_to(app)
        ObserveRoutes(face.look, face.data_dir).add_to(app)
        if face.servers is not None:
            face.servers.add_to(app, face.intake, face.journal)
        return app

    # -- who asks ---------------------------------------------------------------------------------

    def _require(self, request: web.Request, *tokens: str) -> None:
        given = request.headers.get("Authorization", "").encode()
        if not any(hmac.compare_digest(given, f"Bearer {token}".encode()) for token in tokens):
            raise web.HTTPUnauthorized(
                text=_error("Authorization", "a bearer token is needed"),
                content_type=_JSON,
                headers={"WWW-Authenticate": "Bearer"},
            )

    # -- epochs -----------------------------------------------------------------------------------

    async def get_receipt(self, request: web.Request) -> web.StreamResponse:
        """Return the answer that a batch got."""
        batch = parse_digest(request.match_info["batch"], "batch")
        answer = await asyncio.to_thread(self._face.journal.response, batch)
        if answer is None:
            raise NotFound("no such batch, or it is no longer remembered")
        return web.Response(body=answer, content_type=_JSON)

    async def get_epochs(self, _request: web.Request) -> web.StreamResponse:
        """Return the latest epochs and where the service stands."""
        face = self._face
        opened = face.journal.open_epoch
        ahead = [epoch for epoch in face.journal.epochs_with_jobs() if epoch > opened]
        first = max(face.first_epoch, opened - EPOCHS_SHOWN_MAX)
        numbers = [*range(first, opened + 1), *ahead[:EPOCHS_SHOWN_MAX]]
        epochs = await asyncio.to_thread(lambda: [self._describe(epoch) for epoch in numbers])
        return web.json_response(
            {
                "network": face.network,
                "first_epoch": face.first_epoch,
                "open_epoch": opened,
                "clock_us": face.intake.now_us(),
                "epochs": epochs,
            }
        )

    async def get_epoch(self, request: web.Request) -> web.StreamResponse:
        """Return what is known of an epoch."""
        epoch = _epoch(request)
        if epoch < self._face.first_epoch:
            raise NotFound(f"the first epoch is {self._face.first_epoch}")
        return web.json_response(await asyncio.to_thread(self._describe, epoch))

    def _describe(self, epoch: int) -> dict[str, Any]:
        face = self._face
        index = face.publication.read_index(epoch)
        if index is not None:
            waits = index["state"] == "sealed" and epoch == face.settling.settled_before
            return index | {"problem": face.settling.problem if waits else None}
        jobs, duplicates = face.journal.counts(epoch)
        sealing = epoch < face.journal.open_epoch
        progress = face.settling.sealing
        return {
            "epoch": epoch,
            "state": "sealing" if sealing else "open",
            "progress": progress if progress and progress["epoch"] == epoch else None,
            "jobs": jobs,
            "duplicates": duplicates,
            "inputs": {name: digest.hex() for name, digest in face.journal.inputs(epoch).items()},
            "problem": face.settling.problem if sealing else None,
        }

    async def post_seal(self, request: web.Request) -> web.StreamResponse:
        """Seal an epoch; the rest happens behind it."""
        self._require(request, self._face.admin_token)
        epoch = _epoch(request)
        try:
            await asyncio.wrap_future(self._face.intake.seal(epoch))
        except InvalidInput as error:
            raise _conflict(error) from error
        described = await asyncio.to_thread(self._describe, epoch)
        return web.json_response(
            described, status=202 if described["state"] != "committed" else 200
        )

    async def put_input(self, request: web.Request) -> web.StreamResponse:
        """Publish an auxiliary input of an epoch that is not sealed."""
        face = self._face
        self._require(request, face.admin_token)
        epoch, name = _epoch(request), request.match_info["name"]
        if not _INPUT_NAME.fullmatch(name) or len(name) > INPUT_NAME_BYTES_MAX:
            raise InvalidInput("name", "letters, digits, dot, dash and underscore are accepted")
        noted = face.journal.inputs(epoch)
        if name not in noted and len(noted) >= INPUTS_MAX:
            raise InvalidInput("name", f"an epoch has at most {INPUTS_MAX} inputs")
        body = await request.read()
        digest = await asyncio.to_thread(face.publication.put, body)
        try:
            await asyncio.wrap_future(face.intake.put_input(epoch, name, digest))
        except InvalidInput as error:
            raise _conflict(error) from error
        return web.json_response({"epoch": epoch, "name": name, "digest": digest.hex()})

    async def post_clock(self, request: web.Request) -> web.StreamResponse:
        """Set the replay clock forward; answers where it stands."""
        self._require(request, self._face.admin_token)
        body = await request.read()
        try:
            now_us = None if len(body) > CLOCK_BYTES_MAX else json.loads(body)["now_us"]
        except (ValueError, KeyError, TypeError):
            now_us = None
        if not isinstance(now_us, int) or isinstance(now_us, bool) or not 0 <= now_us < 1 << 63:
            raise InvalidInput("now_us", "microseconds since the Unix epoch are needed")
        try:
            clock_us = await asyncio.wrap_future(self._face.intake.set_clock(now_us))
        except InvalidInput as error:
            raise _conflict(error) from error
        return web.json_response({"now_us": clock_us})

    # -- published --------------------------------------------------------------------------------

    async def get_artefact(self, request: web.Request) -> web.StreamResponse:
        """Return an artefact's bytes."""
        _, digest = parse_cid(request.match_info["cid"])
        path = self._face.publication.path(digest)
        if not path.is_file():
            raise NotFound("no such artefact")
        return web.FileResponse(
            path,
            headers={
                "Content-Type": "application/octet-stream",
                "Cache-Control": "public, max-age=31536000, immutable",
            },
        )

    async def get_health(self, _request: web.Request) -> web.StreamResponse:
        """Tell whether jobs are admitted."""
        face = self._face
        failed = face.failure is not None
        return web.json_response(
            {
                "status": "failed" if failed else "ok",
                "open_epoch": face.journal.open_epoch,
                "settled_before": face.settling.settled_before,
                "problem": face.settling.problem,
                "witnesses": None if face.cosigning is None else face.cosigning.document(),
            },
            status=503 if failed else 200,
        )

    async def get_openapi(self, _request: web.Request) -> web.StreamResponse:
        """Return the description of this interface."""
        return web.json_response(document())


def _epoch(request: web.Request) -> int:
    text = request.match_info["epoch"]
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise InvalidInput("epoch", f"{text[:20]!r} is not an epoch")
    return int(text)


def _error(field: str, reason: str) -> str:
    return json.dumps({"error": {"field": field, "reason": reason}})


def _conflict(error: InvalidInput) -> web.HTTPConflict:
    return web.HTTPConflict(text=_error(error.field, error.reason), content_type=_JSON)


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPRequestEntityTooLarge:
        text = _error("body", f"at most {INPUT_BYTES_MAX} bytes are accepted")
        return web.Response(text=text, status=413, content_type=_JSON)
    except web.HTTPException as error:
        if error.content_type == _JSON or error.status < 400:
            raise
        error.text = _error("request", error.reason)
        error.content_type = _JSON
        raise
    except MeridianError as error:
        return refusal(error)


def _status(error: InvalidInput) -> int:
    if isinstance(error, NotAuthenticated):
        return HTTPStatus.UNAUTHORIZED
    if isinstance(error, BodyUnsupported):
        return HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    if isinstance(error, BodyTooLarge) or error.field == "too_many_records":
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    return HTTPStatus.BAD_REQUEST


def refusal(error: MeridianError) -> web.Response:
    """Return the answer that says why something is refused, and whose turn it is."""
    headers: dict[str, str] = {}
    if isinstance(error, Overloaded):
        status, headers["Retry-After"] = 429, str(max(1, round(error.retry_after_s)))
    elif isinstance(error, NotFound):
        status = 404
    elif isinstance(error, InvalidInput):
        status = _status(error)
        if status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        text = _error(error.field, error.reason)
        return web.Response(text=text, status=status, headers=headers, content_type=_JSON)
    else:
        status, headers["Retry-After"] = 503, str(RETRY_S)
    kind = "storage" if isinstance(error, StorageFailure) else "service"
    return web.Response(
        text=_error(kind, str(error)), status=status, headers=headers, content_type=_JSON
    )
