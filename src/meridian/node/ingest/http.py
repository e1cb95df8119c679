"""HTTP in front of the core.

Law: every size is bounded before it is read, requests beyond what can be worked on are told at once when to come back,
and the event loop only moves bytes: decoding, hashing and files happen in threads.
"""

import asyncio
import contextlib
import hmac
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from aiohttp import web

from meridian.errors import InvalidInput, MeridianError, NotFound, Overloaded, RemoteFault
from meridian.node.ingest.core import Core
from meridian.node.ingest.epoch_inputs import Conflict
from meridian.node.ingest.openapi import document
from meridian.primitives.cid import parse_cid
from meridian.primitives.ids import address_text, parse_digest

SEED_HEADER: Final = "Meridian-Batch-Seed"
NDJSON: Final = "application/x-ndjson"
JSON: Final = "application/json"
EPOCHS_PAGE: Final = 1_000
SMALL_BODY_BYTES_MAX: Final = 4_096
BODY_TIMEOUT_S: Final = 120.0
"""How long a request may take to arrive."""

_DECODERS: Final = 2
_RETRY_S: Final = 1
_SEALS_MAX: Final = 16
_EPOCH: Final = re.compile(r"0|[1-9][0-9]{0,9}")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Access:
    """Who may do what, and how much at a time."""

    gateway_token: str
    admin_token: str
    body_bytes_max: int
    requests_max: int


class _Refusal(Exception):
    """Ends a request with a status and a JSON error."""

    def __init__(self, status: int, field: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.response = _error(status, field, message, **headers)


def _error(status: int, field: str, message: str, **headers: str) -> web.Response:
    body = msgspec.json.encode({"error": {"field": field, "message": message}})
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.Response(status=status, body=body, content_type=JSON, headers=named)


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value), content_type=JSON)


