"""Artefacts in one CAR file (version 1), which IPFS imports: `ipfs dag import --allow-big-block FILE`.

    file     <header section> {<block section>}
    section  length of the rest (unsigned varint) | rest
    header   DAG-CBOR {"roots": [bafkqaaa], "version": 1}
    block    CID (36 bytes: 0x01 0x55 0x12 0x20 | SHA-256) | data

There is no root that leads to all blocks, so the header names the empty identity CID: readers want one.

Law: blocks are only appended, each synced before `put` returns; an end torn by a crash is cut off when the file is opened
again. The index is kept in memory and made from the sections' heads at the start.

Source: https://ipld.io/specs/transport/car/carv1/.
"""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from meridian.errors import NotFound, StorageFailure
from meridian.node.durable_file import held_lock, sync_directory, write_durably
from meridian.node.stores.store import OBJECT_BYTES_MAX, bounded, checked
from meridian.primitives.cid import cid_text
from meridian.primitives.hashing import DIGEST_BYTES

_NO_ROOT: Final = b"\x01\x55\x00\x00"
_HEADER: Final = (
    b"\xa2\x65roots\x81\xd8\x2a\x45\x00" + _NO_ROOT + b"\x67version\x01"
)  # tag 42, as DAG-CBOR has links
HEADER_SECTION: Final = bytes((len(_HEADER),)) + _HEADER
_CID: Final = b"\x01\x55\x12\x20"
_CID_BYTES: Final = len(_CID) + DIGEST_BYTES
_VARINT_BYTES_MAX: Final = 9
_PIECE: Final = 1 << 20


class CarStore:
    """An `ObjectStore` in a CAR file, held by one process at a time.

    Args:
        path: The file; made when absent.
        bytes_max: The longest object.

    Raises:
        StorageFailure: If another process holds it, or it is no CAR file of raw blocks.
    """

    append_only: Final = False

    def __init__(self, path: Path, bytes_max: int = OBJECT_BYTES_MAX) -> None:
        self._path, self._bytes_max = path, bytes_max
        self._mutex = threading.Lock()
        self._holder = held_lock(
            path.with_name(f"{path.name}.lock"), "another process holds this store"
        )
        if not path.exists():
            write_durably(path, HEADER_SECTION)
        self._file, self._places, self._end = _opened(path, bytes_max)

    def put(self, data: bytes) -> bytes:
        """Append a block, unless it is there undamaged in length."""
        digest = bounded(data, self._bytes_max)
        with self._mutex:
            if digest not in self._places:
                self._append(digest, data)
        return digest

    def get(self, digest: bytes) -> bytes:
        """Return an object, checked."""
        with self._mutex:
            place = self._places.get(digest)
            if place is None:
                raise NotFound(f"{self._path}: no {cid_text(digest)}")
            offset, length = place
            try:
                data = os.pread(self._file.fileno(), length, offset)
            except OSError as error:
                raise StorageFailure(f"{self._path}: {error.strerror}") from error
        return checked(data, digest, self._path)

    def has(self, digest: bytes) -> bool:
        """Tell whether there is a block of this CID."""
        return digest in self._places

    def digests(self) -> Iterator[bytes]:
        """Yield the digests of all blocks."""
        with self._mutex:
            known = list(self._places)
        yield from known

    def delete(self, digest: bytes) -> None:
        """Write the file anew without a block: as dear as the file is long."""
        with self._mutex:
            if digest not in self._places:
                return
            temporary = self._path.with_name(f".{self._path.name}.tmp")
            try:
                with temporary.open("wb") as file:
                    file.write(HEADER_SECTION)
                    for kept, (offset, length) in self._places.items():
                        if kept != digest:
                            file.write(_varint(_CID_BYTES + length) + _CID + kept)
                            _copy(self._file, offset, length, file)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(self._path)
                sync_directory(self._path.parent)
            except OSError as error:
                raise StorageFailure(f"{self._path}: {error.strerror or error}") from error
            self._file.close()
            self._file, self._places, self._end = _opened(self._path, self._bytes_max)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
        self._holder.close()

    def _append(self, digest: bytes, data: bytes) -> None:
        head = _varint(_CID_BYTES + len(data)) + _CID + digest
        try:
            self._file.seek(self._end)
            self._file.write(head)
            self._file.write(data)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            with contextlib.suppress(
                OSError
            ):  # else the torn end is cut off when the file is opened again
                os.truncate(self._path, self._end)
            raise StorageFailure(f"{self._path}: {error.strerror}") from error
        self._places[digest] = (self._end + len(head), len(data))
        self._end += len(head) + len(data)


Places = dict[bytes, tuple[int, int]]


def _opened(path: Path, bytes_max: int) -> tuple[IO[bytes], Places, int]:
    """Open a file, find its blocks, and cut off a torn end."""
    try:
        file = path.open("r+b")
        length = file.seek(0, os.SEEK_END)
        file.seek(0)
        if file.read(len(HEADER_SECTION)) != HEADER_SECTION:
            raise StorageFailure(f"{path}: not a CAR file of ours")
        places, end = _scan(file, len(HEADER_SECTION), length, bytes_max)
        if end < length:
            file.truncate(end)
            os.fsync(file.fileno())
    except OSError as error:
        raise StorageFailure(f"{path}: {error.strerror}") from error
    return file, places, end


def _scan(file: IO[bytes], at: int, length: int, bytes_max: int) -> tuple[Places, int]:
    """Return where the whole blocks lie, and where they end."""
    places: Places = {}
    while at < length:
        file.seek(at)
        head = file.read(_VARINT_BYTES_MAX + _CID_BYTES)
        size, used = _read_varint(head)
        start = at + used + _CID_BYTES
        if not used or len(head) < used + _CID_BYTES or at + used + size > length:
            break  # torn
        if not head[used:].startswith(_CID) or not 0 <= size - _CID_BYTES <= bytes_max:
            raise StorageFailure(f"{file.name}: no raw block at {at}")
        places[head[used + len(_CID) : used + _CID_BYTES]] = (start, size - _CID_BYTES)
        at += used + size
    return places, at


def _varint(value: int) -> bytes:
    pieces = bytearray()
    while value >= 0x80:
        pieces.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*pieces, value))


def _read_varint(data: bytes) -> tuple[int, int]:
    """Return a varint and its length; a length of 0 if it does not end."""
    value = 0
    for at, byte in enumerate(data[:_VARINT_BYTES_MAX]):
        value |= (byte & 0x7F) << 7 * at
        if byte < 0x80:
            return value, at + 1
    return 0, 0


def _copy(source: IO[bytes], offset: int, length: int, target: IO[bytes]) -> None:
    while length:
        piece = os.pread(source.fileno(), min(length, _PIECE), offset)
        if not piece:
            raise StorageFailure(f"{source.name}: shorter than it was")
        target.write(piece)
        offset, length = offset + len(piece), length - len(piece)
