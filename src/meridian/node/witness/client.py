"""What a log does with its witnesses: ask each after a checkpoint, and put what they cosign below it.

Law: cosignatures of keys that were not asked for are dropped, and a witness's own that does not hold is its fault. A witness
that has seen more of this log than its keeper knows ends everything: an older copy of the log was restored.
"""

import concurrent.futures
import http.client
import logging
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from meridian.errors import InvalidInput, MeridianError, RemoteFault, StorageFailure
from meridian.measure.epoch_log import Checkpoint
from meridian.measure.signed_note import (
    NOTE_BYTES_MAX,
    Note,
    Signature,
    Verifier,
    cosigned,
    parse_signatures,
)
from meridian.measure.tiles import TileReader
from meridian.measure.witnessing import AddCheckpoint

SIZE_TYPE: Final = "text/x.tlog.size"
ANSWER_BYTES_MAX: Final = NOTE_BYTES_MAX

_log = logging.getLogger(__name__)


class Ahead(StorageFailure):
    """A witness has cosigned more of the log than its keeper has."""


class WitnessClient:
    """One witness.

    Args:
        url: Its submission prefix, http or https.
        verifier: Its key.
        timeout_s: How long one step of the network may take.

    Raises:
        InvalidInput: If the URL is neither http nor https.
    """

    def __init__(self, url: str, verifier: Verifier, timeout_s: float) -> None:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise InvalidInput("witnesses", f"{url!r} is not an http or https URL")
        self.verifier = verifier
        self._url = f"{url.rstrip('/')}/add-checkpoint"
        self._timeout_s = timeout_s
        self._seen = 0
        """Size of the latest checkpoint that it has cosigned, as far as we know."""

    def cosign(self, note: Note, reader: TileReader) -> tuple[Signature, ...]:
        """Return the witness's cosignature on a checkpoint of a tree.

        Raises:
            RemoteFault: If it does not answer, refuses, or answers outside the protocol.
            Ahead: If it has seen a larger tree under this name.
        """
        new = Checkpoint.parse(note.text)
        for old_size in self._guesses(new):
            path = reader.consistency_path(old_size) if 0 < old_size < new.size else []
            request = AddCheckpoint(old_size, tuple(path), note.encode())
            status, kind, body = self._post(request.encode())
            if status == http.client.CONFLICT and kind == SIZE_TYPE:
                self._seen = self._size(body)
                if self._seen > new.size:
                    raise Ahead(
                        f"{self.verifier.name} has cosigned {new.origin} at size {self._seen}, but here it has "
                        f"{new.size} entries: an older copy was restored"
                    )
                continue
            if status != http.client.OK:
                raise RemoteFault(f"{self._url}: {status} {body[:200].decode(errors='replace')!r}")
            self._seen = new.size
            return self._own(note, body)
        raise RemoteFault(f"{self._url}: it does not settle on a size")

    def _guesses(self, new: Checkpoint) -> Iterator[int]:
        """Yield what it may have seen: what it answers to one guess is the next, in case others ask it meanwhile."""
        yield min(self._seen, new.size)
        yield self._seen
        yield self._seen

    def _own(self, note: Note, body: bytes) -> tuple[Signature, ...]:
        try:
            offered = Note(note.text, parse_signatures(body.decode()))
            found = offered.signed_by(self.verifier)
        except (InvalidInput, UnicodeDecodeError) as error:
            raise RemoteFault(f"{self._url}: {error}") from error
        if not found:
            raise RemoteFault(f"{self._url}: {self.verifier.name} has not signed its answer")
        return found

    def _size(self, body: bytes) -> int:
        text = body[:32].decode("ascii", errors="replace")
        if not text.endswith("\n") or not text[:-1].isdigit():
            raise RemoteFault(f"{self._url}: {text!r} is not a size")
        return int(text)

    def _post(self, body: bytes) -> tuple[int, str, bytes]:
        request = urllib.request.Request(self._url, body, {"Content-Type": "text/plain"})  # noqa: S310 - see __init__
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as answer:  # noqa: S310
                return _read(answer)
        except urllib.error.HTTPError as error:
            with error:
                return _read(error)
        except (OSError, http.client.HTTPException) as error:
            raise RemoteFault(f"{self._url}: {error}") from error


def _read(answer: Any) -> tuple[int, str, bytes]:
    kind = answer.headers.get("Content-Type", "")
    return answer.status, kind, answer.read(ANSWER_BYTES_MAX)


@dataclass
class Witnesses:
    """The witnesses of one log, asked all at once.

    Args:
        clients: The witnesses.
        quorum: How many must have cosigned.
        required: Whether a checkpoint without the quorum is held back; else it is published as it is.
        wait_s: How long all of them may take.
    """

    clients: Sequence[WitnessClient]
    quorum: int
    required: bool
    wait_s: float
    cosigned: int = 0
    """How many are on the latest checkpoint."""
    problems: dict[str, str] = field(default_factory=dict)
    """Why the others are not, by the witness's name."""

    @property
    def satisfied(self) -> bool:
        """Whether the latest checkpoint has the quorum."""
        return self.cosigned >= self.quorum

    def document(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        return {
            "asked": len(self.clients),
            "quorum": self.quorum,
            "required": self.required,
            "cosigned": self.cosigned,
            "problems": dict(self.problems),
        }

    def cosign(self, note: Note, reader: TileReader) -> Note:
        """Return the note with the cosignatures that came in time.

        Raises:
            RemoteFault: If the quorum is required, and was not reached.
            Ahead: If a witness has seen a larger tree.
        """
        offered, self.problems = self._ask(note, reader)
        verifiers = [client.verifier for client in self.clients]
        note, present = cosigned(note, offered, verifiers)
        self.cosigned = len(present)
        for one in present:
            self.problems.pop(one.name, None)
        if not self.satisfied:
            _log.warning("checkpoint without quorum", extra=self.document())
            if self.required:
                raise RemoteFault(
                    f"{self.cosigned} of {self.quorum} witnesses have cosigned: {self.problems}"
                )
        return note

    def _ask(self, note: Note, reader: TileReader) -> tuple[list[Signature], dict[str, str]]:
        pool = concurrent.futures.ThreadPoolExecutor(len(self.clients), "witness")
        try:
            asked = {pool.submit(one.cosign, note, reader): one for one in self.clients}
            done, late = concurrent.futures.wait(asked, self.wait_s)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        offered: list[Signature] = []
        problems = {asked[one].verifier.name: f"no answer in {self.wait_s:g} s" for one in late}
        for one in done:
            try:
                offered += one.result()
            except Ahead:
                raise
            except MeridianError as error:
                problems[asked[one].verifier.name] = str(error)
        return offered, problems
