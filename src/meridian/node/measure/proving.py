"""Where the measure service gets proofs from: the sealed store, or the published segments where that does not stand.

Law: no proof leaves here that does not lead to the published root: each is checked before it is given. What a damaged
store gives is refused by that check, and the segments answer.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from meridian import verifier
from meridian.errors import InvalidInput, NotFound, Overloaded, StorageFailure
from meridian.measure.commitment import load_node_jobs, load_nodes
from meridian.measure.epoch_log import Checkpoint
from meridian.measure.manifest import Manifest
from meridian.measure.proof import (
    NodeProof,
    Proof,
    ProofMaker,
    Rows,
    Subject,
    proof_file,
    prove,
)
from meridian.measure.schema import NetworkSchema
from meridian.measure.signed_note import NOTE_BYTES_MAX, Note
from meridian.measure.tiles import TILE_WIDTH, Tile, TileReader, bundles_of, decode_bundle
from meridian.node.durable_file import read_whole
from meridian.node.measure.publication import Publication
from meridian.node.measure.sealed_epoch import SealedStore
from meridian.primitives.cid import parse_cid
from meridian.verifier import Name, ProofFile

SLOW_WAIT_S: Final = 30.0
"""How long a proof from segments waits for the one before it."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProvenRows:
    """A node's proof, and the rows of its jobs that lead to it; none where the node is absent."""

    file: ProofFile
    count: int
    read: Callable[[int, int], bytes]
    """Bytes of so many rows from the given one on."""


