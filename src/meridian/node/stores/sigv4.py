"""AWS Signature Version 4 for S3: a request's headers, signed with a secret key; no clock, no network.

The SHA-256 of the body is a signed header, and here it is the object's own digest: a server that checks it, as S3 does,
keeps no other bytes under that name.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html.
"""

import hashlib
import hmac
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Credentials:
    """An account of an S3-compatible service."""

    access_key: str
    secret_key: str
    region: str


def signed_headers(
    credentials: Credentials,
    method: str,
    host: str,
    path: str,
    query: Mapping[str, str],
    body_digest: bytes,
    now_s: float,
) -> dict[str, str]:
    """Return the headers of a signed request.

    Args:
        credentials: Whose signature.
        method: Such as ``PUT``.
        host: With the port, as it stands in the URL.
        path: Of the URL, quoted already.
        query: Names and values, not quoted.
        body_digest: SHA-256 of the body.
        now_s: The time, in seconds since the Unix epoch.
    """
    stamp = datetime.fromtimestamp(now_s, UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {"host": host, "x-amz-content-sha256": body_digest.hex(), "x-amz-date": stamp}
    names = ";".join(sorted(headers))
    canonical = "\n".join(
        [
            method,
            path,
            canonical_query(query),
            *(f"{name}:{headers[name]}" for name in sorted(headers)),
            "",
            names,
            body_digest.hex(),
        ]
    )
    scope = f"{stamp[:8]}/{credentials.region}/s3/aws4_request"
    text = "\n".join([_ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{credentials.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    access = f"{credentials.access_key}/{scope}"
    headers["Authorization"] = (
        f"{_ALGORITHM} Credential={access}, SignedHeaders={names}, Signature={signature}"
    )
    return headers


def canonical_query(query: Mapping[str, str]) -> str:
    """Return a query as it is signed and sent: sorted, all but letters, digits and ``-._~`` quoted."""
    quoted = sorted(
        (urllib.parse.quote(name, safe="-._~"), urllib.parse.quote(value, safe="-._~"))
        for name, value in query.items()
    )
    return "&".join(f"{name}={value}" for name, value in quoted)
