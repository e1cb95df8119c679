"""A chain of this process behind a port, for commands."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from meridian.node.chain.embedded import EmbeddedChain
from meridian.node.chain.rpc import RpcError


@contextmanager
def served(chain: EmbeddedChain) -> Iterator[str]:
    """Serve a chain; yields its URL."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            many = body if isinstance(body, list) else [body]
            with lock:
                data = json.dumps([answer(one) for one in many]).encode()
            data = data if isinstance(body, list) else data[1:-1]
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    def answer(one: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"id": one["id"], "result": chain.call(one["method"], *one["params"])}
        except RpcError as error:
            words = {"code": error.code, "message": error.message, "data": error.data}
            return {"id": one["id"], "error": words}

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
