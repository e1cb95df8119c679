"""Signed notes (C2SP): a text, and below it signatures of any number of keys, each with a name.

Law: a signature of an unknown key is passed over, and one of a known key that does not hold makes the whole note
invalid. The text means nothing before a known key's signature is verified.

    note    <text that ends with LF> LF {"— " <name> " " base64(key id 4 | signature) LF}
    vkey    <name> "+" <key id in hex> "+" base64(type | public key)
    key id  SHA-256(<name> LF | type | public key)[:4]

Two types of keys sign here: a log's own Ed25519 key, over the text alone, and a cosigner's (witness's), over the time and
the text.

Sources: https://c2sp.org/signed-note, https://c2sp.org/tlog-cosignature.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from meridian.errors import InvalidInput
from meridian.primitives.hashing import sha256

ED25519: Final = b"\x01"
"""Type of a key that signs the text."""

COSIGNATURE: Final = b"\x04"
"""Type of an Ed25519 key that signs a time and the text: cosignature/v1."""

NOTE_BYTES_MAX: Final = 1 << 17
"""Sixteen signatures must be accepted, and those of the quantum age have up to 5 kB each, a third more in base64."""

SIGNATURES_MAX: Final = 64
TIME_MAX: Final = (1 << 63) - 1

_DASH: Final = "\u2014 "
_NAME: Final = re.compile(r"[^\s+]+")
_KEY_BYTES: Final = 32
_KEY_ID_BYTES: Final = 4
_TIME_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Verifier:
    """A signer's name and Ed25519 public key."""

    name: str
    public_key: bytes
    kind: bytes = ED25519
    """`ED25519` or `COSIGNATURE`."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or len(self.public_key) != _KEY_BYTES:
            raise InvalidInput("vkey", "a name without spaces or plus, and 32 bytes, are needed")

    @property
    def key_id(self) -> bytes:
        """The four bytes that stand before a signature."""
        return sha256(self.name.encode(), b"\n", self.kind, self.public_key)[:_KEY_ID_BYTES]

    @property
    def text(self) -> str:
        """The verifier key as C2SP writes it: ``name+id+base64``."""
        packed = base64.b64encode(self.kind + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{packed}"

    @classmethod
    def parse(cls, text: str, kind: bytes = ED25519) -> Self:
        """Read a verifier key.

        Raises:
            InvalidInput: If it is not an Ed25519 one of this type, or its id is wrong.
        """
        parts = text.split("+", 2)
        try:
            packed = base64.b64decode(parts[2], validate=True)
        except (IndexError, binascii.Error):
            raise InvalidInput("vkey", f"{text!r} is not name+id+base64") from None
        if len(packed) != 1 + _KEY_BYTES or packed[:1] != kind:
            wanted = "an Ed25519 key" if kind == ED25519 else "the Ed25519 key of a cosigner"
            raise InvalidInput("vkey", f"{parts[0]!r} is not {wanted} (type {kind.hex()})")
        verifier = cls(parts[0], packed[1:], kind)
        if verifier.text != text:
            raise InvalidInput("vkey", "its id is not that of its key")
        return verifier


def verifier_of(name: str, seed: bytes, kind: bytes = ED25519) -> Verifier:
    """Return the verifier of the signer whose Ed25519 secret is `seed`."""
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return Verifier(name, public, kind)


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line."""

    name: str
    key_id: bytes
    data: bytes
    """What stands behind the key id; its meaning is the key's type's."""

    @property
    def line(self) -> str:
        """The line, with its line feed."""
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.data).decode()}\n"

    @property
    def time(self) -> int:
        """When a cosigner made it, in seconds since the Unix epoch."""
        return int.from_bytes(self.data[:_TIME_BYTES], "big")

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read a line, without its line feed.

        Raises:
            InvalidInput: If it is malformed.
        """
        name, _, encoded = line.removeprefix(_DASH).partition(" ")
        try:
            packed = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            packed = b""
        if not line.startswith(_DASH) or not _NAME.fullmatch(name) or len(packed) <= _KEY_ID_BYTES:
            raise InvalidInput("note", "a signature line is malformed")
        if base64.b64encode(packed).decode() != encoded:
            raise InvalidInput("note", "a signature is not written in the canonical form")
        return cls(name, packed[:_KEY_ID_BYTES], packed[_KEY_ID_BYTES:])


@dataclass(frozen=True, slots=True)
class Note:
    """A note as it was read: well-formed, nothing verified."""

    text: str
    """Ends with a line feed."""
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a note.

        Raises:
            InvalidInput: If it is malformed.
        """
        if len(data) > NOTE_BYTES_MAX:
            raise InvalidInput("note", f"longer than {NOTE_BYTES_MAX} bytes")
        try:
            whole = data.decode()
        except UnicodeDecodeError:
            raise InvalidInput("note", "it is not UTF-8") from None
        if any(char < " " and char != "\n" for char in whole):
            raise InvalidInput("note", "it holds control characters")
        split = whole.rfind("\n\n")
        if split < 0 or not whole.endswith("\n"):
            raise InvalidInput("note", "it is not a signed note")
        return cls(whole[: split + 1], parse_signatures(whole[split + 2 :]))

    def encode(self) -> bytes:
        """Return the note's bytes."""
        return f"{self.text}\n{''.join(one.line for one in self.signatures)}".encode()

    def signed_by(self, verifier: Verifier) -> tuple[Signature, ...]:
        """Return the signatures of a known key, verified; none if it has not signed.

        Raises:
            InvalidInput: If one of them does not hold.
        """
        known = verifier.name, verifier.key_id
        found = tuple(one for one in self.signatures if (one.name, one.key_id) == known)
        for signature in found:
            if not holds(signature, self.text, verifier):
                raise InvalidInput("note", f"the signature of {verifier.name} does not hold")
        return found


