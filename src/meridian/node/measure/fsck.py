"""Checking a measure service's directory: every root again from the published segments, the job log frame by frame.

A torn tail of the last log file is no damage: it was never promised. Nothing is changed, and a directory that a service
uses is not read. Signatures are not checked: `meridian verify` knows the keys.
"""

import contextlib
import fcntl
import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from meridian.errors import InvalidInput, MeridianError, StorageFailure
from meridian.measure.columns import read_segment
from meridian.measure.epoch_builder import EpochBuilder
from meridian.measure.epoch_log import Checkpoint, EpochRecord, checkpoint_of
from meridian.measure.manifest import Manifest, Nodes
from meridian.measure.row import rebuild_rows
from meridian.measure.schema import NetworkSchema
from meridian.measure.signed_note import NOTE_BYTES_MAX, Note
from meridian.measure.tiles import TiledTree, tiles_of
from meridian.node.durable_file import read_whole
from meridian.node.measure.job_log import frame_bytes, proves_damage, read_frame
from meridian.node.measure.publication import Publication
from meridian.node.measure.published_log import read_log_entries
from meridian.node.measure.sealed_epoch import SealedStore
from meridian.primitives.cid import parse_cid
from meridian.primitives.rfc6962 import leaf_hash


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is wrong."""

    file: str
    reason: str


def check(
    directory: Path, on_progress: Callable[[str], None], epochs: range | None = None
) -> Iterator[Damage]:
    """Yield what is wrong in a data directory, or in a publication alone.

    Args:
        directory: Of a service that is stopped, or a publication.
        on_progress: Told what is being checked.
        epochs: Check these alone, and neither the job log nor the epoch log; None for everything.

    Raises:
        InvalidInput: If it is neither.
        StorageFailure: If a service is running there.
    """
    public = directory / "public" if (directory / "public").is_dir() else directory
    if not all((public / name).is_dir() for name in ("epochs", "objects")):
        raise InvalidInput("directory", f"{directory} holds neither a service nor a publication")
    with _alone(directory / "log" / "lock"):
        if epochs is None:
            yield from _log(directory / "log", on_progress)
        publication = Publication(public)
        for epoch in publication.indexed_epochs():
            if epochs is not None and epoch not in epochs:
                continue
            on_progress(f"epoch {epoch}")
            try:
                yield from _epoch(publication, epoch, directory / "sealed")
            except (MeridianError, KeyError, TypeError, ValueError) as error:
                yield Damage(f"epochs/{epoch:06d}.json", f"{type(error).__name__}: {error}")
        if epochs is None:
            yield from _epoch_log(publication, on_progress)


def leftovers(directory: Path) -> list[Path]:
    """Return what writes that were cut off have left: no damage, and nobody reads it."""
    found = [*directory.rglob(".*.tmp"), *(directory / "sealing").glob("*")]
    return sorted(path for path in found if path.exists())


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold the lock of a service's log, where there is one."""
    if not lock.is_file():
        yield
        return
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageFailure(f"{lock.parent}: a service is running here; stop it") from None
        yield


def _epoch_log(publication: Publication, on_progress: Callable[[str], None]) -> Iterator[Damage]:
    """Check that the published epoch log is one with its checkpoint, and says what was committed."""
    folder = publication.root / "log"
    note = folder / "checkpoint"
    if not note.is_file():
        return
    on_progress("the epoch log")
    try:
        checkpoint = Checkpoint.parse(Note.parse(read_whole(note, NOTE_BYTES_MAX)).text)
        entries = read_log_entries(folder, checkpoint.size)
        if checkpoint_of(checkpoint.origin, entries).root != checkpoint.root:
            yield Damage(str(note), "it is not the state of the log's entries")
    except MeridianError as error:
        yield Damage(str(note), str(error))
        return
    for entry in entries:
        record = EpochRecord.decode(entry)
        index = publication.read_index(record.epoch)
        if index is None or parse_cid(index["manifest"])[1] != record.manifest:
            yield Damage(f"epochs/{record.epoch:06d}.json", "the epoch log names another manifest")
    tree = TiledTree(map(leaf_hash, entries))
    for tile in tiles_of(checkpoint.size):
        path = folder / tile.path
        if not path.is_file() or path.read_bytes() != tree.tile(tile):
            yield Damage(str(path), "it does not hold the hashes of the log's entries")


def _epoch(publication: Publication, epoch: int, sealed: Path) -> Iterator[Damage]:
    index = publication.read_index(epoch)
    assert index is not None, "it is listed"
    digest = parse_cid(index["manifest"])[1]
    manifest = Manifest.decode(publication.get(digest))
    schema = NetworkSchema.decode(publication.get(manifest.schema))
    nodes = Nodes.decode(publication.get(manifest.nodes))
    builder = EpochBuilder(schema, epoch)
    for segment in manifest.segments:
        path = publication.path(segment.digest)
        try:
            table = read_segment(publication.get(segment.digest), schema)
            builder.add(table.column("node_id"), rebuild_rows(schema, table))
        except MeridianError as error:
            yield Damage(str(path), str(error))
            return
    made = builder.finish(dict(zip(nodes.ids, nodes.payees, strict=True)))
    stated = (manifest.root.hex(), manifest.n_nodes, manifest.annotation.hex(), manifest.epoch)
    found = (made.root.hex(), made.n_nodes, made.annotation.hex(), epoch)
    if stated != found:
        yield Damage(str(publication.path(digest)), "its root is not that of its segments")
    if (index["root"], index["n_nodes"], index["annotation"]) != found[:3]:
        yield Damage(f"epochs/{epoch:06d}.json", "its root is not that of the segments")
    store = sealed / f"{epoch:06d}"
    try:
        if store.is_dir():  # it is a cache: where there is none, segments answer
            SealedStore(sealed).epoch(epoch, manifest.root).check()
    except MeridianError as error:
        yield Damage(str(store), str(error))


def _log(directory: Path, on_progress: Callable[[str], None]) -> Iterator[Damage]:
    files = sorted(directory.glob("jobs-*.log"))
    for path in files:
        on_progress(path.name)
        size = path.stat().st_size
        if not size:
            continue
        with path.open("rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
        at = 0
        while at < size and read_frame(data, at, size) is not None:
            at += frame_bytes(bytes(data[at : at + 64])) or size
        if at < size and (path != files[-1] or proves_damage(data, at, size)):
            yield Damage(str(path), f"damaged at byte {at}")
