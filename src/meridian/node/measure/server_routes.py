"""What servers of one network say to one another over HTTP: claims to the coordinator, hand-over to it.

Law: only who shows the servers' token is heard. It is no token for jobs or seals.
"""

import asyncio
import hmac
from typing import Final

from aiohttp import web

from meridian.errors import InvalidInput
from meridian.measure.claims import Claim, Verdict
from meridian.node.measure.claiming import CLAIMS_PATH
from meridian.node.measure.following import Following
from meridian.node.measure.granting import Granting
from meridian.node.measure.grouping import NotAuthenticated
from meridian.node.measure.hand_over import part_of, require_closed
from meridian.node.measure.intake import Intake
from meridian.node.measure.journal import Journal
from meridian.primitives import dagcbor

CLAIM_BYTES_MAX: Final = 64 << 20
_BINARY: Final = "application/octet-stream"
_EPOCH: Final = "{epoch:[0-9]{1,9}}"


class ServerRoutes:
    """The handlers.

    Args:
        intake: Ours.
        journal: Ours.
        token: What servers show one another.
        part: What this server is to the others: the coordinator grants, a further one follows.
    """

    def __init__(
        self, intake: Intake, journal: Journal, token: str, part: Granting | Following
    ) -> None:
        self._intake, self._journal, self._part = intake, journal, part
        self._token = f"Bearer {token}".encode()

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        if isinstance(self._part, Granting):
            app.router.add_post(CLAIMS_PATH, self.post_claim)
            return
        app.router.add_post(f"/v1/servers/epochs/{_EPOCH}/close", self.post_close)
        app.router.add_get(
            f"/v1/servers/epochs/{_EPOCH}/groups/{{first:[0-9]{{1,9}}}}", self.get_groups
        )

    def _require(self, request: web.Request) -> None:
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        if not hmac.compare_digest(given, self._token):
            raise NotAuthenticated("Authorization", "the servers' token is needed")

    async def post_claim(self, request: web.Request) -> web.StreamResponse:
        """Decide about a claim; answered when it is durable."""
        self._require(request)
        granting = self._part
        assert isinstance(granting, Granting), "the route is the coordinator's"
        body = await request.read()
        if len(body) > CLAIM_BYTES_MAX:
            raise InvalidInput("claim", f"more than {CLAIM_BYTES_MAX} bytes")
        claim = Claim.read(dagcbor.decode(body))

        def grant() -> Verdict:
            verdict = granting.grant(claim)
            self._intake.prepare_after(len(claim.hashes))
            return verdict

        verdict = await asyncio.wrap_future(self._intake.between(grant))
        return web.Response(body=dagcbor.encode(verdict.document()), content_type=_BINARY)

    async def post_close(self, request: web.Request) -> web.StreamResponse:
        """Take no more jobs into an epoch, and say what there is of it."""
        self._require(request)
        following, epoch = self._part, int(request.match_info["epoch"])
        assert isinstance(following, Following), "the route is a further server's"
        await asyncio.to_thread(following.close, epoch)
        jobs, duplicates = self._journal.counts(epoch)
        groups = len(self._journal.frames_of(epoch))
        return web.json_response({"groups": groups, "jobs": jobs, "duplicates": duplicates})

    async def get_groups(self, request: web.Request) -> web.StreamResponse:
        """Return groups of a closed epoch from one on (`hand_over`)."""
        self._require(request)
        epoch, first = (int(request.match_info[name]) for name in ("epoch", "first"))
        require_closed(self._journal, epoch)
        part = await asyncio.to_thread(part_of, self._journal, epoch, first)
        return web.Response(body=part, content_type=_BINARY)
