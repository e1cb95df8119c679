"""One keep-alive connection to a measure service, over http or https, that tries again where trying again can help.

Law: faults of the network, 429 and 503 are answered by trying again, after what the service asks for or a pause that
doubles, until `patience_s` is over. Every other answer is raised at once, with what it means for who asked.
"""

import contextlib
import http.client
import json
import random
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from meridian.errors import InvalidInput, MeridianError, NotFound, Overloaded, RemoteFault

RESPONSE_BYTES_MAX: Final = 2 << 30
RETRY_AFTER_MAX_S: Final = 60.0
_PAUSE_FIRST_S: Final = 0.05
_PAUSE_LAST_S: Final = 2.0
_HINTS: Final = {
    401: "the token or the signature is not accepted",
    413: "send fewer records in a batch",
    415: "the service does not take this form",
}


class Refused(MeridianError):
    """The service refused for good: wrong token, wrong form, conflict."""

    exit_code = 2

    def __init__(self, status: int, message: str) -> None:
        hint = f" ({_HINTS[status]})" if status in _HINTS else ""
        super().__init__(f"the measure service answered {status}: {message}{hint}")
        self.status = status


class Stopped(MeridianError):
    """We were told to stop while waiting for the service."""


class ServiceConnection:
    """For one thread at a time; `stop` may come from any.

    Args:
        url: ``http://host:port`` or ``https://host``, with a path in front of ``/v1`` if there is one.
        patience_s: How long a request is tried again.
        timeout_s: How long one try may take.
        ca_file: Certificates to trust instead of the system's.

    Raises:
        InvalidInput: If the URL is neither http nor https, or the certificates cannot be read.
    """

    def __init__(
        self,
        url: str,
        *,
        patience_s: float = 60.0,
        timeout_s: float = 60.0,
        ca_file: Path | None = None,
    ) -> None:
        self._name = url.rstrip("/")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise InvalidInput("url", f"{url!r}: {error}") from error
        if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
            raise InvalidInput("url", f"{url!r} is not an http or https URL")
        self._host, self._port, self._path = host, port, parts.path.rstrip("/")
        self._tls = _tls(ca_file) if parts.scheme == "https" else None
        self._patience_s, self._timeout_s = patience_s, timeout_s
        self._connection: http.client.HTTPConnection | None = None
        self._stopping = threading.Event()

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def stop(self) -> None:
        """End the request at work and all to come with `Stopped`, whatever they wait for."""
        self._stopping.set()
        connection = self._connection
        if connection is not None and connection.sock is not None:
            with contextlib.suppress(OSError):  # it is closed already
                connection.sock.shutdown(socket.SHUT_RDWR)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        """Return the body of an answer of success.

        Raises:
            Refused: If the request is not acceptable.
            NotFound: If what it is about does not exist.
            RemoteFault: If the service cannot be reached for as long as our patience lasts.
            Overloaded: If it was busy all the time.
            Stopped: After `stop`.
        """
        deadline = time.monotonic() + self._patience_s
        pause_s = _PAUSE_FIRST_S
        while True:
            if self._stopping.is_set():
                raise Stopped("stopped")
            try:
                return self._once(method, path, body, headers or {})
            except (RemoteFault, Overloaded) as error:
                wait_s = error.retry_after_s if isinstance(error, Overloaded) else pause_s
                if time.monotonic() + wait_s > deadline and not self._stopping.is_set():
                    raise
            # Not all senders at once, who were all refused at once.
            self._stopping.wait(wait_s * random.uniform(0.75, 1.0))  # noqa: S311 - no secret
            pause_s = min(2 * pause_s, _PAUSE_LAST_S)

    def _once(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> bytes:
        try:
            if self._connection is None:
                self._connection = self._open()
            self._connection.request(method, self._path + path, body, headers)
            answer = self._connection.getresponse()
            data = answer.read(RESPONSE_BYTES_MAX)
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise Refused(0, f"{self._name}: its certificate is not trusted: {error}") from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            reason = str(error) or type(error).__name__
            raise RemoteFault(f"measure service at {self._name}: {reason}") from error
        if answer.status in (429, 503):
            raise Overloaded(_retry_after_s(answer), "the measure service is busy")
        if answer.status == http.client.NOT_FOUND:
            raise NotFound(_reason(data))
        if answer.status >= 500:
            raise RemoteFault(f"the measure service answered {answer.status}: {_reason(data)}")
        if answer.status >= 300:
            raise Refused(answer.status, _reason(data))
        return data

    def _open(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=self._timeout_s, context=self._tls
        )


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise InvalidInput("ca_file", f"{ca_file}: {error}") from error


def _retry_after_s(answer: http.client.HTTPResponse) -> float:
    try:
        return min(max(float(answer.headers.get("Retry-After", "1")), 0.0), RETRY_AFTER_MAX_S)
    except ValueError:
        return 1.0


def _reason(data: bytes) -> str:
    try:
        error = json.loads(data)["error"]
        return f"{error['field']}: {error['reason']}"
    except (ValueError, KeyError, TypeError):
        return data[:200].decode(errors="replace")
