"""Auxiliary inputs of an epoch's evaluation (health checks and the like): named objects, given before the seal."""

import re
import threading
from pathlib import Path
from typing import Final

import msgspec

from meridian.errors import InvalidInput, NotFound, StorageFailure
from meridian.measure.manifest import INPUT_NAME_BYTES_MAX, INPUTS_MAX, InputRef
from meridian.node.durable_file import read_whole, write_durably
from meridian.node.ingest.publication import Publication
from meridian.primitives.cid import digest_of
from meridian.primitives.ids import parse_digest

_NAME: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{INPUT_NAME_BYTES_MAX - 1}}}")


class Conflict(InvalidInput):
    """A request that does not fit the state that the service is in (HTTP 409)."""


class EpochInputs:
    """The inputs of all epochs: one small file for each epoch that has any, the bytes in the publication.

    Args:
        directory: Where the small files are; made when absent.
        publication: Takes the bytes.
    """

    def __init__(self, directory: Path, publication: Publication) -> None:
        self._directory, self._publication = directory, publication
        self._lock = threading.Lock()
        self._sealed_before = 0
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageFailure(f"{directory}: {error.strerror or error}") from error

    def put(self, epoch: int, name: str, data: bytes) -> bytes:
        """Give an input durably, or another in its place, and return its digest.

        Raises:
            InvalidInput: If the name cannot be one, or there are too many.
            Conflict: If the epoch is sealed with another input of this name, or without any.
        """
        if not _NAME.fullmatch(name):
            raise InvalidInput("name", f"{name!r} is not 1..{INPUT_NAME_BYTES_MAX} of A-Z a-z 0-9 . _ -")
        digest = digest_of(data)
        if epoch >= self._sealed_before:
            self._publication.put(data)  # may stay unnamed; better than holding the lock while it is written
        with self._lock:
            known = self._read(epoch)
            if known.get(name) == digest:
                return digest
            if epoch < self._sealed_before:
                raise Conflict("epoch", f"epoch {epoch} is sealed; its inputs cannot change")
            if len(known) >= INPUTS_MAX and name not in known:
                raise InvalidInput("name", f"an epoch has at most {INPUTS_MAX} inputs")
            known[name] = digest
            text = {key: value.hex() for key, value in sorted(known.items())}
            write_durably(self._path(epoch), msgspec.json.encode(text) + b"\n")
        return digest

    def seal(self, epoch: int) -> tuple[InputRef, ...]:
        """Return an epoch's inputs, sorted by name; from now on they cannot change."""
        with self._lock:
            self._sealed_before = max(self._sealed_before, epoch + 1)
            return tuple(InputRef(name, digest) for name, digest in sorted(self._read(epoch).items()))

    def of(self, epoch: int) -> dict[str, bytes]:
        """Return name -> digest."""
        with self._lock:
            return self._read(epoch)

    def _path(self, epoch: int) -> Path:
        return self._directory / f"{epoch:06d}.json"

    def _read(self, epoch: int) -> dict[str, bytes]:
        try:
            text = msgspec.json.decode(read_whole(self._path(epoch)), type=dict[str, str])
            return {name: parse_digest(digest, name) for name, digest in text.items()}
        except NotFound:
            return {}
        except (msgspec.DecodeError, InvalidInput) as error:
            raise StorageFailure(f"{self._path(epoch)}: {error}") from error
