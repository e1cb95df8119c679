"""What a log asks of a witness, and what a witness may answer (C2SP tlog-witness): pure, without the network or the disk.

    request  "old " <size> LF {base64 hash LF} LF <checkpoint>

Law: a witness cosigns a checkpoint only if a key that it trusts for this log has signed it, and it extends the latest one
that the witness has cosigned.

Source: https://c2sp.org/tlog-witness.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from meridian.errors import InvalidInput
from meridian.measure.epoch_log import SIZE_MAX, Checkpoint, parse_hash
from meridian.measure.signed_note import NOTE_BYTES_MAX, Note, Verifier
from meridian.primitives import rfc6962
from meridian.primitives.hashing import EMPTY_TREE

PROOF_HASHES_MAX: Final = 63
REQUEST_BYTES_MAX: Final = NOTE_BYTES_MAX + 64 + PROOF_HASHES_MAX * 45

_OLD: Final = re.compile(r"old (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request to cosign a checkpoint."""

    old_size: int
    """Size of the checkpoint that the witness has cosigned last, as the log believes."""
    proof: tuple[bytes, ...]
    """That the tree extends the one of `old_size`; empty where that is 0 or the same size."""
    note: bytes
    """The signed checkpoint."""

    def encode(self) -> bytes:
        """Return the body of the request."""
        hashes = "".join(f"{base64.b64encode(one).decode()}\n" for one in self.proof)
        return f"old {self.old_size}\n{hashes}\n".encode() + self.note

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read the body of a request.

        Raises:
            InvalidInput: If it is malformed.
        """
        head, split, note = body.partition(b"\n\n")
        if len(body) > REQUEST_BYTES_MAX or not split:
            raise InvalidInput("body", "an old size, hashes, an empty line and a note are needed")
        try:
            first, *hashes = head.decode("ascii").split("\n")
        except UnicodeDecodeError:
            raise InvalidInput("body", "it is not ASCII above the note") from None
        found = _OLD.fullmatch(first)
        if found is None or int(found[1]) > SIZE_MAX:
            raise InvalidInput("old", "the first line must be an old size")
        if len(hashes) > PROOF_HASHES_MAX:
            raise InvalidInput("proof", f"more than {PROOF_HASHES_MAX} hashes")
        return cls(int(found[1]), tuple(parse_hash(one, "proof") for one in hashes), note)


class Refused(InvalidInput):
    """A witness does not cosign; `status` is the one that the protocol has for the reason."""

    def __init__(self, status: int, field: str, reason: str, size: int | None = None) -> None:
        super().__init__(field, reason)
        self.status = status
        self.size = size
        """Of the latest checkpoint that was cosigned, where the log did not know it."""


def stated(request: AddCheckpoint) -> tuple[Note, Checkpoint]:
    """Return what a request wants cosigned, nothing of it verified.

    Raises:
        Refused: If it is no checkpoint.
    """
    try:
        note = Note.parse(request.note)
        return note, Checkpoint.parse(note.text)
    except InvalidInput as error:
        raise Refused(400, error.field, error.reason) from error


def require_signed(note: Note, keys: Sequence[Verifier]) -> None:
    """Check that a key that is trusted for this log has signed a note.

    Raises:
        Refused: If none has, or a signature of one does not hold.
    """
    try:
        signed = [note.signed_by(key) for key in keys]
    except InvalidInput as error:
        raise Refused(403, error.field, error.reason) from error
    if not any(signed):
        raise Refused(403, "checkpoint", "no key that is trusted for this log has signed it")


def require_growth(request: AddCheckpoint, new: Checkpoint, latest: Checkpoint | None) -> None:
    """Check that a checkpoint extends the latest one that was cosigned.

    Raises:
        Refused: If it does not, or the request does not show it.
    """
    old_size = 0 if latest is None else latest.size
    if request.old_size > new.size:
        raise Refused(400, "old", f"{request.old_size} is beyond the checkpoint's size")
    if request.old_size != old_size:
        raise Refused(409, "old", f"the latest cosigned size is {old_size}", size=old_size)
    if latest is not None and new.size == old_size and new.root != latest.root:
        raise Refused(409, "checkpoint", f"another root was cosigned at size {old_size}")
    if old_size in (0, new.size):
        grown = not request.proof and (new.size > 0 or new.root == EMPTY_TREE)
    else:
        assert latest is not None, "its size is not 0"
        grown = rfc6962.verify_consistency(old_size, new.size, request.proof, latest.root, new.root)
    if not grown:
        raise Refused(422, "proof", "it does not lead from the latest cosigned tree to this one")
