"""The JSON-RPC client, and the two ways in which a chain endpoint can fail.

The law: an endpoint that cannot be reached, or that answers outside JSON-RPC, is `RpcUnavailable` (try again later,
nothing is known about what happened); an endpoint that answers with an error is `RpcError` (it understood and refused).
Whoever sends a transaction must treat the first as "it may have arrived".
"""

import http.client
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import msgspec

from meridian.errors import InvalidInput, RemoteFault

RESPONSE_BYTES_MAX: Final = 256 * 1024 * 1024
"""A longer answer is refused: no call of ours needs more."""

BATCH_CALLS_MAX: Final = 100
"""Longer batches are sent in pieces of this many calls."""

REVERTED_CODE: Final = 3
"""The error code of a call that a contract refused; `RpcError.data` then holds its output as hex."""

TOO_MUCH_CODE: Final = -32005
"""The error code of a query that would answer with too much: ask for less."""


class RpcUnavailable(RemoteFault):
    """The endpoint cannot be reached or does not speak JSON-RPC; whether it acted is unknown."""


class RpcError(RemoteFault):
    """The endpoint answered with an error.

    Args:
        code: The JSON-RPC error code.
        message: The endpoint's text.
        data: Whatever it added (the output of a reverted call, as hex).
    """

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message
        self.data = data


class ChainClient(Protocol):
    """What contracts and senders need of a chain: `Rpc` over HTTP, or the embedded chain in process."""

    def call(self, method: str, *params: Any) -> Any:
        """Return the result of one call; raises `RpcError` or `RpcUnavailable`."""

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Return per call its result, or the `RpcError` it failed with, in order."""


class Rpc:
    """A JSON-RPC client on one kept-alive HTTP connection; calls of several threads take turns on it."""

    def __init__(self, url: str, timeout_s: float = 30.0) -> None:
        """Prepare a client; nothing is connected before the first call.

        Args:
            url: ``http://`` or ``https://`` endpoint.
            timeout_s: Limit for connecting and for each read.

        Raises:
            InvalidInput: If the URL is not of that kind.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise InvalidInput("rpc_url", f"{url!r} is not an http or https URL")
        self.url = url
        self._tls = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._timeout_s = timeout_s
        self._connection: http.client.HTTPConnection | None = None
        self._lock = threading.Lock()
        self._next_id = 1

    def call(self, method: str, *params: Any) -> Any:
        """Return the result of one call.

        Raises:
            RpcError: If the endpoint refuses.
            RpcUnavailable: If it cannot be reached or answers nonsense.
        """
        with self._lock:
            request = self._request(method, params)
            answer = self._exchange(request)
        if not isinstance(answer, dict):
            raise RpcUnavailable(f"{self._where}: the answer is not an object")
        return self._result(answer, request["id"], raising=True)

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Return per call its result or its `RpcError`, in the order of `calls`.

        Raises:
            RpcUnavailable: If a piece of the batch got no complete answer.
        """
        results: list[Any] = []
        for start in range(0, len(calls), BATCH_CALLS_MAX):
            with self._lock:
                requests = [self._request(*call) for call in calls[start : start + BATCH_CALLS_MAX]]
                answer = self._exchange(requests)
            if isinstance(answer, dict):  # a refusal of the whole batch
                self._result(answer, None, raising=True)
            if not isinstance(answer, list) or not all(isinstance(one, dict) for one in answer):
                raise RpcUnavailable(f"{self._where}: the answer to a batch is not a list")
            by_id = {one.get("id"): one for one in answer}
            for request in requests:
                if request["id"] not in by_id:
                    raise RpcUnavailable(f"{self._where}: a call of the batch got no answer")
                results.append(self._result(by_id[request["id"]], request["id"], raising=False))
        return results

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        with self._lock:
            self._drop()

    @property
    def _where(self) -> str:
        # The path and query of a provider's URL often hold an access key: they stay out of messages.
        return (
            f"chain endpoint {self._host}:{self._port}"
            if self._port
            else f"chain endpoint {self._host}"
        )

    def _request(self, method: str, params: Sequence[Any]) -> dict[str, Any]:
        request = {"jsonrpc": "2.0", "id": self._next_id, "method": method, "params": list(params)}
        self._next_id += 1
        return request

    def _result(self, answer: Mapping[str, Any], request_id: int | None, *, raising: bool) -> Any:
        error = answer.get("error")
        if error is not None:
            if not isinstance(error, dict) or not isinstance(error.get("code"), int):
                raise RpcUnavailable(f"{self._where}: malformed error object")
            fault = RpcError(error["code"], str(error.get("message", "")), error.get("data"))
            if raising:
                raise fault
            return fault
        if answer.get("id") != request_id or "result" not in answer:
            raise RpcUnavailable(f"{self._where}: the answer belongs to no question of ours")
        return answer["result"]

    def _exchange(self, payload: Any) -> Any:
        body = msgspec.json.encode(payload)
        fresh = self._connection is None
        try:
            status, answer = self._post(body)
        except (http.client.HTTPException, OSError) as error:
            self._drop()
            # A server may close an idle connection at any time: once, silently, on a new one. This may deliver a call
            # twice, which is harmless: reads change nothing, and a raw transaction is the same transaction.
            if fresh or isinstance(error, TimeoutError):
                raise RpcUnavailable(f"{self._where}: {_text(error)}") from error
            try:
                status, answer = self._post(body)
            except (http.client.HTTPException, OSError) as again:
                self._drop()
                raise RpcUnavailable(f"{self._where}: {_text(again)}") from again
        try:
            decoded = msgspec.json.decode(answer)
        except msgspec.DecodeError as error:
            raise RpcUnavailable(
                f"{self._where}: HTTP {status}, and the body is not JSON"
            ) from error
        return decoded

    def _post(self, body: bytes) -> tuple[int, bytes]:
        if self._connection is None:
            kind = http.client.HTTPSConnection if self._tls else http.client.HTTPConnection
            self._connection = kind(self._host, self._port, timeout=self._timeout_s)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        self._connection.request("POST", self._path, body, headers)
        response = self._connection.getresponse()
        answer = response.read(RESPONSE_BYTES_MAX + 1)
        if len(answer) > RESPONSE_BYTES_MAX:
            self._drop()
            raise RpcUnavailable(
                f"{self._where}: the answer is longer than {RESPONSE_BYTES_MAX} bytes"
            )
        return response.status, answer

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
