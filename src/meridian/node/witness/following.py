"""Follow a published log from its directory or URL alone: its checkpoint, who has cosigned it, and whether its tiles lead to it."""

import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from meridian.errors import InvalidInput, NotFound, RemoteFault
from meridian.measure.epoch_log import Checkpoint
from meridian.measure.signed_note import NOTE_BYTES_MAX, Note, Signature, Verifier
from meridian.measure.tiles import Tile, TileReader
from meridian.node.durable_file import read_whole

TIMEOUT_S: Final = 30.0
_ABSENT: Final = (http.client.FORBIDDEN, http.client.NOT_FOUND, http.client.GONE)


@dataclass(frozen=True, slots=True)
class Followed:
    """What was found."""

    checkpoint: Checkpoint
    cosignatures: tuple[tuple[Verifier, Signature], ...]
    """The latest of each known witness that has cosigned."""
    tiles_hold: bool
    """Whether the tiles lead to the checkpoint's root."""


class LogPlace:
    """Where a log is published.

    Args:
        place: A directory or an http or https URL, which `checkpoint` and `tile/` are below.
    """

    def __init__(self, place: str) -> None:
        self._place = place.rstrip("/")
        self._remote = urllib.parse.urlsplit(place).scheme in ("http", "https")

    def read(self, name: str, limit: int) -> bytes:
        """Return a file of the log.

        Raises:
            NotFound: If it is not there.
            InvalidInput: If it is longer than `limit` bytes.
            RemoteFault: If the server does not answer.
        """
        if not self._remote:
            return read_whole(Path(self._place) / name, limit)
        url = f"{self._place}/{name}"
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310 - http(s) only, see __init__
                data: bytes = answer.read(limit + 1)
        except urllib.error.HTTPError as error:
            if error.code in _ABSENT:
                raise NotFound(f"{url}: {error.code}") from error
            raise RemoteFault(f"{url}: {error.code}") from error
        except (OSError, http.client.HTTPException) as error:
            raise RemoteFault(f"{url}: {error}") from error
        if len(data) > limit:
            raise InvalidInput(url, f"longer than {limit} bytes")
        return data

    def tile(self, tile: Tile) -> bytes:
        """Return a tile of hashes; the beginning of the full one where the partial one is gone."""
        try:
            return self.read(tile.path, tile.bytes_max)
        except NotFound:
            if tile == tile.whole:
                raise
            return self.read(tile.whole.path, tile.whole.bytes_max)[: tile.bytes_max]


def follow(place: LogPlace, log: Verifier, witnesses: Sequence[Verifier]) -> Followed:
    """Read and verify what a place publishes of a log.

    Raises:
        InvalidInput: If the checkpoint is not the log's, or a known witness's cosignature does not hold.
        NotFound: If checkpoint or tiles are missing.
        RemoteFault: If the server does not answer.
    """
    note = Note.parse(place.read("checkpoint", NOTE_BYTES_MAX))
    if not note.signed_by(log):
        raise InvalidInput("checkpoint", f"{log.name} has not signed it")
    checkpoint = Checkpoint.parse(note.text)
    if checkpoint.origin != log.name:
        raise InvalidInput("checkpoint", f"it is of {checkpoint.origin}")
    found = []
    for witness in witnesses:
        signatures = note.signed_by(witness)
        if signatures:
            found.append((witness, max(signatures, key=lambda one: one.time)))
    root = TileReader(checkpoint.size, place.tile).root()
    return Followed(checkpoint, tuple(found), root == checkpoint.root)
