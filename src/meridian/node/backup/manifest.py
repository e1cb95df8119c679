"""What stands in a backup, and what restoring it costs: pure, apart from any file.

A backup is a tar of ``manifest.json``, ``manifest.sha256`` (its digest in hex) and ``files/<path>`` in the manifest's order.
"""

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Final, Literal, Self

import msgspec

from meridian.errors import InvalidInput

PATH_BYTES_MAX: Final = 1024
FILES_MAX: Final = 4_000_000


class Kind(enum.StrEnum):
    """How a file was copied, and what it means to bring it back."""

    FILE = "file"
    GROWING = "growing"
    """Only appended to: taken up to some moment."""
    DATABASE = "database"
    CHAIN = "chain"
    """The database of an embedded chain."""
    SAFETY = "safety"
    """The database of what a member signed."""
    JOB_LOG = "job-log"
    KEY = "key"
    """A secret of 32 bytes, under a passphrase here and in the clear where it is restored."""
    WALLET = "wallet"
    """A key that is under a passphrase in both places."""
    SIGNED_STATE = "signed-state"
    """The last checkpoint that the key of an epoch log has signed."""
    COSIGNED = "cosigned"
    """What a witness has cosigned."""


KEYS: Final = frozenset({Kind.KEY, Kind.WALLET})


class Risk(enum.StrEnum):
    """What no file can guard against, and the operator must know to be harmless."""

    SECOND_HISTORY = "second-history"
    REWOUND_CHAIN = "rewound-chain"


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file."""

    path: str
    kind: Kind
    mode: Annotated[int, msgspec.Meta(ge=0, le=0o777)]
    bytes: Annotated[int, msgspec.Meta(ge=0)]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Directory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A directory, which may be empty."""

    path: str
    mode: Annotated[int, msgspec.Meta(ge=0, le=0o777)]


class LeftOut(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something of the directory that is not in the backup."""

    path: str
    reason: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A backup's table of contents."""

    version: Literal[1] = 1
    made_at_s: int
    """Seconds since the Unix epoch at which the copy was begun."""
    directories: tuple[Directory, ...]
    """Parents before what is in them."""
    files: tuple[Entry, ...]
    left_out: tuple[LeftOut, ...] = ()

    def encode(self) -> bytes:
        """Return the JSON text."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a manifest.

        Raises:
            InvalidInput: If it is none, or names a path that would leave the directory or stands there twice.
        """
        try:
            manifest = msgspec.json.decode(data, type=cls)
        except msgspec.DecodeError as error:
            raise InvalidInput("manifest.json", str(error)) from None
        if len(manifest.files) > FILES_MAX:
            raise InvalidInput("manifest.json", f"more than {FILES_MAX} files")
        folders = {""}
        seen: set[str] = set()
        parts: tuple[Directory | Entry, ...] = (*manifest.directories, *manifest.files)
        for one in parts:
            check_path(one.path)
            parent = str(PurePosixPath(one.path).parent)
            if one.path in seen or ("" if parent == "." else parent) not in folders:
                raise InvalidInput(one.path, "stands there twice, or outside a known directory")
            seen.add(one.path)
            if isinstance(one, Directory):
                folders.add(one.path)
        return manifest

    def of(self, *kinds: Kind) -> list[Entry]:
        """Return the files of some kinds."""
        return [one for one in self.files if one.kind in kinds]


def check_path(path: str) -> None:
    """Check that a path stays inside the directory that it is relative to.

    Raises:
        InvalidInput: If it is absolute, empty, too long, or has a part that is empty, ``.`` or ``..``.
    """
    parts = path.split("/")
    if (
        any(part in {"", ".", ".."} for part in parts)
        or any(ord(letter) < 32 or letter == "\\" for letter in path)
        or len(path.encode("utf-8", "surrogatepass")) > PATH_BYTES_MAX
    ):
        raise InvalidInput(repr(path), "is no path inside a directory")


@dataclass(frozen=True, slots=True)
class Decision:
    """What a restore does."""

    skipped: tuple[LeftOut, ...]
    """Files of the backup that are not written."""
    notes: tuple[str, ...]
    """What is lost, what guards against signing twice, and what is left to do: whole sentences."""


def decide(manifest: Manifest, accepted: Iterable[Risk], *, with_keys: bool) -> Decision:
    """Return what is restored of a backup, and what the operator must know.

    Args:
        manifest: The backup's.
        accepted: The risks that the operator takes.
        with_keys: Whether its keys are restored.

    Raises:
        InvalidInput: If a part of it may sign twice, nothing can guard against that, and the risk was not accepted.
    """
    taken = frozenset(accepted)
    _refuse(manifest, taken)
    skipped: list[LeftOut] = []
    if not with_keys:
        skipped += [
            LeftOut(path=one.path, reason="a key; restored with --with-keys")
            for one in manifest.of(*KEYS)
        ]
    if Risk.SECOND_HISTORY not in taken:
        reason = "what the epoch log's key signed last: an old one would allow a second history"
        skipped += [LeftOut(path=one.path, reason=reason) for one in manifest.of(Kind.SIGNED_STATE)]
    return Decision(tuple(skipped), tuple(_notes(manifest, skipped)))


def _refuse(manifest: Manifest, taken: frozenset[Risk]) -> None:
    for one in manifest.of(Kind.COSIGNED):
        if Risk.SECOND_HISTORY not in taken:
            raise InvalidInput(
                one.path,
                "a witness with an old memory may cosign a second history of a log, and nothing here can guard against"
                " it: begin anew under another name and key, or, if the witness cosigned nothing after the backup,"
                f" say --accept-risk {Risk.SECOND_HISTORY}",
            )
    for one in manifest.of(Kind.CHAIN):
        if Risk.REWOUND_CHAIN not in taken:
            raise InvalidInput(
                one.path,
                "an embedded chain goes back to the time of the backup: payments and reports since then are undone, and"
                " evaluators cannot know for which epochs they have signed: if nobody else keeps what was signed since,"
                f" say --accept-risk {Risk.REWOUND_CHAIN}",
            )


def _notes(manifest: Manifest, skipped: Sequence[LeftOut]) -> Iterable[str]:
    if manifest.of(Kind.SAFETY):
        yield (
            "What members signed after the backup is forgotten. Guarded: they take no part in epochs (or member sets)"
            " that have begun when they are started, and go on with the next."
        )
    if manifest.of(Kind.JOB_LOG):
        yield (
            "Lost: jobs that were acknowledged after the backup. Their senders hold receipts, which prove an omission if"
            " the jobs stay out: have them sent again before their epoch is sealed."
        )
        yield (
            "Guarded: numbers of receipts go on far behind those of the backup, so none is signed twice; the chain and"
            " the epoch log's signed state refuse another commitment for an epoch that was committed already."
        )
    if manifest.of(Kind.SIGNED_STATE) and any(
        one.path == entry.path for one in skipped for entry in manifest.of(Kind.SIGNED_STATE)
    ):
        yield (
            "Not restored: what the epoch log's key signed last. Keep the present file; if it is lost too and no"
            f" epoch was sealed after the backup, restore with --accept-risk {Risk.SECOND_HISTORY}."
        )
    missing = [one.path for one in manifest.left_out if one.reason.startswith("a key")]
    missing += [one.path for one in skipped if one.reason.startswith("a key")]
    if missing:
        yield f"Put back before a start, or fresh ones are made: keys {', '.join(missing)}."
