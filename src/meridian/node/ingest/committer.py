"""Brings sealed epochs on chain, in order, each once, however often the process starts.

The sender's journal makes a repeated commitment the same transaction; what the chain already has is compared with the
log, and a difference ends the service: an aggregator that has committed to something else must not go on.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from meridian.errors import MeridianError, RemoteFault, Reverted, StorageFailure
from meridian.measure.epoch_log import EpochRecord
from meridian.node.chain.sender import Sender
from meridian.node.chain_view import ChainView
from meridian.node.ingest.seal import Sealer
from meridian.node.process import event_line
from meridian.primitives.ids import Address

_BACKOFF_FIRST_S: Final = 0.5
_BACKOFF_LAST_S: Final = 15.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OnChain:
    """A commitment that the chain has."""

    root: bytes
    manifest: bytes
    tx_hash: bytes


class CommitmentChain(Protocol):
    """What the committer needs of the contract Commitments."""

    def next_epoch(self) -> int:
        """Return the only epoch that we can commit to next."""

    def committed(self, epoch: int) -> OnChain | None:
        """Return our commitment of an epoch, None if there is none."""

    def commit(self, record: EpochRecord) -> bytes:
        """Commit to an epoch and return the transaction's hash once it is in a block.

        Raises:
            Reverted: If the contract refuses.
            RemoteFault: If the chain cannot be reached, or does not take it in time.
        """


class ContractCommitments:
    """The contract itself."""

    def __init__(self, view: ChainView, sender: Sender, aggregator: Address, from_block: int) -> None:
        self._view, self._sender = view, sender
        self._aggregator, self._from_block = aggregator, from_block

    def next_epoch(self) -> int:
        """Return the only epoch that we can commit to next."""
        return int(self._view.commitments.read("next_epoch", self._aggregator))

    def committed(self, epoch: int) -> OnChain | None:
        """Return our commitment of an epoch, None if there is none."""
        where = {"epoch": epoch, "aggregator": self._aggregator}
        for event in self._view.commitments.events("Committed", self._from_block, where=where):
            return OnChain(bytes(event.args["root"]), bytes(event.args["manifest"]), event.tx_hash)
        return None

    def commit(self, record: EpochRecord) -> bytes:
        """Commit to an epoch; the same epoch again is the same transaction."""
        contract = self._view.commitments
        data = contract.encode(
            "commit", record.epoch, record.root, record.n_nodes, record.annotation, record.manifest
        )
        return self._sender.transact(
            contract.address, data, purpose=f"commit/{record.epoch}"
        ).tx_hash


class Committer:
    """A thread that commits what is sealed.

    Args:
        sealer: Says what is sealed, and is told what is committed.
        chain: Where it goes.
        failed: Called, from the thread, when committing must stop for good.
    """

    def __init__(
        self, sealer: Sealer, chain: CommitmentChain, failed: Callable[[MeridianError], None]
    ) -> None:
        self._sealer, self._chain, self._failed = sealer, chain, failed
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)

    def start(self) -> None:
        """Begin, with whatever was sealed before."""
        self._thread.start()

    def wake(self) -> None:
        """Say that an epoch was sealed."""
        self._wake.set()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Stop after the transaction that is under way, or leave it to the next start."""
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        pause_s = _BACKOFF_FIRST_S
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                self._commit_all()
                pause_s = _BACKOFF_FIRST_S
                self._wake.wait()
            except (RemoteFault, Reverted) as fault:
                _log.warning("commitments wait: %s", fault)
                self._stopping.wait(pause_s)
                pause_s = min(2 * pause_s, _BACKOFF_LAST_S)
            except MeridianError as error:
                self._failed(error)
                return

    def _commit_all(self) -> None:
        while not self._stopping.is_set():
            epoch = self._sealer.next_uncommitted
            if epoch >= self._sealer.next_epoch:
                return
            tx_hash = self._commit(self._sealer.record(epoch))
            self._sealer.committed(epoch, tx_hash)
            _log.info("epoch committed", extra={"epoch": epoch, "tx": tx_hash})
            event_line("committed", epoch=epoch, tx=tx_hash)

    def _commit(self, record: EpochRecord) -> bytes:
        if self._chain.next_epoch() <= record.epoch:
            try:
                return self._chain.commit(record)
            except Reverted:
                if self._chain.next_epoch() <= record.epoch:
                    raise  # too early by the chain's clock, or not our turn yet
        found = self._chain.committed(record.epoch)
        if found is None:
            raise RemoteFault(f"the chain has epoch {record.epoch} but does not show its commitment")
        if (found.root, found.manifest) != (record.root, record.manifest):
            raise StorageFailure(
                f"epoch {record.epoch}: the chain has root {found.root.hex()}, our log {record.root.hex()}"
            )
        return found.tx_hash
