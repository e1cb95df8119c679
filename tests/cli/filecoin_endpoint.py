"""A JSON-RPC process over the embedded chain that behaves as Filecoin's EVM does where that matters to a client.

No Filecoin node can run here; this stands for one as a process of its own, reached over HTTP, with

- heights without a block: every third height is a null round, for which ``eth_getBlockByNumber`` is error 12, as
  lotus answers; ``eth_call`` at such a height answers for the block before it, as lotus does;
- a gas scale of its own: estimates are `GAS_SCALE` times Ethereum's, and a smaller limit is refused;
- blocks that come by the clock, not by the transaction;
- spans of logs of at most 2,880 heights;
- chain id 314159.
"""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from meridian.node.chain.embedded import EmbeddedChain, read_alloc
from meridian.node.chain.rpc import RpcError
from meridian.node.chain.signing import read_signed

CHAIN_ID = 314_159
GAS_SCALE = 7
SPAN_MAX = 2_880
BLOCK_S = 0.15
FIRST_HEIGHT = 10_000
"""The chain is old: a search from height 0 has to be cut into spans."""


def height_of(block: int) -> int:
    return 0 if block == 0 else FIRST_HEIGHT + block + (block - 1) // 2


def block_at(height: int) -> tuple[int, bool]:
    """(the block at or before a height, whether it is exactly there)"""
    block = 0
    guess = max(0, (height - FIRST_HEIGHT) * 2 // 3 + 2)
    for one in range(guess, -1, -1):
        if height_of(one) <= height:
            block = one
            break
    return block, height_of(block) == height


class Filecoin:
    """The embedded chain seen through Filecoin's rules."""

    def __init__(self, alloc: str) -> None:
        self.chain = EmbeddedChain(None, CHAIN_ID, read_alloc(alloc), automine=False)
        self.lock = threading.Lock()

    def tick(self) -> None:
        with self.lock:
            self.chain.mine(empty=True)

    def head(self) -> int:
        return int(self.chain.call("eth_blockNumber"), 16)

    def call(self, method: str, params: list[Any]) -> Any:
        with self.lock:
            return self._call(method, params)

    def _call(self, method: str, params: list[Any]) -> Any:
        match method:
            case "eth_blockNumber":
                return hex(height_of(self.head()))
            case "eth_getBlockByNumber":
                if params[0].startswith("0x"):
                    height = int(params[0], 16)
                    block, exact = block_at(height)
                    if height > height_of(self.head()):
                        raise RpcError(1, "requested a future epoch (beyond 'latest')")
                    if not exact:
                        raise RpcError(12, f"requested epoch was a null round ({height})")
                    params = [hex(block), *params[1:]]
                return self._out(self.chain.call(method, *params))
            case "eth_getLogs":
                return self._logs(dict(params[0]))
            case "eth_estimateGas":
                return hex(GAS_SCALE * int(self.chain.call(method, *params), 16))
            case "eth_sendRawTransaction":
                return self._send(params[0])
            case "eth_call" | "eth_getBalance" | "eth_getCode" | "eth_getTransactionCount":
                if len(params) > 1 and params[1].startswith("0x"):
                    params = [params[0], hex(block_at(int(params[1], 16))[0])]
        return self._out(self.chain.call(method, *params))

    def _send(self, raw: str) -> str:
        signed = read_signed(bytes.fromhex(raw[2:]))
        if signed.gas < GAS_SCALE * 21_000:
            raise RpcError(1, "message will not be included in a block: 'GasLimit' is too low")
        return str(self.chain.call("eth_sendRawTransaction", raw))

    def _logs(self, query: dict[str, Any]) -> Any:
        head = height_of(self.head())
        first, last = int(query["fromBlock"], 16), int(query["toBlock"], 16)
        if last - first > SPAN_MAX:
            raise RpcError(1, f"invalid block range: range exceeds maximum of {SPAN_MAX}")
        if last > head:
            raise RpcError(1, "toBlock is beyond the head")
        start, exact = block_at(first)
        query["fromBlock"] = hex(start if exact else start + 1)
        query["toBlock"] = hex(block_at(last)[0])
        if int(query["fromBlock"], 16) > int(query["toBlock"], 16):
            return []
        return self._out(self.chain.call("eth_getLogs", query))

    def _out(self, value: Any) -> Any:
        """Block numbers become heights wherever they stand."""
        if isinstance(value, list):
            return [self._out(one) for one in value]
        if not isinstance(value, dict):
            return value
        shown = {name: self._out(one) for name, one in value.items()}
        is_block = "parentHash" in value
        for name in ("blockNumber", *(("number",) if is_block else ()), "oldestBlock"):
            if shown.get(name) is not None:
                shown[name] = hex(height_of(int(shown[name], 16)))
        return shown


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    filecoin: Filecoin

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = [self._one(one) for one in body] if isinstance(body, list) else self._one(body)
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _one(self, request: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
        try:
            answer["result"] = self.filecoin.call(request["method"], request["params"])
        except RpcError as error:
            answer["error"] = {"code": error.code, "message": error.message, "data": error.data}
        return answer

    def log_message(self, *_: Any) -> None:
        pass


def main() -> None:
    Handler.filecoin = Filecoin(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"url": f"http://127.0.0.1:{server.server_address[1]}"}), flush=True)
    while True:
        time.sleep(BLOCK_S)
        Handler.filecoin.tick()


if __name__ == "__main__":
    main()
