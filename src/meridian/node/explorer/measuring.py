"""What a measure service says of the epoch that it takes jobs for: the one thing on the pages that is not on chain yet."""

import http.client
import time
from typing import Annotated, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from meridian.explorer.chain_history import OpenEpoch

TIMEOUT_S: Final = 2.0
SILENT_S: Final = 15.0
"""A service that does not answer is left alone for so long."""
EVERY_S: Final = 2.0
BYTES_MAX: Final = 1 << 20
T = TypeVar("T")
_Number = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]


class _Health(msgspec.Struct):
    open_epoch: _Number


class _Epoch(msgspec.Struct):
    jobs: _Number


class Measuring:
    """Asks a measure service, not too often; used by one thread.

    Args:
        url: The service's; empty: there is none.
    """

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._next_s = 0.0
        self._found: OpenEpoch | None = None

    def open_epoch(self) -> OpenEpoch | None:
        """Return the open epoch and its jobs so far; None while the service does not tell."""
        now_s = time.monotonic()
        if now_s >= self._next_s:
            self._found = self._ask() if self._parts.hostname else None
            self._next_s = now_s + (SILENT_S if self._found is None else EVERY_S)
        return self._found

    def _ask(self) -> OpenEpoch | None:
        secure = self._parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=TIMEOUT_S)
        try:
            epoch = self._get(connection, "/healthz", _Health).open_epoch
            return OpenEpoch(epoch, self._get(connection, f"/v1/epochs/{epoch}", _Epoch).jobs)
        except (OSError, http.client.HTTPException, msgspec.MsgspecError, UnicodeDecodeError):
            return None
        finally:
            connection.close()

    def _get(self, connection: http.client.HTTPConnection, path: str, kind: type[T]) -> T:
        connection.request("GET", self._parts.path.rstrip("/") + path)
        return msgspec.json.decode(connection.getresponse().read(BYTES_MAX), type=kind)
