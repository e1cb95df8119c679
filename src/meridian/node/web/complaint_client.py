"""Files a complaint with an explorer over HTTP."""

import http.client
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from meridian.errors import InvalidInput, Overloaded, RemoteFault
from meridian.node.web.complaint_request import ComplaintRequest

TIMEOUT_S: Final = 20.0
ANSWER_BYTES_MAX: Final = 64 << 10
PATH: Final = "api/complaints"
_TOO_MANY: Final = 429
_RETRY_S: Final = 10.0


def file_complaint(url: str, request: ComplaintRequest) -> dict[str, Any]:
    """Send a complaint; returns it as the explorer keeps it.

    Raises:
        InvalidInput: If the explorer refuses it; the field is named.
        Overloaded: If it asks to come back later.
        RemoteFault: If it does not answer, or not in its own way.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InvalidInput("--url", f"{url!r} is not an http or https URL")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=TIMEOUT_S)
    try:
        path = f"{parts.path.rstrip('/')}/{PATH}"
        connection.request("POST", path, request.encode(), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        body, status = answer.read(ANSWER_BYTES_MAX), answer.status
    except (OSError, http.client.HTTPException) as error:
        raise RemoteFault(f"the explorer at {url} does not answer: {error}") from error
    finally:
        connection.close()
    try:
        value = msgspec.json.decode(body)
        if status in {200, 201}:
            return dict(value["complaint"])
        field, reason = str(value["error"]["field"]), str(value["error"]["reason"])
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise RemoteFault(f"the explorer at {url} answers {status} and no complaint") from error
    if status == _TOO_MANY:
        raise Overloaded(_RETRY_S, reason)
    if status >= 500:
        raise RemoteFault(f"the explorer at {url} answers {status}: {reason}")
    raise InvalidInput(field, reason)
