"""The proof interface of the measure service: any proof about any job of any sealed epoch, and of the epoch log.

Law: it only reads, and whoever asks may know what it says. Proofs are made in two threads of their own, so that the loop
never waits for a disk or a hash; what more than a bounded number of requests ask for is refused with 429.
Absence is an answer, not an error: the kind stands in the answer and in the header ``Meridian-Proof-Kind``.
"""

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import unquote_to_bytes

from aiohttp import web

from meridian.errors import InvalidInput, Overloaded
from meridian.measure.proof_form import MEDIA_TYPE, encode_binary, encode_json
from meridian.node.measure.proving import ProvenRows, Proving
from meridian.primitives.ids import parse_digest
from meridian.verifier import Name, ProofFile

ROWS_TYPE: Final = "application/vnd.meridian.rows"
THREADS: Final = 2
WAITING_MAX: Final = 64
"""Proofs that are asked for and not yet made."""
STREAMS_MAX: Final = 4
"""Answers with rows at a time."""
CHUNK_ROWS: Final = 10_000
RETRY_S: Final = 1

_FOREVER: Final = {"Cache-Control": "public, max-age=31536000, immutable"}
_TORN: Final = re.compile(r"%(?![0-9a-fA-F]{2})")
_NUMBER: Final = re.compile(r"[0-9]{1,9}")

T = TypeVar("T")


class ProofRoutes:
    """The handlers.

    Args:
        proving: Makes the proofs.
    """

    def __init__(self, proving: Proving) -> None:
        self._proving = proving
        self._pool = ThreadPoolExecutor(THREADS, "proofs")
        self._waiting = self._streams = 0

    def add_to(self, app: web.Application) -> None:
        """Add the routes to the service's application."""
        about = "/v1/epochs/{epoch}/proofs"
        app.add_routes(
            [
                web.get(about + "/node/{node_id:[^/]+}", self.get_node),
                web.get(about + "/job/{node_id:[^/]+}/{job_id:[^/]+}", self.get_job),
                web.get(about + "/node-key/{node_key}", self.get_node),
                web.get(about + "/job-key/{node_key}/{job_key}", self.get_job),
                web.get("/v1/log/inclusion/{epoch}", self.get_inclusion),
                web.get("/v1/log/consistency", self.get_consistency),
            ]
        )
        app.on_cleanup.append(self._close)

    async def _close(self, _app: web.Application) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def get_node(self, request: web.Request) -> web.StreamResponse:
        """Prove a node's count and sums, or that it has no jobs; with ``rows=1`` followed by its rows."""
        epoch, (node,) = _epoch(request.match_info["epoch"]), _names(request, "node")
        if request.query.get("rows", "0") != "1":
            file = await self._work(lambda: self._proving.prove(epoch, node))
            return _answer(request, file, _FOREVER)
        if self._streams >= STREAMS_MAX:
            raise Overloaded(RETRY_S)
        self._streams += 1
        try:
            proven = await self._work(lambda: self._proving.rows(epoch, node))
            return await self._stream(request, proven)
        finally:
            self._streams -= 1

    async def get_job(self, request: web.Request) -> web.StreamResponse:
        """Prove that a job was counted, or that it, or its node, was not."""
        epoch, (node, job) = _epoch(request.match_info["epoch"]), _names(request, "node", "job")
        file = await self._work(lambda: self._proving.prove(epoch, node, job))
        return _answer(request, file, _FOREVER)

    async def get_inclusion(self, request: web.Request) -> web.StreamResponse:
        """Prove that an epoch's entry is in the epoch log."""
        epoch, text = _epoch(request.match_info["epoch"]), request.query.get("size")
        size = None if text is None else _number("size", text)
        file = await self._work(lambda: self._proving.log_inclusion(epoch, size))
        return _answer(request, file, {"Cache-Control": "no-cache"} if text is None else _FOREVER)

    async def get_consistency(self, request: web.Request) -> web.StreamResponse:
        """Prove that the epoch log of one epoch is the beginning of that of a later one."""
        old, new = (_number(name, request.query.get(name, "")) for name in ("from", "to"))
        file = await self._work(lambda: self._proving.log_consistency(old, new))
        return _answer(request, file, _FOREVER)

    async def _work(self, make: Callable[[], T]) -> T:
        if self._waiting >= WAITING_MAX:
            raise Overloaded(RETRY_S)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, make)
        finally:
            self._waiting -= 1

    async def _stream(self, request: web.Request, proven: ProvenRows) -> web.StreamResponse:
        proof = encode_binary(proven.file)
        head = len(proof).to_bytes(4, "big") + proof
        answer = web.StreamResponse(headers=_headers(proven.file, _FOREVER))
        answer.content_type = ROWS_TYPE
        answer.content_length = len(head) + proven.count * 100
        await answer.prepare(request)
        await answer.write(head)
        for first in range(0, proven.count, CHUNK_ROWS):
            count = min(CHUNK_ROWS, proven.count - first)
            await answer.write(await self._work(partial(proven.read, first, count)))
        await answer.write_eof()
        return answer


