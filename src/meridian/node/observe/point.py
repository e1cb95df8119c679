"""A small server beside a process: ``/healthz``, ``/readyz``, ``/metrics`` and ``/state``, for those that serve nothing else.

At most `CONNECTIONS_MAX` at a time, each for at most `TIMEOUT_S` in all: whoever asks slowly or often is cut off.
"""

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from meridian.errors import InvalidInput
from meridian.node.observe.observation import CONTENT_TYPE, Observation, announce, exposition

TIMEOUT_S: Final = 5.0
CONNECTIONS_MAX: Final = 16
Look = Callable[[], Observation]


class ObservePoint:
    """Serves what `look` returns, and says where in the process's directory.

    Args:
        process: Its name.
        directory: Its own directory; `observe.json` is written there.
        look: Called for every question, in a thread of this server.
        host: Address to listen on.
        port: Port to listen on; 0: any free one.

    Raises:
        InvalidInput: If nothing can listen there.
    """

    def __init__(self, process: str, directory: Path, look: Look, host: str, port: int) -> None:
        self._directory = directory
        handler = type("Handler", (_Handler,), {"look": staticmethod(look), "directory": directory})
        try:
            self._server = _Server((host, port), handler)
        except OSError as error:
            raise InvalidInput("observe_port", f"{host}:{port}: {error.strerror}") from None
        shown = f"[{host}]" if ":" in host else host
        self.url: Final = f"http://{shown}:{self._server.server_port}"
        announce(directory, process, self.url)
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="observe", daemon=True
        )

    def start(self) -> None:
        """Answer questions from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer none any more; returns when the last one is answered."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # the process ends without waiting for who asks

    def __init__(self, *arguments: Any) -> None:
        self._places = threading.BoundedSemaphore(CONNECTIONS_MAX)
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        # The limit of the handler is one for each read: a client that sends a byte now and then would stay for ever.
        end = threading.Timer(TIMEOUT_S, _cut, (request,))
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._places.release()


def _cut(request: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it has ended meanwhile
        request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    look: Look
    directory: Path
    timeout = TIMEOUT_S

    def do_GET(self) -> None:
        """Answer a question."""
        path = self.path.partition("?")[0]
        if path not in {"/healthz", "/readyz", "/metrics", "/state"}:
            self._answer(HTTPStatus.NOT_FOUND, b"healthz, readyz, metrics and state are here\n", "text/plain")  # fmt: skip
            return
        seen = type(self).look()
        if path == "/metrics":
            self._answer(HTTPStatus.OK, exposition(seen.metrics, self.directory), CONTENT_TYPE)
            return
        well = HTTPStatus.OK if seen.failed is None else HTTPStatus.SERVICE_UNAVAILABLE
        document = seen.health()
        if path == "/readyz":
            document = seen.readiness()
            well = HTTPStatus.OK if document["ready"] else HTTPStatus.SERVICE_UNAVAILABLE
        elif path == "/state":
            document = seen.readiness() | seen.detail
            well = HTTPStatus.OK
        self._answer(well, json.dumps(document).encode(), "application/json")

    def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Questions are not logged."""
