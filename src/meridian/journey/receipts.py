"""The receipts that the run's gateway got for its batches: checked when they come, and kept.

A receipt is the aggregator's signed promise. One that does not hold is worth nothing, so it stops the run at once.
"""

import os
from pathlib import Path

import msgspec

from meridian.errors import RemoteFault, StorageFailure
from meridian.node.measure.client import Answer
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address


class ReceiptBook:
    """An append-only file of receipts.

    Args:
        path: The file; made when absent.
        aggregator: Who must have signed.
        domain: That of the Commitments contract.
    """

    def __init__(self, path: Path, aggregator: Address, domain: Domain) -> None:
        self._path, self._aggregator, self._domain = path, aggregator, domain
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._known = {_batch(line) for line in path.read_bytes().splitlines() if line}
        except FileNotFoundError:
            self._known = set()
        except OSError as error:
            raise StorageFailure(f"{path}: {error.strerror}") from error

    def keep(self, answer: Answer) -> None:
        """Check and keep the receipt of a batch, durably; one that is kept already is not kept again.

        Raises:
            RemoteFault: If the receipt is not the aggregator's promise about these contracts.
        """
        signed = answer.receipt
        if signed is None or answer.batch.hex() in self._known:
            return
        if (
            not signed.holds
            or signed.receipt.aggregator != self._aggregator
            or signed.domain != self._domain
        ):
            raise RemoteFault("the measure service gave a receipt that its aggregator did not sign")
        entry = {
            "batch": answer.batch.hex(),
            "seed": answer.seed.hex(),
            "accepted": answer.accepted,
            "receipt": signed.document(),
        }
        try:
            with self._path.open("ab") as file:
                file.write(msgspec.json.encode(entry) + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StorageFailure(f"{self._path}: {error.strerror}") from error
        self._known.add(answer.batch.hex())


def _batch(line: bytes) -> str:
    """Return the batch that a kept line is about; a line torn by a crash is about none."""
    try:
        return str(msgspec.json.decode(line)["batch"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return ""
