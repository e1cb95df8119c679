"""The simulated smart contract: a process with an HTTP server and a database.

======================================  =================================================================
``GET /contract/epoch``                 the epoch that the contract's clock is in, and that clock
``POST /contract/submit_rewards``       the result of an ended epoch: 200, 400, 401, 409, 413 or 425
``GET /contract/rewards``               the epochs that have a result (``?from=N``)
``GET /contract/rewards/{epoch}``       an accepted result: winner, block, signatures; 404 if there is none
``GET /contract/peer_info``             the known Nym-Apis
``GET /contract/health``                200 while the database works, else 503
======================================  =================================================================

Errors are ``{"error": {"field", "reason"}}``. Epochs are half-open and aligned to the genesis, which is made once and
kept; before it, the current epoch is the first one, with its start in the future.
"""

import asyncio
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import click
from aiohttp import web

from meridian.errors import InvalidInput, MeridianError, NotFound
from meridian.journey.host import HOST
from meridian.node.process import (
    bound_recursion,
    event_line,
    ready_line,
    serve_until_stopped,
    start_logging,
)
from meridian.nym.acceptance import (
    AlreadySettled,
    TooEarly,
    Unauthorised,
    check_submission,
)
from meridian.nym.contract_store import ContractStore
from meridian.nym.network import NymLayout, NymNetwork
from meridian.nym.wire import BODY_BYTES_MAX, accepted_document, decode_submission
from meridian.primitives.ids import address_text

_JSON: Final = "application/json"
_TOO_EARLY: Final = 425

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger(__name__)


def wall_ms() -> int:
    """Return the wall clock in Unix milliseconds."""
    return time.time_ns() // 1_000_000


class ContractHttp:
    """The contract's face.

    Args:
        network: What the contract was made for.
        store: Its database.
        now_ms: Its clock.
    """

    def __init__(
        self, network: NymNetwork, store: ContractStore, now_ms: Callable[[], int] = wall_ms
    ) -> None:
        self._network = network
        self._terms = network.terms
        self._store = store
        self._now_ms = now_ms

    def application(self) -> web.Application:
        """Return the application."""
        app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[_answer_errors])
        app.add_routes(
            [
                web.get("/contract/epoch", self.get_epoch),
                web.post("/contract/submit_rewards", self.submit_rewards),
                web.get("/contract/rewards", self.get_settled),
                web.get("/contract/rewards/{epoch}", self.get_rewards),
                web.get("/contract/peer_info", self.get_peers),
                web.get("/contract/health", self.get_health),
            ]
        )
        return app

    async def get_epoch(self, _request: web.Request) -> web.StreamResponse:
        """Return the current epoch and the clock."""
        now_ms, calendar = self._now_ms(), self._store.calendar
        epoch = max(0, self._store.epoch_at(now_ms))
        return web.json_response(
            {
                "epoch_id": epoch,
                "start_time": calendar.start_us(epoch) // 1_000_000,
                "duration": calendar.epoch_seconds,
                "genesis": calendar.genesis_s,
                "now_ms": now_ms,
                "mode": self._terms.mode.value,
            }
        )

    async def submit_rewards(self, request: web.Request) -> web.StreamResponse:
        """Take the first good submission for an epoch that has ended."""
        body = await request.read()
        terms = self._terms
        submission = decode_submission(body, network=terms.realm.network, mixnodes=terms.mixnodes)
        check_submission(terms, submission)
        now_ms = self._now_ms()
        await asyncio.to_thread(self._store.settle, submission, now_ms)
        epoch, winner = submission.report.epoch, address_text(submission.sender)
        log.info("epoch %d settled by %s", epoch, winner)
        event_line("accepted", epoch=epoch, winner=winner, accepted_ms=now_ms)
        return web.json_response({"epoch": epoch, "winner": winner})

    async def get_settled(self, request: web.Request) -> web.StreamResponse:
        """Return the settled epochs."""
        first = _epoch(request.query.get("from", "0"), "from")
        epochs = await asyncio.to_thread(self._store.settled, first)
        return web.json_response({"epochs": epochs})

    async def get_rewards(self, request: web.Request) -> web.StreamResponse:
        """Return an accepted result."""
        epoch = _epoch(request.match_info["epoch"], "epoch")
        accepted = await asyncio.to_thread(self._store.accepted, epoch)
        network = self._terms.realm.network
        return web.json_response(
            accepted_document(network, accepted.submission, accepted.accepted_ms)
        )

    async def get_peers(self, _request: web.Request) -> web.StreamResponse:
        """Return the known Nym-Apis."""
        peers: list[dict[str, Any]] = [
            {
                "name": f"nym-api-{number}",
                "address": f"{HOST}:{entry.port}",
                "public_key": entry.address,
                "link_key": entry.link_key,
            }
            for number, entry in enumerate(self._network.apis, 1)
        ]
        return web.json_response(peers)

    async def get_health(self, _request: web.Request) -> web.StreamResponse:
        """Tell whether the database works."""
        await asyncio.to_thread(self._store.settled)
        return web.json_response({"status": "ok"})


def _epoch(text: str, field: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise InvalidInput(field, f"{text[:20]!r} is not an epoch")
    return int(text)


def _error(field: str, reason: str) -> str:
    return json.dumps({"error": {"field": field, "reason": reason}})


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPRequestEntityTooLarge:
        text, status = _error("body", f"at most {BODY_BYTES_MAX} bytes are accepted"), 413
    except web.HTTPException as error:
        text, status = _error("request", error.reason), error.status
    except InvalidInput as refusal:
        text, status = _error(refusal.field, refusal.reason), _status(refusal)
    except NotFound as missing:
        text, status = _error("epoch", str(missing)), 404
    except MeridianError as failure:
        log.exception("request failed")
        text, status = _error("storage", str(failure)), 503
    return web.Response(text=text, status=status, content_type=_JSON)


def _status(refusal: InvalidInput) -> int:
    match refusal:
        case Unauthorised():
            return 401
        case AlreadySettled():
            return 409
        case TooEarly():
            return _TOO_EARLY
    return 400


async def serve(root: Path) -> None:
    """Serve a data directory's contract until cancelled."""
    network = NymNetwork.load(root)
    store = ContractStore(NymLayout(root).contract, network)
    runner = web.AppRunner(ContractHttp(network, store).application(), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, network.contract_port).start()
        ready_line(url=network.contract_url, genesis_s=store.calendar.genesis_s)
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
        store.close()


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path, exists=True), required=True)
def command(data_dir: Path) -> None:
    """Run the contract of a data directory."""
    bound_recursion()
    start_logging("contract")
    raise SystemExit(serve_until_stopped(lambda: serve(data_dir)))


if __name__ == "__main__":
    command()
