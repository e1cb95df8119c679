"""``POST /v1/jobs``: who sends, whether it may send so much now, and the body, read and unpacked within bounds.

Law: nothing of a body is read before its sender is known and has room; so a sender that asks ``Expect: 100-continue``
sends nothing in vain. A body that comes too slowly is given up. What is refused for load is refused at once (429).
"""

import asyncio
import hmac
import json
import time
from typing import Final

from aiohttp import web

from meridian.errors import MeridianError, Overloaded
from meridian.measure.batch_decode import Body, BodyKind
from meridian.measure.batch_signature import SEED_HEADER, SIGNATURE_HEADER, BatchSignature
from meridian.node.measure.bodies import SENT_BYTES_MAX, BodyTooLarge, read_body, require_accepted
from meridian.node.measure.group_commit import Reply
from meridian.node.measure.grouping import NotAuthenticated, Submitted
from meridian.node.measure.intake import Intake
from meridian.node.measure.limits import JobsLimits, Rates, SenderLimits, Share, TokenBucket, Work
from meridian.node.measure.nodes import NodeDirectory
from meridian.primitives.ids import parse_digest

BODY_WAIT_S: Final = 10.0
BODY_BYTES_PER_S: Final = 128 << 10
"""A body may take `BODY_WAIT_S` and the time that it needs at this rate."""
UNPACKING_MAX: Final = 2
"""Compressed bodies that are unpacked at a time; each may become 256 MiB."""

