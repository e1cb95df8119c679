"""The published epoch log: entries and tiles below ``log/`` of a publication, and the checkpoint that is signed over them.

    log/checkpoint                    the signed note, with cosignatures of witnesses
    log/tile/<L>/<N>[.p/<W>]          hashes
    log/tile/entries/<N>[.p/<W>]      entries

Law: the only thing that is trusted is the last checkpoint that was signed. It stands in a file of its own, beside the key and
away from the publication, and is replaced by compare-and-swap, before the signature is made. Whatever is on the disk must
lead to it: a log that was restored from an older copy is refused, never signed again from there.
Tiles and entries are durable before a checkpoint that needs them.
"""

import contextlib
import fcntl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from meridian.errors import InvalidInput, NotFound, RemoteFault, StorageFailure
from meridian.measure.epoch_log import Checkpoint, checkpoint_of
from meridian.measure.signed_note import NOTE_BYTES_MAX, Note, sign_text, verifier_of
from meridian.measure.tiles import (
    TILE_WIDTH,
    Tile,
    TiledTree,
    bundles_of,
    decode_bundle,
    encode_bundle,
    tiles_of,
)
from meridian.node.durable_file import read_whole, sync_directory, write_durably
from meridian.node.witness.client import Witnesses
from meridian.primitives import rfc6962

ENTRIES_MAX: Final = 1_000_000
"""More than a century of hours."""


