"""The log of all epochs (L0): an RFC 6962 tree with one leaf for each epoch, and its signed checkpoints.

Law: the log only grows. A checkpoint is a C2SP signed note (Ed25519), so that witnesses and tools of the transparency
world can follow it; a leaf is the record of what was committed on chain for an epoch.

    entry       0x15 | network 32 | epoch u64 | aggregator 20 | root 32 | nodes u64 | annotation 24 | manifest 32
    checkpoint  <origin> LF <size> LF <base64 root> LF LF "— " <name> " " base64(key id 4 | signature 64) LF

Sources: https://c2sp.org/tlog-checkpoint, https://c2sp.org/signed-note, RFC 6962 section 2.1.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from meridian.errors import InvalidInput
from meridian.primitives import rfc6962
from meridian.primitives.codec import Reader, Writer
from meridian.primitives.hashing import DIGEST_BYTES, EPOCH_RECORD, sha256
from meridian.primitives.ids import Address
from meridian.primitives.sumtree import ANNOTATION_BYTES

ED25519: Final = b"\x01"
"""Signature type of the signed-note specification."""

NOTE_BYTES_MAX: Final = 1 << 16
SIGNATURES_MAX: Final = 64

_DASH: Final = "\u2014 "
_NAME: Final = re.compile(r"[^\s+]+")
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
class Verifier:
    """A log's name and public key."""

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or len(self.public_key) != 32:
            raise InvalidInput("vkey", "a name without spaces or plus, and 32 bytes, are needed")

    @property
    def key_id(self) -> bytes:
        """The four bytes that stand before a signature."""
        return sha256(self.name.encode(), b"\n", ED25519, self.public_key)[:4]

    @property
    def text(self) -> str:
        """The verifier key as C2SP writes it: ``name+id+base64``."""
        packed = base64.b64encode(ED25519 + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{packed}"

    @classmethod
    def parse(cls, text: str) -> "Verifier":
        """Read a verifier key.

        Raises:
            InvalidInput: If it is not an Ed25519 one, or its id is wrong.
        """
        parts = text.split("+", 2)
        try:
            packed = base64.b64decode(parts[2], validate=True)
        except (IndexError, binascii.Error):
            raise InvalidInput("vkey", f"{text!r} is not name+id+base64") from None
        if len(packed) != 33 or packed[:1] != ED25519:
            raise InvalidInput("vkey", "it is not an Ed25519 key")
        verifier = cls(parts[0], packed[1:])
        if verifier.text != text:
            raise InvalidInput("vkey", "its id is not that of its key")
        return verifier


def verifier_of(name: str, seed: bytes) -> Verifier:
    """Return the verifier of a log whose Ed25519 secret is `seed`."""
    return Verifier(
        name, Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    )


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a log."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The note's body."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def sign(self, seed: bytes) -> bytes:
        """Return the signed note; the log signs under its origin."""
        return sign_note(self.text, self.origin, seed)


def sign_note(text: str, name: str, seed: bytes) -> bytes:
    """Return a text that ends with a newline as a note with one Ed25519 signature."""
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(text.encode())
    packed = base64.b64encode(verifier_of(name, seed).key_id + signature).decode()
    return f"{text}\n{_DASH}{name} {packed}\n".encode()


def checkpoint_of(origin: str, entries: Sequence[bytes]) -> Checkpoint:
    """Return the checkpoint of a log with these entries."""
    return Checkpoint(origin, len(entries), rfc6962.root([rfc6962.leaf_hash(e) for e in entries]))


def open_checkpoint(note: bytes, verifier: Verifier) -> Checkpoint:
    """Read a checkpoint and verify the log's own signature.

    Raises:
        InvalidInput: If the note is malformed, of another log, or not signed by this key.
    """
    return _read_body(open_note(note, verifier), verifier.name)


def open_note(note: bytes, verifier: Verifier) -> str:
    """Return the text of a note that the known key has signed; signatures of unknown keys are passed over.

    Raises:
        InvalidInput: If the note is malformed, not signed by this key, or a signature of this key does not hold.
    """
    if len(note) > NOTE_BYTES_MAX:
        raise InvalidInput("checkpoint", f"longer than {NOTE_BYTES_MAX} bytes")
    try:
        text = note.decode()
    except UnicodeDecodeError:
        raise InvalidInput("checkpoint", "it is not UTF-8") from None
    if any(ord(char) < 0x20 and char != "\n" for char in text):
        raise InvalidInput("checkpoint", "it holds control characters")
    split = text.rfind("\n\n")
    if split < 0 or not text.endswith("\n"):
        raise InvalidInput("checkpoint", "it is not a signed note")
    body, signatures = text[: split + 1], text[split + 2 : -1].split("\n")
    if len(signatures) > SIGNATURES_MAX:
        raise InvalidInput("checkpoint", f"more than {SIGNATURES_MAX} signatures")
    signed = [_verify_line(line, body.encode(), verifier) for line in signatures]
    if not any(signed):
        raise InvalidInput("checkpoint", f"{verifier.name} has not signed it")
    return body


def _verify_line(line: str, body: bytes, verifier: Verifier) -> bool:
    """Tell whether a line is the known key's signature; a wrong one of the known key is an error, not a pass."""
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    try:
        packed = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        packed = b""
    if not line.startswith(_DASH) or not _NAME.fullmatch(name) or len(packed) < 5:
        raise InvalidInput("checkpoint", "a signature line is malformed")
    if base64.b64encode(packed).decode() != encoded:
        raise InvalidInput("checkpoint", "a signature is not written in the canonical form")
    if name != verifier.name or packed[:4] != verifier.key_id:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(verifier.public_key).verify(packed[4:], body)
    except InvalidSignature:
        raise InvalidInput("checkpoint", f"the signature of {name} does not hold") from None
    return True


def _read_body(body: str, origin: str) -> Checkpoint:
    lines = body.split("\n")
    if len(lines) != 4 or lines[0] != origin or not _SIZE.fullmatch(lines[1]):
        raise InvalidInput("checkpoint", f"it is not a checkpoint of {origin}")
    try:
        root = base64.b64decode(lines[2], validate=True)
    except binascii.Error:
        raise InvalidInput("checkpoint", "its root is not base64") from None
    if len(root) != DIGEST_BYTES or base64.b64encode(root).decode() != lines[2]:
        raise InvalidInput("checkpoint", "its root is not 32 bytes")
    return Checkpoint(origin, int(lines[1]), root)


def verify_log(note: bytes, entries: Sequence[bytes], verifier: Verifier) -> Checkpoint:
    """Check that a checkpoint is signed and is exactly that of these entries.

    Raises:
        InvalidInput: If not.
    """
    checkpoint = open_checkpoint(note, verifier)
    if checkpoint != checkpoint_of(checkpoint.origin, entries):
        raise InvalidInput("checkpoint", "its size or root is not that of the entries")
    return checkpoint
