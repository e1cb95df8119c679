"""Where commitments are made for good: the contract `Commitments`, or a file for networks that run without a chain.

Law: committing an epoch again changes nothing and returns the same result; an epoch that was already committed to
something else is an error that no repetition can cure.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from meridian.errors import InvalidInput, MeridianError, RemoteFault, StorageFailure
from meridian.measure.epoch_log import EpochRecord
from meridian.measure.manifest import SelfCommittedRef
from meridian.node.chain.contract import Contract
from meridian.node.chain.sender import Sender
from meridian.node.durable_file import sync_directory
from meridian.primitives.ids import NodeKey, address_text


class Conflict(MeridianError):
    """Another commitment of ours stands for this epoch: the disk was lost, or two services share one key."""


@dataclass(frozen=True, slots=True)
class Committed:
    """How an epoch was committed."""

    tx_hash: str
    """Hex; of the file's line for `FileLedger`."""
    block: int
    gas_used: int

    def document(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


class Ledger(Protocol):
    """Where epochs are committed, in order, each once."""

    def commit(self, record: EpochRecord, tree_hash: bytes) -> Committed:
        """Commit an epoch, or find it committed; raises `MeridianError` if that is not possible now.

        Args:
            record: What is committed.
            tree_hash: The hash of the node tree's root node, from which the chain makes the root.
        """

    def self_committed(self, epoch: int) -> tuple[SelfCommittedRef, ...]:
        """Return the nodes that committed themselves to an epoch, sorted by key; raises `RemoteFault` while more may."""


class ChainLedger:
    """The contract `Commitments`.

    Args:
        sender: Pays for commitments.
        commitments: The contract.
        from_block: Where it begins.
        now_s: The clock, seconds since the Unix epoch.
    """

    def __init__(
        self,
        sender: Sender,
        commitments: Contract,
        from_block: int = 0,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._sender = sender
        self._contract = commitments
        self._from_block = from_block
        self._now_s = now_s
        self._sealing_s: int | None = None

    def self_committed(self, epoch: int) -> tuple[SelfCommittedRef, ...]:
        """Wait for the cut-off, and return the nodes that had committed themselves by then.

        A chain without transactions may have no newer block; our clock stands in for it, half of the rest of the sealing
        time later.
        """
        if self._sealing_s is None:
            self._sealing_s = int(self._contract.read("sealing_seconds"))
        if not self._sealing_s:
            return ()
        end_s = int(self._contract.read("ready_at", epoch)) - self._sealing_s
        cut_off_s = end_s + self._sealing_s * 2 // 3
        head_s = int(
            self._contract.rpc.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16
        )
        if head_s < cut_off_s and self._now_s() < cut_off_s + self._sealing_s // 6:
            raise RemoteFault(f"nodes may commit themselves until {cut_off_s}")
        events = self._contract.events("SelfCommitted", self._from_block, where={"epoch": epoch})
        found = [
            SelfCommittedRef(
                NodeKey(bytes(event.args["node_key"])),
                bytes(event.args["tree_hash"]) + bytes(event.args["annotation"]),
                bytes(event.args["segment"]),
            )
            for event in events
        ]
        return tuple(sorted(found, key=lambda ref: ref.node_key))

    def commit(self, record: EpochRecord, tree_hash: bytes) -> Committed:
        """Send the commitment once, whatever crashed before."""
        if self._contract.read("next_epoch", self._sender.address) > record.epoch:
            return self._found(record)
        data = self._contract.encode(
            "commit",
            record.epoch,
            tree_hash,
            record.n_nodes,
            record.annotation,
            record.manifest,
        )
        receipt = self._sender.transact(
            self._contract.address, data, purpose=f"commit/{record.epoch}"
        )
        return self._confirmed(
            record, Committed(receipt.tx_hash.hex(), receipt.block, receipt.gas_used)
        )

    def _found(self, record: EpochRecord) -> Committed:
        where = {"epoch": record.epoch, "aggregator": self._sender.address}
        for event in self._contract.events("Committed", self._from_block, where=where):
            stated = (bytes(event.args["root"]), bytes(event.args["manifest"]))
            if stated != (record.root, record.manifest):
                raise Conflict(f"epoch {record.epoch} is committed to another root on chain")
            receipt = self._contract.rpc.call(
                "eth_getTransactionReceipt", "0x" + event.tx_hash.hex()
            )
            return Committed(event.tx_hash.hex(), event.block, int(receipt["gasUsed"], 16))
        raise Conflict(f"epoch {record.epoch} is committed, but its event is not on this chain")

    def _confirmed(self, record: EpochRecord, committed: Committed) -> Committed:
        """Check that the transaction of this purpose said what we say now: a journal outlives a lost disk."""
        found = self._found(record)
        if found.tx_hash != committed.tx_hash:
            raise Conflict(f"epoch {record.epoch} was committed by another transaction")
        return committed


class FileLedger:
    """A file with one JSON line for each commitment, appended and synced."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def self_committed(self, epoch: int) -> tuple[SelfCommittedRef, ...]:  # noqa: ARG002
        """Return nothing: a node has nowhere to commit itself."""
        return ()

    def commit(self, record: EpochRecord, tree_hash: bytes) -> Committed:  # noqa: ARG002
        """Append the commitment if it is not there."""
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        for number, line in enumerate(lines, start=1):
            entry = _parsed(line)
            if entry is not None and entry["epoch"] == record.epoch:
                if entry["record"] != record.encode().hex():
                    raise Conflict(f"epoch {record.epoch} is committed to another root")
                return Committed(record.manifest.hex(), number, 0)
        entry = {
            "epoch": record.epoch,
            "aggregator": address_text(record.aggregator),
            "record": record.encode().hex(),
        }
        self._append(json.dumps(entry))
        return Committed(record.manifest.hex(), len(lines) + 1, 0)

    def _append(self, line: str) -> None:
        try:
            with self._path.open("a+b") as file:
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    torn = file.read(1) != b"\n"
                    if torn:  # a crash cut the last line: close it, it will not parse
                        line = "\n" + line
                file.write(line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            sync_directory(self._path.parent)
        except OSError as error:
            raise StorageFailure(f"{self._path}: {error.strerror or error}") from error


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if not isinstance(entry, dict) or "epoch" not in entry:
        raise InvalidInput("ledger", f"{line[:64]!r} is not a commitment")
    return entry