class SignedState:
    """The file that holds the text of the last checkpoint that was signed.

    Args:
        path: The file; its directory exists. Beside it lies a lock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Checkpoint | None:
        """Return what was signed last; None: nothing ever.

        Raises:
            StorageFailure: If the file is damaged.
        """
        try:
            return Checkpoint.parse(read_whole(self.path, NOTE_BYTES_MAX).decode())
        except NotFound:
            return None
        except (InvalidInput, UnicodeDecodeError) as error:
            raise StorageFailure(f"{self.path}: damaged: {error}") from error

    def swap(self, expected: Checkpoint | None, new: Checkpoint) -> None:
        """Replace what was signed last, if it still is what the caller knows.

        Raises:
            StorageFailure: If somebody else has signed meanwhile: two services with one key.
        """
        with self._locked():
            self.require(expected)
            write_durably(self.path, new.text.encode())

    def require(self, expected: Checkpoint | None) -> None:
        """Check that what was signed last is what the caller knows.

        Raises:
            StorageFailure: If not.
        """
        if self.read() != expected:
            raise StorageFailure(f"{self.path}: another process signs with this key")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        lock = self.path.with_name(f"{self.path.name}.lock")
        try:
            with lock.open("wb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise StorageFailure(f"{lock}: {error.strerror or error}") from error


class PublishedLog:
    """The log of one aggregator, written only here.

    Args:
        directory: ``log`` of its publication; made with the first entry.
        state: What was signed last.
        origin: The log's name.
        seed: Its Ed25519 secret.
        witnesses: Who is asked to cosign each checkpoint before it is published.
        mirror: Writes a file of the publication elsewhere too, before it is written here.
    """

    def __init__(
        self,
        directory: Path,
        state: SignedState,
        origin: str,
        seed: bytes,
        witnesses: Witnesses | None = None,
        mirror: Callable[[str, bytes], None] | None = None,
    ) -> None:
        self._directory, self._state = directory, state
        self._origin, self._seed = origin, seed
        self.witnesses, self._mirror = witnesses, mirror
        self._lock = threading.Lock()
        self._entries: list[bytes] = []
        self._tree = TiledTree()
        self._signed: Checkpoint | None = None
        self._loaded = False

    def open(self) -> None:
        """Read the log and compare it with what was signed, and with what witnesses have seen.

        Raises:
            StorageFailure: If what is on the disk does not lead to the last signed checkpoint, or a witness has cosigned
                a later one.
        """
        with self._lock:
            self._open()
            if self.witnesses is not None:
                self._compare(self.witnesses)

    def append(self, index: int, entry: bytes) -> Checkpoint:
        """Put an entry at a place of the log, sign and publish the log up to it; doing it again changes nothing.

        Raises:
            StorageFailure: If another entry stands there, or the log on the disk is not the one that was signed.
        """
        with self._lock:
            self._open()
            if index < len(self._entries):
                if self._entries[index] != entry:
                    raise StorageFailure(f"{self._directory}: entry {index} is already another one")
            elif index == len(self._entries):
                if index >= ENTRIES_MAX:
                    raise StorageFailure(f"{self._directory}: it holds {ENTRIES_MAX} entries")
                self._entries.append(entry)
                self._tree.append(rfc6962.leaf_hash(entry))
            else:
                raise StorageFailure(f"{self._directory}: entry {len(self._entries)} is missing")
            return self._publish()

    def _open(self) -> None:
        if self._loaded:
            return
        signed = self._state.read()
        if signed is None and (self._directory / "checkpoint").exists():
            raise StorageFailure(
                f"{self._state.path}: missing, although {self._directory} has a checkpoint; without it nobody knows "
                f"what was signed last: restore it, it belongs to the key of the log"
            )
        if signed is not None:
            self._entries = list(self._read_signed(signed))
            self._tree = TiledTree(map(rfc6962.leaf_hash, self._entries))
        self._signed, self._loaded = signed, True

    def _read_signed(self, signed: Checkpoint) -> tuple[bytes, ...]:
        what = f"{signed.origin} was signed at size {signed.size}"
        try:
            entries = read_log_entries(self._directory, signed.size)
        except (NotFound, InvalidInput) as error:
            raise StorageFailure(
                f"{self._directory}: {what}, but here entries are missing ({error}); an older copy was restored? "
                f"Bring the entries back, or begin a log with another key and name: this one is not signed again"
            ) from error
        if signed.origin != self._origin or checkpoint_of(self._origin, entries) != signed:
            raise StorageFailure(f"{self._directory}: {what}, over other entries than these")
        return entries

    def _publish(self) -> Checkpoint:
        """Write what is new, swap the state, sign, publish: in this order."""
        before = self._signed.size if self._signed else 0
        self._state.require(self._signed)  # else files of another's log would be overwritten
        checkpoint = Checkpoint(self._origin, self._tree.size, self._tree.reader().root())
        for tile in (*tiles_of(checkpoint.size, before), *bundles_of(checkpoint.size, before)):
            self._write(tile)
        if checkpoint != self._signed:
            self._state.swap(self._signed, checkpoint)
            self._signed = checkpoint
        published = self._published()
        if published is None or published.text != checkpoint.text:
            self._write_note(self._sign(checkpoint))
        self._drop_partial(before)
        return checkpoint

    def cosign_again(self) -> None:
        """Ask the witnesses once more, if the published checkpoint lacks the quorum.

        Raises:
            RemoteFault: If the quorum is required, and was not reached again.
            StorageFailure: If a witness has cosigned a later checkpoint, or the disk refuses.
        """
        with self._lock:
            note = self._published()
            if self.witnesses is None or self.witnesses.satisfied or note is None:
                return
            again = self.witnesses.cosign(note, self._tree.reader())
            if again != note:
                self._write_note(again)

    def _compare(self, witnesses: Witnesses) -> None:
        """Show the witnesses what was signed last, again: a second signature over it is no second history."""
        latest = self._signed or Checkpoint(self._origin, 0, self._tree.reader().root())
        published = self._published()
        known = published is not None and published.text == latest.text
        note = published if published and known else self._signed_note(latest)
        with contextlib.suppress(RemoteFault):  # it is asked for again with the next checkpoint
            again = witnesses.cosign(note, self._tree.reader())
            if known and again != note:
                self._write_note(again)

    def _sign(self, checkpoint: Checkpoint) -> Note:
        note = self._signed_note(checkpoint)
        if self.witnesses is None:
            return note
        return self.witnesses.cosign(note, self._tree.reader())

    def _signed_note(self, checkpoint: Checkpoint) -> Note:
        return Note(checkpoint.text, (sign_text(checkpoint.text, self._origin, self._seed),))

    def _write_note(self, note: Note) -> None:
        self._write_file("checkpoint", note.encode())

    def _write_file(self, name: str, data: bytes) -> None:
        if self._mirror is not None:
            self._mirror(f"log/{name}", data)
        path = self._directory / name
        make_directories(path.parent)
        write_durably(path, data)

    def _write(self, tile: Tile) -> None:
        if tile.level is None:
            first = tile.index * TILE_WIDTH
            data = encode_bundle(self._entries[first : first + tile.width])
        else:
            data = self._tree.tile(tile)
        self._write_file(tile.path, data)

    def _published(self) -> Note | None:
        """Return the published checkpoint, if our signature is on it."""
        path = self._directory / "checkpoint"
        try:
            note = Note.parse(read_whole(path, NOTE_BYTES_MAX))
            signed = note.signed_by(verifier_of(self._origin, self._seed))
        except (NotFound, InvalidInput):
            return None
        return note if signed else None

    def _drop_partial(self, before: int) -> None:
        """Remove the partial forms of tiles that are full since this checkpoint."""
        size = self._tree.size
        for tile in (*tiles_of(size, before), *bundles_of(size, before)):
            folder = (self._directory / tile.path).with_name(f"{tile.index % 1000:03d}.p")
            if tile == tile.whole and folder.is_dir():
                with contextlib.suppress(OSError):  # they only take room
                    for path in folder.iterdir():
                        path.unlink()
                    folder.rmdir()


def make_directories(path: Path) -> None:
    """Make a directory and those above it, durably.

    Raises:
        StorageFailure: If the disk refuses.
    """
    missing = [one for one in (path, *path.parents) if not one.exists()]
    try:
        for directory in reversed(missing):
            directory.mkdir(exist_ok=True)
            sync_directory(directory.parent)
    except OSError as error:
        raise StorageFailure(f"{path}: {error.strerror or error}") from error


def read_log_entries(directory: Path, size: int) -> tuple[bytes, ...]:
    """Return the first `size` entries of the log in `directory` (a publication's ``log``).

    Raises:
        NotFound: If a bundle is missing.
        InvalidInput: If `size` is beyond what a log has, or a bundle is damaged.
        StorageFailure: If a bundle cannot be read.
    """
    return entries_from(size, lambda tile: read_whole(directory / tile.path, tile.bytes_max))


def entries_from(size: int, fetch: Callable[[Tile], bytes]) -> tuple[bytes, ...]:
    """Return the first `size` entries of a log, from bundles that `fetch` brings.

    Where a partial bundle is gone, the full one that took its place is read. Nothing is verified.

    Raises:
        NotFound: If a bundle is missing.
        InvalidInput: If `size` is beyond what a log has, or a bundle is damaged.
    """
    if size > ENTRIES_MAX:
        raise InvalidInput("checkpoint", f"states {size} entries; at most {ENTRIES_MAX} are read")
    entries: list[bytes] = []
    for tile in bundles_of(size):
        try:
            entries += decode_bundle(fetch(tile), tile.width)
        except NotFound:
            if tile == tile.whole:
                raise
            entries += decode_bundle(fetch(tile.whole), TILE_WIDTH)[: tile.width]
    return tuple(entries)