def parse_signatures(text: str) -> tuple[Signature, ...]:
    """Read signature lines, each with its line feed: the end of a note, or what a witness answers.

    Raises:
        InvalidInput: If one is malformed, or there are none or too many.
    """
    lines = text.removesuffix("\n").split("\n")
    if not text.endswith("\n") or len(lines) > SIGNATURES_MAX:
        raise InvalidInput("note", f"between 1 and {SIGNATURES_MAX} signature lines are needed")
    return tuple(map(Signature.parse, lines))


def holds(signature: Signature, text: str, verifier: Verifier) -> bool:
    """Tell whether a signature is the key's over this text, by the rules of the key's type."""
    data, message = signature.data, text.encode()
    if verifier.kind == COSIGNATURE:
        if len(data) < _TIME_BYTES or signature.time > TIME_MAX:
            return False
        data, message = data[_TIME_BYTES:], cosigned_message(text, signature.time)
    try:
        Ed25519PublicKey.from_public_bytes(verifier.public_key).verify(data, message)
    except InvalidSignature:
        return False
    return True


def cosigned_message(text: str, time: int) -> bytes:
    """Return what a cosigner signs: the time in seconds since the Unix epoch, and the whole text."""
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def sign_text(text: str, name: str, seed: bytes) -> Signature:
    """Return the signature of an Ed25519 key over a text that ends with a line feed."""
    data = Ed25519PrivateKey.from_private_bytes(seed).sign(text.encode())
    return Signature(name, verifier_of(name, seed).key_id, data)


def cosign_text(text: str, name: str, seed: bytes, time: int) -> Signature:
    """Return a cosigner's signature over a checkpoint's text, made at `time` (seconds since the Unix epoch)."""
    if not 0 < time <= TIME_MAX:
        raise InvalidInput("time", f"{time} is no time of a cosignature")
    data = Ed25519PrivateKey.from_private_bytes(seed).sign(cosigned_message(text, time))
    key_id = verifier_of(name, seed, COSIGNATURE).key_id
    return Signature(name, key_id, time.to_bytes(_TIME_BYTES, "big") + data)


def open_note(data: bytes, verifier: Verifier) -> str:
    """Return the text of a note that the known key has signed.

    Raises:
        InvalidInput: If the note is malformed, not signed by this key, or a signature of this key does not hold.
    """
    note = Note.parse(data)
    if not note.signed_by(verifier):
        raise InvalidInput("note", f"{verifier.name} has not signed it")
    return note.text


def cosigned(
    note: Note, offered: Sequence[Signature], witnesses: Sequence[Verifier]
) -> tuple[Note, tuple[Verifier, ...]]:
    """Add to a note the cosignatures of known witnesses among those offered, the latest of each.

    Returns:
        The note, and the witnesses whose cosignatures are on it now.

    Raises:
        InvalidInput: If a known witness's cosignature does not hold, on the note or among those offered.
    """
    signatures, present = list(note.signatures), []
    for witness in witnesses:
        theirs = Note(note.text, (*note.signatures, *offered)).signed_by(witness)
        if theirs:
            others = [one for one in signatures if one not in theirs]
            signatures = [*others, max(theirs, key=lambda one: one.time)]
            present.append(witness)
    return Note(note.text, tuple(signatures)), tuple(present)
