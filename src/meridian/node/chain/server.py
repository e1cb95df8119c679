"""HTTP on loopback in front of the chain.

The law: every size is bounded before anything is read into memory, and requests beyond what can be worked on are
refused at once (503) instead of queued without end. EVM work runs on a few threads with deep stacks; the event loop
only moves bytes.
"""

import asyncio
import json
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from aiohttp import web
from prometheus_client.core import GaugeMetricFamily

from meridian.errors import StorageFailure
from meridian.node.chain import jsonrpc
from meridian.node.chain.ledger import Ledger
from meridian.node.chain.methods import Methods
from meridian.node.chain.miner import STACK_BYTES, Miner
from meridian.node.observe.observation import Observation, announce
from meridian.node.observe.routes import ObserveRoutes

BODY_BYTES_MAX: Final = 16 * 1024 * 1024
REQUESTS_MAX: Final = 256
WORKERS: Final = 4

_RETRY_AFTER_S: Final = 1


class Server:
    """One chain behind one port, until it is told to stop or its storage fails."""

    def __init__(
        self, ledger: Ledger, directory: Path, *, port: int, gather_s: float, announced: bool
    ) -> None:
        self._ledger, self._directory, self._announced = ledger, directory, announced
        self._methods = Methods(ledger)
        self._port = port
        self._open = 0
        self._failure: BaseException | None = None
        self._stopped = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._miner = Miner(ledger, gather_s=gather_s, on_failure=self._fail_from_thread)
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="evm")

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT.

        Raises:
            StorageFailure: If the chain's file failed; nothing is acknowledged after that.
        """
        application = web.Application(client_max_size=BODY_BYTES_MAX)
        application.router.add_post("/", self._handle)
        application.router.add_get("/healthz", self._health)
        ObserveRoutes(self._look, self._directory).add_to(application)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=2.0)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stopped.set)
        await runner.setup()
        self._miner.start()
        try:
            site = web.TCPSite(runner, "127.0.0.1", self._port)
            await site.start()
            port = runner.addresses[0][1]
            url = f"http://127.0.0.1:{port}"
            if self._announced:
                announce(self._directory, "chain", url)
            _print_event({"event": "ready", "url": url})
            await self._stopped.wait()
        finally:
            await runner.cleanup()
            await asyncio.to_thread(self._miner.stop)
            self._workers.shutdown()
        if self._failure is not None:
            raise self._failure

    def _look(self) -> Observation:
        head = self._ledger.head
        return Observation(
            ready=self._failure is None and self._open < REQUESTS_MAX,
            failed=None if self._failure is None else str(self._failure),
            detail={"block": int(head.block_number), "time_s": int(head.timestamp)},
            metrics=[
                GaugeMetricFamily(
                    "meridian_chain_block",
                    "Height of the embedded chain",
                    value=int(head.block_number),
                ),
                GaugeMetricFamily(
                    "meridian_chain_waiting_transactions",
                    "Transactions that wait for a block",
                    value=self._ledger.pool_size,
                ),
                GaugeMetricFamily(
                    "meridian_chain_open_requests", "Requests at work", value=self._open
                ),
            ],
        )

    async def _health(self, _request: web.Request) -> web.Response:
        seen = self._look()
        return web.json_response(seen.health(), status=200 if seen.failed is None else 503)

    async def _handle(self, request: web.Request) -> web.Response:
        if request.content_type != "application/json":
            # Also keeps web pages out: a browser asks before it sends this type across origins, and nobody answers.
            return web.Response(status=415, text="Content-Type must be application/json\n")
        if self._open >= REQUESTS_MAX:
            return web.Response(status=503, headers={"Retry-After": str(_RETRY_AFTER_S)})
        self._open += 1
        try:
            body = await request.read()
            result = await self._loop.run_in_executor(
                self._workers, jsonrpc.answer, self._methods, body
            )
        except StorageFailure as failure:
            self._fail(failure)
            return web.Response(status=500)
        finally:
            self._open -= 1
        if result is None:
            return web.Response(status=204)
        return web.Response(body=result, content_type="application/json")

    def _fail_from_thread(self, failure: BaseException) -> None:
        self._loop.call_soon_threadsafe(self._fail, failure)

    def _fail(self, failure: BaseException) -> None:
        self._failure = self._failure or failure
        self._stopped.set()


def serve(
    ledger: Ledger, directory: Path, *, port: int, gather_s: float, announced: bool = True
) -> None:
    """Run a server for `ledger` on a loopback port (0 = any) until a signal ends it.

    It announces itself on standard output, and, if `announced`, in `directory`, where the ledger's file is.
    """
    # Threads get their stack size when they start; the EVM's deepest calls need more than the usual 8 MiB.
    threading.stack_size(STACK_BYTES)

    async def main() -> None:
        await Server(ledger, directory, port=port, gather_s=gather_s, announced=announced).run()

    asyncio.run(main())
    _print_event({"event": "stopped"})


def _print_event(event: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()
