"""The fields of raw measurement records: addresses, dates, and what a retrieval came to.

The original drops a record before any verdict where it cannot be attributed or contradicts itself, and counts it nowhere;
`DROPPED` gives each of the reasons a name, so that a node can be told.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from meridian.errors import InvalidInput
from meridian.evaluate.spark.javascript import instant_ms, text_of
from meridian.primitives.eip712 import keccak
from meridian.primitives.fil_address import parse_account
from meridian.primitives.ids import Address

DROPPED: Final = (
    "INVALID_ADDRESS",
    "INVALID_INDEXER_RESULT",
    "INVALID_STATION",
    "INVALID_TIMES",
    "INVALID_HEAD_STATUS",
)
"""Why a record is dropped, in the order in which the original looks: no address; nothing said of the index; a station
id that is none; a successful retrieval with times missing or out of order; one by HTTP without the status of its HEAD
request, or one by another way with it."""

STATION_ID: Final = re.compile("[0-9a-fA-F]{88}")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DATE: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)
_USUAL_DATE: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
_MILLISECOND: Final = timedelta(milliseconds=1)
_ADDRESS: Final = re.compile("0x[0-9a-fA-F]{40}")
_DELEGATED: Final = re.compile("[ft]410f.*")
_RESULTS: Final = {
    600: "UNKNOWN_FETCH_ERROR",
    801: "HOSTNAME_DNS_ERROR",
    802: "CONNECTION_REFUSED",
    901: "UNSUPPORTED_CID_HASH_ALGO",
    902: "CONTENT_VERIFICATION_FAILED",
    903: "UNEXPECTED_CAR_BLOCK",
    904: "CANNOT_PARSE_CAR_FILE",
}
_FOUND: Final = ("OK", "HTTP_NOT_ADVERTISED")


def checksum_text(address: Address) -> str:
    """Return an address in mixed case, which holds a checksum (EIP-55)."""
    digits = address.hex()
    marks = keccak(digits.encode()).hex()
    return "0x" + "".join(
        digit.upper() if mark > "7" else digit for digit, mark in zip(digits, marks, strict=False)
    )


def participant_address(text: str) -> str:
    """Return a participant's address: ``0x…`` as it is, ``f410f…`` and ``t410f…`` as the account's checksummed text.

    Raises:
        InvalidInput: If it is neither.
    """
    if text.startswith("0x"):
        return text
    if not _DELEGATED.fullmatch(text):
        raise InvalidInput("participant_address", f"{text!r:.60} is neither 0x… nor f410f…")
    return checksum_text(parse_account(text, "participant_address"))


def is_address(text: str) -> bool:
    """Tell whether a text is an address: of one case, or with the right checksum."""
    if not _ADDRESS.fullmatch(text):
        return False
    digits = text[2:]
    mixed = digits not in (digits.lower(), digits.upper())
    return not mixed or text == checksum_text(Address(bytes.fromhex(digits)))


def parsed_instant(value: Any) -> int | None:
    """Return the milliseconds of a date, None where there is none; digits beyond the third are cut off.

    ISO 8601 with four-digit years is read, in UTC where no offset stands, and numbers of milliseconds.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return instant_ms(value) if value else None
    if not isinstance(value, str):
        return None
    if _USUAL_DATE.fullmatch(value):
        try:
            return (datetime.fromisoformat(value) - _EPOCH) // _MILLISECOND
        except ValueError:
            return None
    match = _DATE.fullmatch(value)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    fraction, offset = (match[7] or "")[:3].ljust(3, "0"), match[8] or "Z"
    try:
        local = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    shift = 0
    if offset != "Z":
        digits = offset[1:].replace(":", "").ljust(4, "0")
        shift = (int(digits[:2]) * 60 + int(digits[2:])) * 60_000 * (-1 if offset[0] == "-" else 1)
    return (local - _EPOCH) // _MILLISECOND + int(fraction) - shift


def retrieval_result(
    indexer_result: Any,
    *,
    timeout: bool,
    car_too_large: bool,
    status_code: int | None,
    protocol: str | None,
    ended: bool,
) -> str:
    """Return what a retrieval came to; the first rule that fits decides.

    Args:
        indexer_result: As the record has it; its text becomes part of the result where the index did not help.
        timeout: Whether the station gave up waiting.
        car_too_large: Whether it gave up reading.
        status_code: Of HTTP, or one of the station's own from 600 on.
        protocol: As the record has it, in its own letter case.
        ended: Whether the record has a text for when the retrieval ended.
    """
    if indexer_result not in _FOUND:
        return f"IPNI_{text_of(indexer_result)}"
    if timeout:
        return "TIMEOUT"
    if car_too_large:
        return "CAR_TOO_LARGE"
    if status_code is None or status_code < 200:
        return "UNKNOWN_ERROR"
    if 700 <= status_code < 800:
        return "UNSUPPORTED_MULTIADDR_FORMAT"
    if status_code in _RESULTS:
        return _RESULTS[status_code]
    if status_code >= 300:
        return f"{'HTTP' if protocol == 'http' else 'LASSIE'}_{text_of(status_code)}"
    return "OK" if ended else "UNKNOWN_ERROR"
