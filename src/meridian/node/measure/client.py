"""A client of the measure service, for gateways and for whoever runs a network; synchronous, one thread.

Law: submitting again is always safe, because a batch is known by its bytes; so every fault of the network, 429 and 503
are answered by trying again until `patience_s` is over. Only answers that will not change are raised at once.
"""

import http.client
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from meridian.errors import InvalidInput, MeridianError, NotFound, Overloaded, RemoteFault
from meridian.measure.explain import Rejection
from meridian.measure.receipt import SignedReceipt
from meridian.primitives.cid import cid_text, digest_of

RESPONSE_BYTES_MAX: Final = 2 << 30
_PAUSE_FIRST_S: Final = 0.05
_PAUSE_LAST_S: Final = 2.0
_POLL_S: Final = 0.05


class Refused(MeridianError):
    """The service refused for good: wrong token, wrong form, conflict."""

    exit_code = 2

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the measure service answered {status}: {message}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a batch."""

    batch: bytes
    seed: bytes
    accepted: int
    duplicates: int
    rejected: tuple[Rejection, ...]
    """All that are not accepted, the duplicates among them."""
    receipt: SignedReceipt | None
    """None where nothing was accepted."""


class MeasureClient:
    """Talks to one measure service.

    Args:
        url: ``http://host:port``.
        token: The gateway's bearer token; the administrator's does as well.
        admin_token: For sealing, inputs and the clock.
        patience_s: How long a request is tried again.
        timeout_s: How long one try may take.
    """

    def __init__(
        self,
        url: str,
        token: str,
        admin_token: str = "",
        *,
        patience_s: float = 60.0,
        timeout_s: float = 60.0,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise InvalidInput("url", f"{url!r} is not an http URL")
        self._host, self._port = parts.hostname, parts.port or 80
        self._token, self._admin_token = token, admin_token
        self._patience_s, self._timeout_s = patience_s, timeout_s
        self._connection: http.client.HTTPConnection | None = None

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # -- jobs -------------------------------------------------------------------------------------

    def submit(self, body: bytes, seed: bytes | None = None) -> Answer:
        """Submit an NDJSON batch, and return once it is durable.

        Args:
            body: One record per line.
            seed: 32 bytes that salt the private fields; chosen by the service if left out.

        Raises:
            Refused: If the batch as a whole is not acceptable.
            RemoteFault: If the service cannot be reached for as long as our patience lasts.
            Overloaded: If it was busy all the time.
        """
        headers = {"Content-Type": "application/x-ndjson"}
        if seed is not None:
            headers["Meridian-Batch-Seed"] = seed.hex()
        return _answer(self._json("POST", "/v1/jobs", body, headers, token=self._token))

    def submit_all(
        self, batches: Iterable[bytes], done: Path, seed: bytes | None = None
    ) -> Iterator[Answer]:
        """Submit batches in order, and go on after a crash where it stopped.

        Args:
            batches: The same batches in the same order every time.
            done: A file that keeps the receipts, one line for each batch; batches that have one are not sent again,
                unless their bytes have changed.
            seed: As for `submit`.

        Yields:
            The answers, those of earlier runs included.
        """
        kept = _kept(done)
        with done.open("ab") as file:
            if file.tell() and not done.read_bytes().endswith(b"\n"):
                file.write(b"\n")
            for body in batches:
                name = digest_of(body).hex()
                if name in kept:
                    yield _answer(kept[name])
                    continue
                headers = {"Content-Type": "application/x-ndjson"}
                if seed is not None:
                    headers["Meridian-Batch-Seed"] = seed.hex()
                document = self._json("POST", "/v1/jobs", body, headers, token=self._token)
                file.write(json.dumps({"body": name, "answer": document}).encode() + b"\n")
                file.flush()
                yield _answer(document)

    def receipt(self, batch: bytes) -> Answer:
        """Return the answer that a batch got; raises `NotFound` if the service does not know it."""
        return _answer(self._json("GET", f"/v1/receipts/{batch.hex()}"))

    # -- epochs -----------------------------------------------------------------------------------

    def seal(self, epoch: int) -> dict[str, Any]:
        """Seal an epoch that has ended; again changes nothing. Epochs are sealed in order."""
        return self._json("POST", f"/v1/epochs/{epoch}/seal", b"", token=self._admin_token)

    def put_input(self, epoch: int, name: str, data: bytes) -> bytes:
        """Publish an auxiliary input of an epoch that is not sealed, and return its digest."""
        path = f"/v1/epochs/{epoch}/inputs/{name}"
        headers = {"Content-Type": "application/octet-stream"}
        document = self._json("PUT", path, data, headers, token=self._admin_token)
        return bytes.fromhex(document["digest"])

    def set_clock(self, now_us: int) -> int:
        """Set the replay clock forward, never back; returns where it stands."""
        body = json.dumps({"now_us": now_us}).encode()
        headers = {"Content-Type": "application/json"}
        answer = self._json("POST", "/v1/clock", body, headers, token=self._admin_token)
        return int(answer["now_us"])

    def epochs(self) -> dict[str, Any]:
        """Return where the service stands, and its latest epochs."""
        return self._json("GET", "/v1/epochs")

    def epoch(self, epoch: int) -> dict[str, Any]:
        """Return what is known of an epoch."""
        return self._json("GET", f"/v1/epochs/{epoch}")

    def wait_committed(self, epoch: int, timeout_s: float = 60.0) -> dict[str, Any]:
        """Wait until an epoch is committed, and return its index.

        Raises:
            RemoteFault: If it is not in time; the message says what it waits for.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            index = self.epoch(epoch)
            if index["state"] == "committed":
                return index
            if time.monotonic() >= deadline:
                problem = index.get("problem") or "no problem is known"
                raise RemoteFault(
                    f"epoch {epoch} is still {index['state']} after {timeout_s:g} s: {problem}"
                )
            time.sleep(_POLL_S)

    def artefact(self, digest: bytes) -> bytes:
        """Return an artefact's bytes, checked.

        Raises:
            NotFound: If the service does not have it.
            RemoteFault: If what it sends is something else.
        """
        data = self._request("GET", f"/v1/artefacts/{cid_text(digest)}")
        if digest_of(data) != digest:
            raise RemoteFault(f"artefact {digest.hex()}: the service sent other bytes")
        return data

    # -- inside -----------------------------------------------------------------------------------

    def _json(self, method: str, path: str, *args: Any, **more: Any) -> dict[str, Any]:
        data = self._request(method, path, *args, **more)
        try:
            return msgspec.json.decode(data, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise RemoteFault(f"{path}: the answer is not JSON: {error}") from error

    def _request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        *,
        token: str = "",
    ) -> bytes:
        sent = dict(headers or {})
        if token:
            sent["Authorization"] = f"Bearer {token}"
        deadline = time.monotonic() + self._patience_s
        pause_s = _PAUSE_FIRST_S
        while True:
            try:
                return self._once(method, path, body, sent)
            except (RemoteFault, Overloaded) as error:
                wait_s = error.retry_after_s if isinstance(error, Overloaded) else pause_s
                if time.monotonic() + wait_s > deadline:
                    raise
                time.sleep(wait_s)
                pause_s = min(2 * pause_s, _PAUSE_LAST_S)

    def _once(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> bytes:
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(
                    self._host, self._port, timeout=self._timeout_s
                )
            self._connection.request(method, path, body, headers)
            answer = self._connection.getresponse()
            data = answer.read(RESPONSE_BYTES_MAX)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise RemoteFault(
                f"measure service at {self._host}:{self._port}: {str(error) or type(error).__name__}"
            ) from error
        if answer.status in (429, 503):
            raise Overloaded(_retry_after(answer), "the measure service is busy")
        if answer.status == 404:
            raise NotFound(_reason(data))
        if answer.status >= 500:
            raise RemoteFault(f"the measure service answered {answer.status}")
        if answer.status >= 300:
            raise Refused(answer.status, _reason(data))
        return data


def _retry_after(answer: http.client.HTTPResponse) -> float:
    try:
        return min(float(answer.headers.get("Retry-After", "1")), 60.0)
    except ValueError:
        return 1.0


def _reason(data: bytes) -> str:
    try:
        error = json.loads(data)["error"]
        return f"{error['field']}: {error['reason']}"
    except (ValueError, KeyError, TypeError):
        return data[:200].decode(errors="replace")


def _answer(document: dict[str, Any]) -> Answer:
    try:
        receipt = document["receipt"]
        return Answer(
            batch=bytes.fromhex(document["batch"]),
            seed=bytes.fromhex(document["seed"]),
            accepted=document["accepted"],
            duplicates=document["duplicates"],
            rejected=tuple(Rejection(**entry) for entry in document["rejected"]),
            receipt=None if receipt is None else SignedReceipt.read(receipt),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RemoteFault(f"the answer to a batch lacks or misuses {error}") from error


def _kept(done: Path) -> dict[str, dict[str, Any]]:
    """Return the answers of earlier runs by the digest of their body; a torn last line is left out."""
    if not done.exists():
        return {}
    kept = {}
    for line in done.read_bytes().splitlines():
        try:
            entry = json.loads(line)
            kept[entry["body"]] = entry["answer"]
        except (ValueError, KeyError, TypeError):
            continue
    return kept
