"""The embedded chain behind a port, with a clock that a test moves: waiting times cost nothing."""

import json
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from meridian.node.chain.embedded import EmbeddedChain
from meridian.node.chain.rpc import RpcError
from meridian.primitives.ids import Address

COIN = 10**18


class ClockedChain:
    """A chain whose blocks come with each transaction, at the time `now_s`."""

    def __init__(self, now_s: int, funded: Iterable[Address]) -> None:
        self.now_s = now_s
        alloc = dict.fromkeys(funded, 1000 * COIN)
        self.chain = EmbeddedChain(alloc=alloc, clock=lambda: self.now_s)
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    calls = [answer(one) for one in (body if isinstance(body, list) else [body])]
                data = json.dumps(calls if isinstance(body, list) else calls[0]).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        def answer(request: dict[str, Any]) -> dict[str, Any]:
            shown: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
            try:
                shown["result"] = self.chain.call(request["method"], *request["params"])
            except RpcError as error:
                shown["error"] = {"code": error.code, "message": error.message, "data": error.data}
            return shown

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def later(self, seconds: int) -> None:
        """Let time pass, from the newest block on."""
        self.now_s = max(self.now_s, self.chain.timestamp_s) + seconds
        self.chain.mine(empty=True)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.chain.close()
