"""A client of the measure service, for gateways, for node operators and for whoever runs a network; one thread.

Law: submitting again is always safe, because a batch is known by its seed and its bytes. `connection` tries again where
that can help; only answers that will not change are raised at once. Many batches at a time: `submission`.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from meridian.errors import RemoteFault
from meridian.measure.batch_signature import SEED_HEADER, BatchSignature, batch_name
from meridian.measure.explain import Rejection
from meridian.measure.receipt import SignedReceipt
from meridian.node.measure.connection import Refused, ServiceConnection
from meridian.primitives.cid import cid_text, digest_of
from meridian.primitives.eip712 import Domain
from meridian.primitives.keys import PrivateKey

NDJSON: Final = "application/x-ndjson"
JSON: Final = "application/json"
ARROW: Final = "application/vnd.apache.arrow.stream"
PARQUET: Final = "application/vnd.apache.parquet"
_POLL_S: Final = 0.05

__all__ = ["ARROW", "JSON", "NDJSON", "PARQUET", "Answer", "MeasureClient", "NodeSigner", "Refused"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSigner:
    """Signs batches as a node's registered operator, in the place of a gateway's token."""

    network: bytes
    """The network's id."""
    node_id: str
    domain: Domain
    """That of the contract `Commitments`."""
    key: PrivateKey

    def headers(self, seed: bytes, body: bytes) -> dict[str, str]:
        """Return the headers that sign a batch sent now; `body` is as before compression."""
        signature = BatchSignature.sign(
            network=self.network,
            node_id=self.node_id,
            batch=batch_name(seed, body),
            sent_at_us=time.time_ns() // 1000,
            domain=self.domain,
            key=self.key,
        )
        return signature.headers()


class MeasureClient:
    """Talks to one measure service.

    Args:
        url: ``http://host:port`` or ``https://host``.
        token: The gateway's bearer token; the administrator's does as well. Empty for who signs.
        admin_token: For sealing, inputs and the clock.
        signer: Signs batches in the place of a token.
        patience_s: How long a request is tried again.
        timeout_s: How long one try may take.
        ca_file: Certificates to trust instead of the system's.
    """

    def __init__(
        self,
        url: str,
        token: str,
        admin_token: str = "",
        *,
        signer: NodeSigner | None = None,
        patience_s: float = 60.0,
        timeout_s: float = 60.0,
        ca_file: Path | None = None,
    ) -> None:
        self._connection = ServiceConnection(
            url, patience_s=patience_s, timeout_s=timeout_s, ca_file=ca_file
        )
        self._token, self._admin_token, self._signer = token, admin_token, signer

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        self._connection.close()

    def stop(self) -> None:
        """End what is at work, from another thread; every call raises `connection.Stopped` from now on."""
        self._connection.stop()

    # -- jobs -------------------------------------------------------------------------------------

    def submit(
        self,
        body: bytes,
        seed: bytes | None = None,
        *,
        content_type: str = NDJSON,
        compressed: bytes | None = None,
    ) -> Answer:
        """Submit a batch, and return once it is durable.

        Args:
            body: The records.
            seed: 32 bytes that salt the private fields; chosen by the service if left out, which a signed batch cannot.
            content_type: What the body is.
            compressed: The body as a zstd frame, which is sent in its place.

        Raises:
            Refused: If the batch as a whole is not acceptable.
            RemoteFault: If the service cannot be reached for as long as our patience lasts.
            Overloaded: If it was busy all the time.
        """
        headers = {"Content-Type": content_type}
        if seed is not None:
            headers[SEED_HEADER] = seed.hex()
        if compressed is not None:
            headers["Content-Encoding"] = "zstd"
        if self._signer is not None:
            assert seed is not None, "a signed batch is named by a seed of the sender's own"
            headers |= self._signer.headers(seed, body)
        sent = body if compressed is None else compressed
        return _answer(self._json("POST", "/v1/jobs", sent, headers, token=self._token))

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
        return self._connection.request(method, path, body, sent)


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
