"""The village of the watcher's tests, founded once."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from watch_world import WatchWorld

from meridian.node.chain.rpc import RpcError


@pytest.fixture(scope="session")
def village(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("village") / "template"
    WatchWorld.found(root)
    return root


@pytest.fixture
def world(village: Path, tmp_path: Path) -> Iterator[WatchWorld]:
    made = WatchWorld.copy(village, tmp_path / "village")
    yield made
    made.close()


@pytest.fixture
def endpoint(world: WatchWorld) -> Iterator[str]:
    """The village's chain behind a port, for commands."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            many = body if isinstance(body, list) else [body]
            data = json.dumps([self.answer(one) for one in many]).encode()
            data = data if isinstance(body, list) else data[1:-1]
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        @staticmethod
        def answer(one: dict[str, Any]) -> dict[str, Any]:
            try:
                return {"id": one["id"], "result": world.chain.call(one["method"], *one["params"])}
            except RpcError as error:
                words = {"code": error.code, "message": error.message, "data": error.data}
                return {"id": one["id"], "error": words}

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    replace(world.network, rpc_url=url, measure_url=url).save(world.data)
    yield url
    server.shutdown()
    server.server_close()