class Proving:
    """Makes proof files about published epochs and their log; threads may share it.

    Args:
        network: The network's name.
        schema: Its schema.
        first_epoch: The epoch of entry 0 of the log.
        publication: What we published; read only.
        store: The sealed store.
    """

    def __init__(
        self,
        network: str,
        schema: NetworkSchema,
        first_epoch: int,
        publication: Publication,
        store: SealedStore,
    ) -> None:
        self._network, self._schema, self._first_epoch = network, schema, first_epoch
        self._publication, self._store = publication, store
        self._slow = threading.Lock()

    def forget_before(self, epoch: int) -> list[int]:
        """Delete what is kept for quick proofs about epochs before `epoch`; segments answer for them from now on.

        Raises:
            StorageFailure: If the disk refuses.
        """
        return self._store.remove_before(epoch)

    def prove(self, epoch: int, node: Name, job: Name | None = None) -> ProofFile:
        """Return the proof of a node or of one job of it; the proof of its absence if the epoch does not have it.

        Raises:
            NotFound: If the epoch is not sealed.
            StorageFailure: If neither the store nor the segments give the epoch.
            Overloaded: If too many proofs from segments are waiting.
        """
        return self._proven(epoch, node, job)[0]

    def rows(self, epoch: int, node: Name) -> ProvenRows:
        """Return a node's proof with the rows of all its jobs; the proof of its absence without any.

        Raises: As `prove`.
        """
        file, jobs = self._proven(epoch, node, None)
        if file.kind != NodeProof.kind:
            return ProvenRows(file, 0, lambda _first, _count: b"")
        own = jobs(file.fields["node"].index)
        return ProvenRows(file, own.size, own.rows)

    def _proven(
        self, epoch: int, node: Name, job: Name | None
    ) -> tuple[ProofFile, Callable[[int], Rows]]:
        index = self._index(epoch)
        root, job_key = bytes.fromhex(index["root"]), None if job is None else job.key
        try:
            sealed = self._store.epoch(epoch, root)
            proof = prove(sealed.nodes, sealed.jobs, node.key, job_key)
            return self._checked(epoch, root, node, job, proof), sealed.jobs
        except NotFound:
            pass
        except (StorageFailure, InvalidInput) as error:
            _log.error(
                "the sealed store of epoch %d is damaged: %s", epoch, error, extra={"epoch": epoch}
            )
            self._store.forget(epoch)
        if not self._slow.acquire(timeout=SLOW_WAIT_S):
            raise Overloaded(SLOW_WAIT_S)
        try:
            maker = self._maker(index)
            proof = maker.prove(node, job)
            return self._checked(epoch, root, node, job, proof), maker.jobs
        except InvalidInput as error:
            raise StorageFailure(f"epoch {epoch}: {error}") from error
        finally:
            self._slow.release()

    def _index(self, epoch: int) -> dict[str, Any]:
        index = self._publication.read_index(epoch)
        if index is None:
            raise NotFound(f"epoch {epoch} is not sealed")
        return index

    def _maker(self, index: dict[str, Any]) -> ProofMaker:
        """Return what makes proofs from the segments of an epoch, reading those of the node that is asked about."""
        fetch = self._publication.get
        manifest = Manifest.decode(fetch(parse_cid(index["manifest"])[1]))
        schema = NetworkSchema.decode(fetch(manifest.schema))
        nodes = load_nodes(manifest, fetch)
        return ProofMaker(
            schema, nodes, lambda place: load_node_jobs(manifest, schema, fetch, nodes, place)
        )

    def _checked(
        self, epoch: int, root: bytes, node: Name, job: Name | None, proof: Proof
    ) -> ProofFile:
        lanes = self._schema.lanes.kind
        file = proof_file(self._network, Subject(epoch, root, lanes, node, job), proof)
        steps = verifier.check(file)
        if not verifier.holds(steps):
            last = steps[-1]
            raise StorageFailure(f"epoch {epoch}: {last.name}: {last.rule}: {last.value}")
        return file

    # -- the epoch log ------------------------------------------------------------------------------

    def log_inclusion(self, epoch: int, size: int | None = None) -> ProofFile:
        """Return the proof that an epoch's entry is in the log, as it is signed now or had `size` entries.

        Raises:
            NotFound: If the epoch is not in that log.
            StorageFailure: If the published log cannot be read or does not lead to its root.
        """
        reader, index = self._log(), epoch - self._first_epoch
        size = reader.size if size is None else size
        if not 0 <= index < size <= reader.size:
            raise NotFound(f"epoch {epoch} is not in a signed log of {size} entries")
        bundle = list(bundles_of(reader.size))[index // TILE_WIDTH]
        entries = decode_bundle(self._tile(bundle), bundle.width)
        fields = {
            "network": self._network,
            "epoch": epoch,
            "index": index,
            "size": size,
            "entry": entries[index % TILE_WIDTH],
            "path": tuple(reader.inclusion_path(index, size)),
            "log_root": reader.root(size),
        }
        return _checked_log(ProofFile("log_inclusion", fields))

    def log_consistency(self, old_epoch: int, epoch: int) -> ProofFile:
        """Return the proof that the log that ends with an epoch extends the one that ends with an older epoch.

        Raises:
            NotFound: If one of them is not in the signed log, or they stand the other way round.
            StorageFailure: If the published log cannot be read or does not lead to its root.
        """
        reader = self._log()
        old_size, size = (one - self._first_epoch + 1 for one in (old_epoch, epoch))
        if not 0 < old_size <= size <= reader.size:
            raise NotFound(
                f"epochs {old_epoch} and {epoch} are not, in this order, in the signed log"
            )
        fields = {
            "network": self._network,
            "old_size": old_size,
            "size": size,
            "old_root": reader.root(old_size),
            "path": tuple(reader.consistency_path(old_size, size)),
            "log_root": reader.root(size),
        }
        return _checked_log(ProofFile("log_consistency", fields))

    def _log(self) -> TileReader:
        note = Note.parse(read_whole(self._publication.root / "log/checkpoint", NOTE_BYTES_MAX))
        return TileReader(Checkpoint.parse(note.text).size, self._tile)

    def _tile(self, tile: Tile) -> bytes:
        """Return the bytes of a tile or bundle; of the full one where that has taken its place."""
        directory = self._publication.root / "log"
        try:
            return read_whole(directory / tile.path, tile.bytes_max)
        except NotFound:
            data = read_whole(directory / tile.whole.path, tile.whole.bytes_max)
        if tile.level is None:
            entries = decode_bundle(data, TILE_WIDTH)[: tile.width]
            return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)
        return data[: tile.width * verifier.HASH]


def _checked_log(file: ProofFile) -> ProofFile:
    steps = verifier.check(file)
    if not verifier.holds(steps):
        raise StorageFailure(f"the published log: {steps[-1].name}: {steps[-1].value}")
    return file