def _headers(file: ProofFile, more: dict[str, str]) -> dict[str, str]:
    return {"Meridian-Proof-Kind": file.kind, "Vary": "Accept", **more}


def _answer(request: web.Request, file: ProofFile, headers: dict[str, str]) -> web.Response:
    accepted = {part.split(";")[0].strip() for part in request.headers.get("Accept", "").split(",")}
    is_binary = MEDIA_TYPE in accepted
    return web.Response(
        body=encode_binary(file) if is_binary else encode_json(file),
        content_type=MEDIA_TYPE if is_binary else "application/json",
        headers=_headers(file, headers),
    )


def _names(request: web.Request, *whats: str) -> list[Name]:
    """Return what is asked about, from the last segments of the path as it was sent: ids may hold anything."""
    segments = request.raw_path.split("?", 1)[0].split("/")[-len(whats) :]
    return [
        Name(parse_digest(segment, f"{what}_key"), None)
        if f"{what}_key" in request.match_info
        else _named(segment, f"{what}_id")
        for what, segment in zip(whats, segments, strict=True)
    ]


def _named(segment: str, field: str) -> Name:
    try:
        if _TORN.search(segment):
            raise ValueError(segment)
        return Name.of(unquote_to_bytes(segment).decode())
    except ValueError:
        raise InvalidInput(field, "it is not percent-encoded UTF-8") from None


def _epoch(text: str) -> int:
    return _number("epoch", text)


def _number(field: str, text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise InvalidInput(field, f"{text[:20]!r} is not a number of an epoch or of entries")
    return int(text)


def operations(operation: Callable[..., Any], path: Callable[[str], Any], epoch: Any) -> Any:
    """Return the description of these routes for `openapi`."""
    binary = {
        "name": "Accept",
        "in": "header",
        "schema": {"enum": ["application/json", MEDIA_TYPE]},
    }
    answers = {
        "200": "A proof; also of absence",
        "404": "The epoch is not sealed, or not in the log",
        "429": "Too many ask",
        "503": "Neither the store nor the segments can be read now",
    }

    def get(summary: str, *parameters: Any) -> dict[str, Any]:
        return {"get": operation(summary, answers, parameters=(*parameters, binary))}

    rows = {"name": "rows", "in": "query", "schema": {"enum": ["0", "1"]}}
    size = {"name": "size", "in": "query", "schema": {"type": "integer"}}
    ends = [
        {"name": name, "in": "query", "required": True, "schema": {"type": "integer"}}
        for name in ("from", "to")
    ]
    about = "/v1/epochs/{epoch}/proofs"
    node, job = "Prove a node's count and sums", "Prove one job"
    return {
        f"{about}/node/{{node_id}}": get(node, epoch, path("node_id"), rows),
        f"{about}/job/{{node_id}}/{{job_id}}": get(job, epoch, path("node_id"), path("job_id")),
        f"{about}/node-key/{{node_key}}": get(node, epoch, path("node_key"), rows),
        f"{about}/job-key/{{node_key}}/{{job_key}}": get(
            job, epoch, path("node_key"), path("job_key")
        ),
        "/v1/log/inclusion/{epoch}": get("Prove that an epoch is in the epoch log", epoch, size),
        "/v1/log/consistency": get("Prove that one epoch log continues another", *ends),
    }
