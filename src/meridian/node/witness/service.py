"""The witness process: one POST that cosigns, and the latest cosigned checkpoints to read.

    POST /add-checkpoint                       C2SP tlog-witness
    GET  /<SHA-256 of the origin, hex>/checkpoint
    GET  /healthz

Law: the new checkpoint is durable before its cosignature leaves the process; checking and storing are one step.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from aiohttp import web
from prometheus_client.core import GaugeMetricFamily

from meridian.errors import InvalidInput, StorageFailure
from meridian.measure.signed_note import (
    COSIGNATURE,
    Note,
    Signature,
    Verifier,
    cosign_text,
    verifier_of,
)
from meridian.measure.witnessing import (
    REQUEST_BYTES_MAX,
    AddCheckpoint,
    Refused,
    require_growth,
    require_signed,
    stated,
)
from meridian.node.keystore import read_secret
from meridian.node.observe.observation import Observation, announce
from meridian.node.observe.routes import ObserveRoutes
from meridian.node.process import ready_line, serve_until_stopped
from meridian.node.witness.config import WitnessConfig
from meridian.node.witness.memory import Memory
from meridian.primitives.hashing import sha256

CONFIG_NAME: Final = "witness.toml"
KEY_NAME: Final = "witness.key"
MEMORY_NAME: Final = "cosigned.json"
SIZE_TYPE: Final = "text/x.tlog.size"
SHUTDOWN_S: Final = 2.0

_log = logging.getLogger(__name__)


class Witness:
    """Decides and remembers.

    Args:
        name: Name of the key.
        seed: The Ed25519 secret.
        logs: The trusted keys of each log, by origin.
        memory: What was cosigned.
        now_s: The clock, in seconds since the Unix epoch.
    """

    def __init__(
        self,
        name: str,
        seed: bytes,
        logs: Mapping[str, Sequence[Verifier]],
        memory: Memory,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._name, self._seed = name, seed
        self._logs, self._memory, self._now_s = logs, memory, now_s
        self._lock = threading.Lock()
        self._origins = {sha256(origin.encode()).hex(): origin for origin in logs}

    @property
    def verifier(self) -> Verifier:
        """The key that cosigns."""
        return verifier_of(self._name, self._seed, COSIGNATURE)

    def add_checkpoint(self, body: bytes) -> Signature:
        """Cosign a checkpoint.

        Raises:
            Refused: If it is not cosigned; nothing has changed.
            StorageFailure: If it could not be remembered; nothing was cosigned.
        """
        try:
            request = AddCheckpoint.parse(body)
        except InvalidInput as error:
            raise Refused(400, error.field, error.reason) from error
        note, new = stated(request)
        keys = self._logs.get(new.origin)
        if keys is None:
            raise Refused(404, "origin", "this log is not witnessed here")
        require_signed(note, keys)
        with self._lock:
            require_growth(request, new, self._memory.latest(new.origin))
            cosignature = cosign_text(note.text, self._name, self._seed, int(self._now_s()))
            by_log = tuple(one for key in keys for one in note.signed_by(key))
            self._memory.remember(new.origin, Note(note.text, (*by_log, cosignature)))
        return cosignature

    def look(self) -> Observation:
        """Return what the operator may know."""
        sizes = GaugeMetricFamily(
            "meridian_witness_log_size", "Entries of each log, as cosigned last", labels=["origin"]
        )
        entries: dict[str, int] = {}
        for origin in self._logs:
            latest = self._memory.latest(origin)
            entries[origin] = 0 if latest is None else latest.size
            sizes.add_metric([origin], entries[origin])
        return Observation(ready=True, detail={"logs": entries}, metrics=[sizes])

    def latest(self, origin_hash: str) -> Note | None:
        """Return the latest cosigned checkpoint of the log whose origin has this SHA-256 (hex)."""
        origin = self._origins.get(origin_hash)
        return None if origin is None else self._memory.note(origin)


class WitnessHttp:
    """The handlers."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness

    def application(self) -> web.Application:
        """Return the application."""
        app = web.Application(client_max_size=REQUEST_BYTES_MAX)
        app.add_routes(
            [
                web.post("/add-checkpoint", self.post_checkpoint),
                web.get("/{origin:[0-9a-f]{64}}/checkpoint", self.get_checkpoint),
                web.get("/healthz", self.get_health),
            ]
        )
        return app

    async def post_checkpoint(self, request: web.Request) -> web.StreamResponse:
        """Cosign, or say by the status why not."""
        body = await request.read()
        try:
            signature = await asyncio.to_thread(self._witness.add_checkpoint, body)
        except Refused as refused:
            _log.info("refused: %s", refused, extra={"status": refused.status})
            if refused.size is not None:
                return web.Response(
                    body=f"{refused.size}\n".encode(),
                    status=409,
                    headers={"Content-Type": SIZE_TYPE},
                )
            return web.Response(text=f"{refused}\n", status=refused.status)
        except StorageFailure as failure:
            _log.exception("nothing was cosigned")
            return web.Response(text=f"{failure}\n", status=503)
        return web.Response(text=signature.line)

    async def get_checkpoint(self, request: web.Request) -> web.StreamResponse:
        """Return the latest cosigned checkpoint of a log."""
        note = self._witness.latest(request.match_info["origin"])
        if note is None:
            raise web.HTTPNotFound
        return web.Response(body=note.encode(), content_type="text/plain", charset="utf-8")

    async def get_health(self, _request: web.Request) -> web.StreamResponse:
        """Tell that the witness serves, and its key."""
        return web.json_response({"status": "ok", "vkey": self._witness.verifier.text})


@contextlib.asynccontextmanager
async def serving(directory: Path) -> AsyncIterator[tuple[str, Witness]]:
    """Serve the witness of a directory as long as the context lasts; yields its URL and what stands behind it.

    Raises:
        NotFound: If its memory is gone.
        StorageFailure: If another process witnesses there, or the memory is damaged.
    """
    config = WitnessConfig.load(directory / CONFIG_NAME)
    seed = read_secret(directory / KEY_NAME)
    with contextlib.closing(Memory(directory / MEMORY_NAME)) as memory:
        witness = Witness(config.name, seed, config.trusted(), memory)
        application = WitnessHttp(witness).application()
        ObserveRoutes(witness.look, directory).add_to(application)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, config.listen_host, config.listen_port).start()
            host, port = runner.addresses[0][:2]
            url = f"http://{host}:{port}"
            announce(directory, "witness", url)
            yield url, witness
        finally:
            await runner.cleanup()


async def _serve(directory: Path) -> None:
    async with serving(directory) as (url, witness):
        ready_line(url=url, vkey=witness.verifier.text)
        await asyncio.Event().wait()


def run(directory: Path) -> int:
    """Run the witness of a directory until it is told to stop; returns the exit code of the process."""
    return serve_until_stopped(lambda: _serve(directory))
