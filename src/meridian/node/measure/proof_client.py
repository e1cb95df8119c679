"""Asks a measure service for proofs; what it answers is checked before it is returned.

Law: an answer is a proof that holds about exactly what was asked, or an error. Whether its root is the committed one, the
service does not decide: compare it with the chain.
"""

import contextlib
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

from meridian import verifier
from meridian.errors import RemoteFault
from meridian.measure.proof_form import MEDIA_TYPE
from meridian.node.measure.connection import ServiceConnection
from meridian.verifier import Malformed, Name, ProofFile

PATIENCE_S: Final = 20.0


class ProofClient:
    """Talks to one measure service; for one thread.

    Args:
        url: ``http://host:port`` or ``https://host``.
    """

    def __init__(self, url: str) -> None:
        self._connection = ServiceConnection(url, patience_s=PATIENCE_S)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def prove(self, epoch: int, node_id: str, job_id: str | None = None) -> ProofFile:
        """Return the proof of a node or of one job of it; the proof of its absence if the epoch does not have it.

        Raises:
            NotFound: If the epoch is not sealed there.
            RemoteFault: If the service cannot be reached, or what it sends does not hold or is about something else.
        """
        named = [node_id] if job_id is None else [node_id, job_id]
        what = "node" if job_id is None else "job"
        path = "/".join(quote(each, safe="") for each in named)
        file = self._get(f"/v1/epochs/{epoch}/proofs/{what}/{path}")
        asked = {"epoch": epoch, "node_id": Name.of(node_id)}
        if file.kind in {"job", "absent_job"}:
            asked["job_id"] = Name.of(job_id or "")
        kinds = {"node", "absent_node"} if job_id is None else {"job", "absent_job", "absent_node"}
        if file.kind not in kinds or any(file.fields[name] != asked[name] for name in asked):
            raise RemoteFault(f"{path}: the service sent a proof of something else")
        return file

    def log_inclusion(self, epoch: int) -> ProofFile:
        """Return the proof that an epoch is in the epoch log; errors as `prove` has them."""
        file = self._get(f"/v1/log/inclusion/{epoch}")
        if file.kind != "log_inclusion" or file.fields["epoch"] != epoch:
            raise RemoteFault(f"epoch {epoch}: the service sent a proof of something else")
        return file

    def log_consistency(self, old_epoch: int, epoch: int) -> ProofFile:
        """Return the proof that the log of an epoch is the beginning of that of a later one; errors as `prove` has them."""
        file = self._get(f"/v1/log/consistency?from={old_epoch}&to={epoch}")
        sizes = file.fields.get("size", 0) - file.fields.get("old_size", 0)
        if file.kind != "log_consistency" or sizes != epoch - old_epoch:
            raise RemoteFault("the service sent a proof of something else")
        return file

    def _get(self, path: str) -> ProofFile:
        data = self._connection.request("GET", path, headers={"Accept": MEDIA_TYPE})
        try:
            file = verifier.decode(data)
        except Malformed as error:
            raise RemoteFault(f"{path}: the answer is no proof: {error}") from error
        steps = verifier.check(file)
        if not verifier.holds(steps):
            raise RemoteFault(f"{path}: the proof does not hold: {steps[-1].name}")
        return file


@contextlib.contextmanager
def proof_client(url: str) -> Iterator[ProofClient]:
    """Open a client for a block."""
    client = ProofClient(url)
    try:
        yield client
    finally:
        client.close()