JSON: Final = "application/json"
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class JobsRoute:
    """The handler.

    Args:
        intake: Admits.
        directory: The registered nodes.
        tokens: The bearer tokens that may submit for any node, by the sender's name.
        limits: What may be sent.
    """

    def __init__(
        self, intake: Intake, directory: NodeDirectory, tokens: dict[str, str], limits: JobsLimits
    ) -> None:
        self._intake, self._directory, self._limits = intake, directory, limits
        self._tokens = [(f"Bearer {token}".encode(), name) for name, token in tokens.items()]
        self._senders = SenderLimits()
        self._work = Work(limits.requests_max, limits.bytes_max)
        self._unpacking = asyncio.Semaphore(UNPACKING_MAX)

    def add_to(self, app: web.Application) -> None:
        """Register the route."""
        app.router.add_post("/v1/jobs", self.post, expect_handler=_expect)

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Admit a batch."""
        sender, rates, signature = await self._sender(request)
        headers = request.headers
        content_type, encoding = headers.get("Content-Type", ""), headers.get("Content-Encoding")
        _, seed, bucket, share = self._begin(
            sender,
            rates,
            (content_type, encoding),
            headers.get(SEED_HEADER),
            request.content_length or 0,
        )
        with share:
            data = await self._read(request, share, bucket)
            body = await self._unpacked(data, content_type, encoding, share)
            reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            self._intake.submit(Submitted(body, seed, signature), reply)
            answer = await reply
        return web.Response(body=answer, content_type=JSON)

    # -- the short way (`jobs_connection`) -----------------------------------------------

    def holder(self, authorization: str) -> str | None:
        """Return the name of who holds a bearer token, or None."""
        token = authorization.encode(errors="surrogateescape")
        for known, name in self._tokens:
            if hmac.compare_digest(token, known):
                return name
        return None

    def room(self, announced: int) -> Share:
        """Take a body in work that has not come.

        Raises:
            Overloaded: If there is no room for it now.
        """
        share = self._work.request()
        try:
            share.grow_to(announced)
        except Overloaded:
            share.give_back()
            raise
        return share

    def submit(
        self,
        holder: str,
        content_type: str,
        seed: str | None,
        data: bytes,
        reply: Reply,
        share: Share | None,
    ) -> Share:
        """Submit a whole body of the holder of a token; the share is the caller's to give back, when it is answered.

        Args:
            holder: The sender's name.
            content_type: The header.
            seed: The header, if there is one.
            data: The body, without compression.
            reply: Gets the answer.
            share: From `room`, if the body was waited for.

        Raises:
            MeridianError: If it is refused; the share is given back.
        """
        rates = self._limits.gateway
        kind, own_seed, bucket, share = self._begin(
            holder, rates, (content_type, None), seed, len(data), share
        )
        try:
            bucket.take(len(data))
            self._intake.submit(Submitted(Body(kind, data), own_seed), reply)
        except MeridianError:
            share.give_back()
            raise
        return share

    # -- the steps --------------------------------------------------------------------------------

    def _begin(
        self,
        sender: str,
        rates: Rates,
        types: tuple[str, str | None],
        given_seed: str | None,
        announced: int,
        share: Share | None = None,
    ) -> tuple[BodyKind, bytes | None, TokenBucket, Share]:
        """Take a request in work, if it is not yet; who is refused has used up nothing of what it may send."""
        try:
            kind, _ = require_accepted(*types)
            seed = None if given_seed is None else parse_digest(given_seed, SEED_HEADER)
            if announced > SENT_BYTES_MAX:
                raise BodyTooLarge("body", f"{announced} bytes pass {SENT_BYTES_MAX}")
            share = share or self.room(announced)
            return kind, seed, self._senders.take_request(sender, rates, time.monotonic()), share
        except MeridianError:
            if share is not None:
                share.give_back()
            raise

    async def _sender(self, request: web.Request) -> tuple[str, Rates, BatchSignature | None]:
        """Return the sender's name, what it may send, and its signature if it has one instead of a token."""
        given = request.headers.get("Authorization")
        if given is not None:
            name = self.holder(given)
            if name is not None:
                return name, self._limits.gateway, None
            raise NotAuthenticated("Authorization", "the bearer token is not known here")
        signature = BatchSignature.read(request.headers)
        if signature is None:
            raise NotAuthenticated(
                "Authorization", f"a bearer token, or a {SIGNATURE_HEADER}, is needed"
            )
        if self._directory.find(signature.node_id) is None:
            await asyncio.to_thread(self._directory.refresh_if_due)
            if self._directory.find(signature.node_id) is None:
                raise NotAuthenticated(SIGNATURE_HEADER, "the node is not registered")
        # Who only claims to be the node must not use up what the node may send, so the address counts too.
        return f"{request.remote} {signature.node_id}", self._limits.node, signature

    async def _read(self, request: web.Request, share: Share, bucket: TokenBucket) -> bytes:
        """Return the body as it was sent."""
        if "Expect" in request.headers:
            await request.writer.write(_CONTINUE)
            request.writer.output_size = 0
        parts: list[bytes] = []
        size = 0
        allowed_s = BODY_WAIT_S + (request.content_length or SENT_BYTES_MAX) / BODY_BYTES_PER_S
        try:
            async with asyncio.timeout(allowed_s):
                while chunk := await request.content.readany():
                    parts.append(chunk)
                    size += len(chunk)
                    if size > SENT_BYTES_MAX:
                        raise BodyTooLarge("body", f"more than {SENT_BYTES_MAX} bytes")
                    share.grow_to(size)
        except TimeoutError:
            raise web.HTTPRequestTimeout(headers={"Connection": "close"}) from None
        bucket.take(size)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _unpacked(
        self, data: bytes, content_type: str, encoding: str | None, share: Share
    ) -> Body:
        if encoding is None:
            return read_body(data, content_type, None)
        async with self._unpacking:
            body = await asyncio.to_thread(read_body, data, content_type, encoding)
        share.grow_to(len(body.data))
        return body


async def _expect(request: web.Request) -> None:
    """Leave the answer to the handler, which knows whether the body is wanted."""
    if request.headers["Expect"].lower() != "100-continue":
        text = json.dumps({"error": {"field": "Expect", "reason": "only 100-continue is known"}})
        raise web.HTTPExpectationFailed(text=text, content_type=JSON)
