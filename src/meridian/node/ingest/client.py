"""The other end of the measure service's HTTP: for gateways, administrators and our own runs.

Every call may be repeated safely, so a lost connection, 429 and 503 are tried again until the patience ends.
"""

import contextlib
import http.client
import time
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlsplit

import msgspec

from meridian.errors import InvalidInput, NotFound, RemoteFault

NDJSON: Final = "application/x-ndjson"
RESPONSE_BYTES_MAX: Final = 256 << 20

_PAUSE_FIRST_S: Final = 0.05
_PAUSE_LAST_S: Final = 2.0


class Rejected(msgspec.Struct, frozen=True):
    """Why one record of a batch was not accepted."""

    index: int
    """Position in the batch, from 0."""
    line: int | None
    """For NDJSON, from 1."""
    job_id: str | None
    field: str
    reason: str
    message: str


class Answer(msgspec.Struct, frozen=True):
    """What became of a batch."""

    batch: str
    """Its name: 64 hex digits."""
    accepted: int
    duplicates: int
    """Those that were accepted before; they stand among the rejected with the reason ``duplicate``."""
    rejected: list[Rejected]
    receipt: dict[str, Any]
    """The signed receipt (`meridian.measure.receipt.SignedReceipt.read`); empty if nothing was accepted."""


class _AnswerBody(msgspec.Struct):
    batch: str
    accepted: int
    duplicates: int
    rejected: list[Rejected]
    receipt: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class _Response:
    status: int
    body: bytes
    retry_after_s: float


class MeasureClient:
    """A client on one kept-alive connection; one instance for each thread.

    Args:
        url: Where the service listens.
        gateway_token: Needed by `submit`.
        admin_token: Needed by `put_input`, `set_clock` and `seal`.
        patience_s: How long a call is repeated before it fails.
        timeout_s: Limit for connecting and for each read; a seal of a large epoch takes a while.
    """

    def __init__(
        self,
        url: str,
        gateway_token: str = "",
        admin_token: str = "",
        *,
        patience_s: float = 60.0,
        timeout_s: float = 600.0,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise InvalidInput("measure_url", f"{url!r} is not an http URL")
        self._host, self._port = parts.hostname, parts.port or 80
        self._gateway_token, self._admin_token = gateway_token, admin_token
        self._patience_s, self._timeout_s = patience_s, timeout_s
        self._connection: http.client.HTTPConnection | None = None

    def submit(self, batch: bytes, seed: bytes | None = None) -> Answer:
        """Submit an NDJSON batch; returns after its jobs are durable.

        Args:
            batch: One record per line, 1..100,000 of them.
            seed: 32 bytes that hide the private fields; SHA-256 of the batch if None.

        Raises:
            InvalidInput: If the batch as a whole is refused.
            RemoteFault: If the service cannot be reached, or refuses the token.
        """
        headers = {"Content-Type": NDJSON}
        if seed is not None:
            headers["Meridian-Batch-Seed"] = seed.hex()
        body = self._call("POST", "/v1/jobs", batch, self._gateway_token, headers)
        try:
            found = msgspec.json.decode(body, type=_AnswerBody)
        except msgspec.DecodeError as error:
            raise RemoteFault(f"{self._where}: not the answer to a batch: {error}") from error
        return Answer(
            found.batch, found.accepted, found.duplicates, found.rejected, found.receipt or {}
        )

    def put_input(self, epoch: int, name: str, data: bytes) -> None:
        """Give an auxiliary input of an epoch; the same again changes nothing.

        Raises:
            InvalidInput: If the epoch is sealed with another one, or the name cannot be one.
        """
        path = f"/v1/epochs/{epoch}/inputs/{quote(name, safe='')}"
        headers = {"Content-Type": "application/octet-stream"}
        self._call("PUT", path, data, self._admin_token, headers)

    def set_clock(self, now_us: int) -> int:
        """Move a replayed clock forward and return its time; it never goes back."""
        body = msgspec.json.encode({"now_us": now_us})
        return int(self._json("POST", "/v1/clock", body, self._admin_token)["now_us"])

    def seal(self, epoch: int) -> dict[str, Any]:
        """Seal an epoch, or find it sealed, and return its state.

        Raises:
            InvalidInput: If it is not over, or an earlier one is not sealed.
        """
        return self._json("POST", f"/v1/epochs/{epoch}/seal", b"", self._admin_token)

    def epoch(self, epoch: int) -> dict[str, Any]:
        """Return what is known about an epoch; ``state`` is open, sealed or committed.

        Raises:
            NotFound: If the network has no such epoch.
        """
        return self._json("GET", f"/v1/epochs/{epoch}", None, "")

    def receipt(self, batch: str) -> dict[str, Any]:
        """Return the receipt of a batch, empty if nothing of it was accepted.

        Raises:
            NotFound: If the batch is unknown or older than the retention.
        """
        return self._json("GET", f"/v1/receipts/{batch}", None, "")["receipt"] or {}

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # -- inside -----------------------------------------------------------------------------------

    @property
    def _where(self) -> str:
        return f"measure service at {self._host}:{self._port}"

    def _json(self, method: str, path: str, body: bytes | None, token: str) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        answer = self._call(method, path, body, token, headers)
        try:
            return msgspec.json.decode(answer, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise RemoteFault(f"{self._where}: the answer is not JSON: {error}") from error

    def _call(
        self, method: str, path: str, body: bytes | None, token: str, headers: dict[str, str]
    ) -> bytes:
        if token:
            headers = headers | {"Authorization": f"Bearer {token}"}
        deadline_s = time.monotonic() + self._patience_s
        pause_s = _PAUSE_FIRST_S
        while True:
            try:
                response = self._exchange(method, path, body, headers)
                if response.status not in {429, 503}:
                    return self._body(response)
                problem = f"answered {response.status}: {_message(response.body)}"
                wait_s = max(pause_s, response.retry_after_s)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                problem, wait_s = str(error) or type(error).__name__, pause_s
            if time.monotonic() + wait_s > deadline_s:
                raise RemoteFault(f"{self._where}: {problem}")
            time.sleep(wait_s)
            pause_s = min(2 * pause_s, _PAUSE_LAST_S)

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> _Response:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(
                self._host, self._port, timeout=self._timeout_s
            )
        try:
            self._connection.request(method, path, body, headers)
        except (BrokenPipeError, ConnectionResetError):
            # A body that is refused while it is sent: the answer may have come all the same.
            if self._connection.sock is None:
                raise
        response = self._connection.getresponse()
        data = response.read(RESPONSE_BYTES_MAX + 1)
        if len(data) > RESPONSE_BYTES_MAX:
            raise http.client.HTTPException(f"an answer of more than {RESPONSE_BYTES_MAX} bytes")
        retry_after_s = 0.0
        with contextlib.suppress(ValueError):
            retry_after_s = float(response.headers.get("Retry-After", "0"))
        return _Response(response.status, data, retry_after_s)

    def _body(self, response: _Response) -> bytes:
        if response.status == http.client.OK:
            return response.body
        message = _message(response.body)
        if response.status == http.client.NOT_FOUND:
            raise NotFound(message)
        if response.status in {400, 409, 413, 415}:
            raise InvalidInput("measure", f"{response.status}: {message}")
        raise RemoteFault(f"{self._where} answered {response.status}: {message}")


def _message(body: bytes) -> str:
    try:
        error = msgspec.json.decode(body, type=dict[str, Any])["error"]
        return f"{error['field']}: {error['message']}"
    except (msgspec.DecodeError, KeyError, TypeError):
        return body[:200].decode(errors="replace")
