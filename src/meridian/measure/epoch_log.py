"""The log of all epochs (L0): an RFC 6962 tree with one leaf for each epoch, and its checkpoints.

Law: the log only grows. A checkpoint is a C2SP signed note, and the tree is published as C2SP tiles (`tiles`), so that
witnesses and tools of the transparency world can follow it; a leaf is the record of what was committed on chain for an
epoch.

    entry       0x15 | network 32 | epoch u64 | aggregator 20 | root 32 | nodes u64 | annotation 24 | manifest 32
    checkpoint  note over <origin> LF <size> LF <base64 root> LF

Sources: https://c2sp.org/tlog-checkpoint, RFC 6962 section 2.1.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from meridian.errors import InvalidInput
from meridian.measure.signed_note import Note, Verifier, open_note, sign_text
from meridian.primitives import rfc6962
from meridian.primitives.codec import Reader, Writer
from meridian.primitives.hashing import DIGEST_BYTES, EPOCH_RECORD
from meridian.primitives.ids import Address
from meridian.primitives.sumtree import ANNOTATION_BYTES

SIZE_MAX: Final = (1 << 63) - 1

_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What an epoch's entry says."""

    network: bytes
    epoch: int
    aggregator: Address
    root: bytes
    n_nodes: int
    annotation: bytes
    manifest: bytes

    def encode(self) -> bytes:
        """Return the entry's bytes."""
        return (
            Writer()
            .u8(EPOCH_RECORD)
            .fixed(self.network, DIGEST_BYTES)
            .u64(self.epoch)
            .fixed(self.aggregator, 20)
            .fixed(self.root, DIGEST_BYTES)
            .u64(self.n_nodes)
            .fixed(self.annotation, ANNOTATION_BYTES)
            .fixed(self.manifest, DIGEST_BYTES)
            .bytes()
        )

    @classmethod
    def decode(cls, data: bytes) -> "EpochRecord":
        """Read an entry.

        Raises:
            InvalidInput: If it is not one.
        """
        reader = Reader(data)
        if reader.u8() != EPOCH_RECORD:
            raise InvalidInput("entry", "it is not the record of an epoch")
        record = cls(
            network=reader.fixed(DIGEST_BYTES),
            epoch=reader.u64(),
            aggregator=Address(reader.fixed(20)),
            root=reader.fixed(DIGEST_BYTES),
            n_nodes=reader.u64(),
            annotation=reader.fixed(ANNOTATION_BYTES),
            manifest=reader.fixed(DIGEST_BYTES),
        )
        reader.finish()
        return record


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a log."""

    origin: str
    size: int
    root: bytes
    extension: tuple[str, ...] = ()
    """Further lines; our own log has none."""

    @property
    def text(self) -> str:
        """The note's text."""
        root = base64.b64encode(self.root).decode()
        return "".join(f"{line}\n" for line in (self.origin, self.size, root, *self.extension))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text of a checkpoint of any log.

        Raises:
            InvalidInput: If it is not one.
        """
        lines = text.split("\n")
        if len(lines) < 4 or not all(lines[:-1]) or lines[-1] or not _SIZE.fullmatch(lines[1]):
            raise InvalidInput("checkpoint", "origin, size and root are needed, a line each")
        size = int(lines[1])
        if size > SIZE_MAX:
            raise InvalidInput("checkpoint", f"a size of {size} is beyond {SIZE_MAX}")
        return cls(lines[0], size, parse_hash(lines[2], "checkpoint"), tuple(lines[3:-1]))

    def sign(self, seed: bytes) -> bytes:
        """Return the signed note; the log signs under its origin."""
        return Note(self.text, (sign_text(self.text, self.origin, seed),)).encode()


def parse_hash(text: str, field: str) -> bytes:
    """Read a hash in base64, in its one spelling.

    Raises:
        InvalidInput: If it is anything else; `field` is named.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput(field, "a hash is not base64") from None
    if len(data) != DIGEST_BYTES or base64.b64encode(data).decode() != text:
        raise InvalidInput(field, "a hash is not 32 bytes")
    return data


def checkpoint_of(origin: str, entries: Sequence[bytes]) -> Checkpoint:
    """Return the checkpoint of a log with these entries."""
    return Checkpoint(origin, len(entries), rfc6962.root([rfc6962.leaf_hash(e) for e in entries]))


def open_checkpoint(note: bytes, verifier: Verifier) -> Checkpoint:
    """Read a checkpoint and verify the log's own signature.

    Raises:
        InvalidInput: If the note is malformed, of another log, or not signed by this key.
    """
    checkpoint = Checkpoint.parse(open_note(note, verifier))
    if checkpoint.origin != verifier.name:
        raise InvalidInput("checkpoint", f"it is not a checkpoint of {verifier.name}")
    return checkpoint


def stated_size(note: bytes) -> int:
    """Return the size that a checkpoint states, nothing of it verified: where a reader looks for the entries.

    Raises:
        InvalidInput: If it is no checkpoint.
    """
    return Checkpoint.parse(Note.parse(note).text).size


def verify_log(note: bytes, entries: Sequence[bytes], verifier: Verifier) -> Checkpoint:
    """Check that a checkpoint is signed and is exactly that of these entries.

    Raises:
        InvalidInput: If not.
    """
    checkpoint = open_checkpoint(note, verifier)
    if checkpoint != checkpoint_of(checkpoint.origin, entries):
        raise InvalidInput("checkpoint", "its size or root is not that of the entries")
    return checkpoint