class Api:
    """The handlers of one service.

    Args:
        core: What is served.
        access: Tokens and limits.
        sealed: Called after each seal.
        failed: Called with an error that must end the process.
    """

    def __init__(
        self,
        core: Core,
        access: Access,
        sealed: Callable[[], None],
        failed: Callable[[MeridianError], None],
    ) -> None:
        self._core, self._access = core, access
        self._sealed, self._failed = sealed, failed
        self._decoders = ThreadPoolExecutor(_DECODERS, thread_name_prefix="decode")
        self._seals = ThreadPoolExecutor(1, thread_name_prefix="seal")
        self._active = 0
        self._sealing = 0

    def application(self) -> web.Application:
        """Return the application, ready to be run."""
        app = web.Application(
            client_max_size=self._access.body_bytes_max, middlewares=[self._answer_errors]
        )
        app.router.add_post("/v1/jobs", self._post_jobs)
        app.router.add_get("/v1/epochs", self._get_epochs)
        app.router.add_get("/v1/epochs/{epoch}", self._get_epoch)
        app.router.add_post("/v1/epochs/{epoch}/seal", self._post_seal)
        app.router.add_put("/v1/epochs/{epoch}/inputs/{name}", self._put_input)
        app.router.add_post("/v1/clock", self._post_clock)
        app.router.add_get("/v1/artefacts/{cid}", self._get_artefact)
        app.router.add_get("/v1/receipts/{batch}", self._get_receipt)
        app.router.add_get("/v1/log/{file:checkpoint|entries}", self._get_log)
        app.router.add_get("/v1/openapi.json", self._get_openapi)
        app.router.add_get("/healthz", self._get_health)
        return app

    def close(self) -> None:
        """End the threads, after what they are doing."""
        self._decoders.shutdown(cancel_futures=True)
        self._seals.shutdown(cancel_futures=True)

    # -- what all requests share ------------------------------------------------------------------

    @web.middleware
    async def _answer_errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except _Refusal as refusal:
            return refusal.response
        except web.HTTPRequestEntityTooLarge:
            return _too_large(self._access.body_bytes_max)
        except web.HTTPException as error:
            return _error(error.status, "request", error.reason)
        except Conflict as error:
            return _error(409, error.field, error.reason)
        except InvalidInput as error:
            status = 413 if error.field == "too_many_records" else 400
            return _error(status, error.field, error.reason)
        except NotFound as error:
            return _error(404, "request", str(error))
        except Overloaded as error:
            return _error(503, "service", str(error), Retry_After=f"{error.retry_after_s:.0f}")
        except RemoteFault as error:
            return _error(503, "chain", str(error), Retry_After=str(_RETRY_S))
        except MeridianError as error:  # our own disk: nothing may be acknowledged any more
            self._failed(error)
            return _error(500, "service", "storage failure")

    def _require(self, request: web.Request, token: str) -> None:
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
            raise _Refusal(401, "Authorization", "a bearer token is needed", WWW_Authenticate="Bearer")

    @contextlib.asynccontextmanager
    async def _body(self, request: web.Request) -> AsyncIterator[bytes]:
        """Read a large body, while there are not too many of them."""
        limit = self._access.body_bytes_max
        if request.content_length is not None and request.content_length > limit:
            raise _Refusal(413, "body", f"longer than {limit} bytes", Connection="close")
        if self._active >= self._access.requests_max:
            raise _Refusal(429, "service", "too many requests at a time", Retry_After=str(_RETRY_S))
        self._active += 1
        try:
            yield await _read(request)
        finally:
            self._active -= 1

    # -- gateways ---------------------------------------------------------------------------------

    async def _post_jobs(self, request: web.Request) -> web.StreamResponse:
        self._require(request, self._access.gateway_token)
        if request.content_type not in {NDJSON, JSON}:
            raise _Refusal(415, "Content-Type", f"{NDJSON} or {JSON} is needed")
        text = request.headers.get(SEED_HEADER)
        seed = None if text is None else parse_digest(text, SEED_HEADER)
        async with self._body(request) as body:
            answer = await asyncio.get_running_loop().run_in_executor(
                self._decoders, self._submit, body, request.content_type == NDJSON, seed
            )
            return web.Response(body=await asyncio.wrap_future(answer), content_type=JSON)

    def _submit(self, body: bytes, ndjson: bool, seed: bytes | None) -> Any:
        return self._core.intake.submit(body, ndjson=ndjson, seed=seed)

    async def _get_receipt(self, request: web.Request) -> web.StreamResponse:
        batch = parse_digest(request.match_info["batch"], "batch")
        answer = await asyncio.to_thread(self._core.intake.answer, batch)
        if answer is None:
            raise NotFound("no such batch is kept here")
        receipt = msgspec.json.decode(answer, type=dict[str, msgspec.Raw])["receipt"]
        return _json({"batch": batch.hex(), "receipt": receipt})

    # -- everybody --------------------------------------------------------------------------------

    async def _get_epochs(self, request: web.Request) -> web.StreamResponse:
        first = _number(request.query.get("from", "0"), "from")
        limit = min(_number(request.query.get("limit", str(EPOCHS_PAGE)), "limit"), EPOCHS_PAGE)
        epochs = await asyncio.to_thread(self._core.sealer.epochs, first, limit)
        return _json({"epochs": epochs, "open_epoch": self._core.intake.open_epoch})

    async def _get_epoch(self, request: web.Request) -> web.StreamResponse:
        return _json(await asyncio.to_thread(self._core.sealer.state, _epoch(request)))

    async def _get_artefact(self, request: web.Request) -> web.StreamResponse:
        _, digest = parse_cid(request.match_info["cid"])
        path = self._core.publication.path(digest)
        if not path.is_file():
            raise NotFound("no such artefact is published here")
        headers = {
            "Content-Type": "application/octet-stream",
            "Cache-Control": "public, max-age=31536000, immutable",
        }
        return web.FileResponse(path, headers=headers)

    async def _get_log(self, request: web.Request) -> web.StreamResponse:
        path = self._core.publication.root / "log" / request.match_info["file"]
        headers = {"Content-Type": "application/octet-stream", "Cache-Control": "no-cache"}
        return web.FileResponse(path, headers=headers)

    async def _get_openapi(self, _: web.Request) -> web.StreamResponse:
        return _json(document(self._access.body_bytes_max))

    async def _get_health(self, _: web.Request) -> web.StreamResponse:
        core = self._core
        return _json(
            {
                "status": "ok",
                "network": core.setting.network,
                "aggregator": address_text(core.setting.key.address),
                "open_epoch": core.intake.open_epoch,
                "sealed_through": core.sealer.next_epoch - 1,
                "committed_through": core.sealer.next_uncommitted - 1,
                "clock_us": core.clock.now_us(),
                "replay": core.clock.replay,
                "vkey": core.vkey,
            }
        )

    # -- the administrator ------------------------------------------------------------------------

    async def _post_seal(self, request: web.Request) -> web.StreamResponse:
        self._require(request, self._access.admin_token)
        return _json(await self.seal(_epoch(request)))

    async def seal(self, epoch: int) -> dict[str, Any]:
        """Seal an epoch in the sealing thread; raises as `Sealer.seal`."""
        if self._sealing >= _SEALS_MAX:
            raise _Refusal(429, "service", "too many seals at a time", Retry_After=str(_RETRY_S))
        self._sealing += 1
        try:
            state = await asyncio.get_running_loop().run_in_executor(
                self._seals, self._core.sealer.seal, epoch
            )
        finally:
            self._sealing -= 1
        self._sealed()
        return state

    async def _put_input(self, request: web.Request) -> web.StreamResponse:
        self._require(request, self._access.admin_token)
        epoch, name = _epoch(request), request.match_info["name"]
        async with self._body(request) as data:
            digest = await asyncio.to_thread(self._core.sealer.put_input, epoch, name, data)
        return _json({"epoch": epoch, "name": name, "digest": digest.hex()})

    async def _post_clock(self, request: web.Request) -> web.StreamResponse:
        self._require(request, self._access.admin_token)
        if not self._core.clock.replay:
            raise Conflict("clock", "this service follows the machine's clock")
        if (request.content_length or 0) > SMALL_BODY_BYTES_MAX:
            return _too_large(SMALL_BODY_BYTES_MAX)
        try:
            value = msgspec.json.decode(await _read(request), type=dict[str, int])["now_us"]
        except (msgspec.DecodeError, KeyError) as error:
            raise InvalidInput("now_us", f"a body like {{'now_us': 1}} is needed: {error}") from None
        return _json({"now_us": self._core.clock.set(value)})


async def _read(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await request.read()
    except TimeoutError:
        raise _Refusal(408, "body", "it did not arrive in time", Connection="close") from None


def _too_large(limit: int) -> web.Response:
    return _error(413, "body", f"longer than {limit} bytes", Connection="close")


def _number(text: str, field: str) -> int:
    if not _EPOCH.fullmatch(text):
        raise InvalidInput(field, f"{text!r} is not a number")
    return int(text)


def _epoch(request: web.Request) -> int:
    return _number(request.match_info["epoch"], "epoch")
