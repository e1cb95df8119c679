"""Proofs of the measure service for the page, which may ask no other server: read only, bounded, by keys alone."""

import re
from typing import Final

import aiohttp
from aiohttp import web

from meridian.errors import NotFound, Overloaded, RemoteFault

WAITING_MAX: Final = 16
ANSWER_BYTES_MAX: Final = 4 << 20
TIMEOUT_S: Final = 15.0
RETRY_S: Final = 1
_ASKED: Final = re.compile(
    r"([0-9]{1,9})/(node-key/[0-9a-f]{64}|job-key/[0-9a-f]{64}/[0-9a-f]{64})"
)
_PASSED: Final = frozenset({200, 400, 404, 429, 503})
_KEPT: Final = ("Cache-Control", "Meridian-Proof-Kind", "Retry-After", "Vary")


class ProofProxy:
    """Asks the measure service.

    Args:
        url: The measure service's; empty: there is none.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting = 0
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Return what the measure service answers.

        Raises:
            NotFound: If the path is not one of a proof.
            Overloaded: If too many ask.
            RemoteFault: If it does not answer, or answers anything that is no proof.
        """
        asked = _ASKED.fullmatch(request.match_info["path"])
        if asked is None or not self._url:
            raise NotFound("no such proof")
        if self._waiting >= WAITING_MAX:
            raise Overloaded(RETRY_S)
        self._waiting += 1
        try:
            target = f"{self._url}/v1/epochs/{asked[1]}/proofs/{asked[2]}"
            return await self._fetch(target, request.headers.get("Accept", ""))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise RemoteFault(f"the measure service does not answer: {error}") from error
        finally:
            self._waiting -= 1

    async def _fetch(self, url: str, accept: str) -> web.Response:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
                connector=aiohttp.TCPConnector(limit=WAITING_MAX),
                auto_decompress=True,
            )
        async with self._session.get(
            url, headers={"Accept": accept}, allow_redirects=False
        ) as answer:
            if answer.status not in _PASSED:
                raise RemoteFault(f"the measure service answers {answer.status}")
            body = await answer.content.read(ANSWER_BYTES_MAX + 1)
            while not answer.content.at_eof() and len(body) <= ANSWER_BYTES_MAX:
                body += await answer.content.read(ANSWER_BYTES_MAX + 1 - len(body))
            if len(body) > ANSWER_BYTES_MAX:
                raise RemoteFault(f"the proof is longer than {ANSWER_BYTES_MAX} bytes")
            kept = {name: answer.headers[name] for name in _KEPT if name in answer.headers}
            return web.Response(
                body=body, status=answer.status, headers=kept, content_type=answer.content_type
            )
