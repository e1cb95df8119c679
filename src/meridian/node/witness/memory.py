"""What a witness remembers: for each log the latest checkpoint that it has cosigned, in one file.

Law: a witness without its memory would cosign a second history. The file is made once, by `create`, and a witness whose
file is gone does not start.
"""

from pathlib import Path
from typing import Any, Final

import msgspec

from meridian.errors import InvalidInput, NotFound, StorageFailure
from meridian.measure.epoch_log import Checkpoint
from meridian.measure.signed_note import Note
from meridian.node.durable_file import held_lock, read_whole, write_durably

MEMORY_BYTES_MAX: Final = 1 << 28


class Memory:
    """The file, held by one process at a time.

    Args:
        path: The file; `create` has made it.

    Raises:
        NotFound: If it is not there.
        StorageFailure: If another process holds it, or it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = held_lock(
            path.with_name(f"{path.name}.lock"), "another process witnesses here"
        )
        self._notes = _read(path)

    @staticmethod
    def create(path: Path) -> None:
        """Make an empty memory; only for a key that has never cosigned."""
        write_durably(path, b"{}\n")

    def latest(self, origin: str) -> Checkpoint | None:
        """Return the latest cosigned checkpoint of a log."""
        note = self.note(origin)
        return None if note is None else Checkpoint.parse(note.text)

    def note(self, origin: str) -> Note | None:
        """Return the latest cosigned checkpoint with the log's signatures and ours."""
        text = self._notes.get(origin)
        return None if text is None else Note.parse(text.encode())

    def remember(self, origin: str, note: Note) -> None:
        """Replace the latest checkpoint of a log; when this returns, it is durable.

        Raises:
            StorageFailure: If the disk refuses: nothing was cosigned.
        """
        notes = self._notes | {origin: note.encode().decode()}
        write_durably(self._path, msgspec.json.format(msgspec.json.encode(notes), indent=1) + b"\n")
        self._notes = notes

    def close(self) -> None:
        """Let go of the file."""
        self._lock.close()


def _read(path: Path) -> dict[str, str]:
    try:
        notes: dict[str, Any] = msgspec.json.decode(
            read_whole(path, MEMORY_BYTES_MAX), type=dict[str, str]
        )
        for origin, text in notes.items():
            if Checkpoint.parse(Note.parse(text.encode()).text).origin != origin:
                raise InvalidInput(origin, "another log's checkpoint")
    except NotFound:
        raise NotFound(
            f"{path}: gone; a witness without its memory might cosign a second history: bring it back, or begin anew "
            f"under another name and key"
        ) from None
    except (msgspec.DecodeError, InvalidInput) as error:
        raise StorageFailure(f"{path}: damaged: {error}") from error
    return notes
