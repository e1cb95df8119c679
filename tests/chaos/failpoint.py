"""Failpoints and the proof of "durable before sent", wrapped around the log and the links of a chaos node.

A failpoint is named in ``MERIDIAN_FAILPOINT``: ``persist:before:7`` ends the process (SIGKILL) before its seventh
transaction, ``send:after:vote:2`` just after its second VOTE was handed to the links. Kinds of `persist` are those of
records, kinds of `send` those of messages, in lower case.

Production code knows nothing of this. What is written here is plain: every signed statement goes to a file before it
goes to the links, so the checker sees what the process said up to its last instant.
"""

import json
import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from meridian.ephemera import frame as frames
from meridian.ephemera.block import Certificate
from meridian.ephemera.context import Context, Kind
from meridian.ephemera.effects import Record
from meridian.ephemera.evidence import DOUBLE_KINDS
from meridian.ephemera.journal import read_context
from meridian.ephemera.message import (
    ReportSignature,
    Reveal,
    ViewChange,
    lock_digest,
    propose_digest,
    report_digest,
)
from meridian.errors import StorageFailure
from meridian.node.effect_driver import Transport
from meridian.node.safety_log import SafetyLog
from meridian.primitives.ids import Address

VARIABLE: Final = "MERIDIAN_FAILPOINT"
SEND_GRACE_S: Final = 0.003
"""After a send the process lives so long, that the links may hand the bytes to the kernel, or half of them."""

SIGNED: Final = DOUBLE_KINDS | {Kind.REPORT_SIG, Kind.REVEAL}
"""Kinds that carry a signature of their member; a REVEAL carries that of its ROW."""
FRAME_RECORDS: Final = frozenset({"row", "have", "propose", "echo", "view_change", "report"})


Said = tuple[str, int, str]
"""(kind, view, digest): one statement."""


class NotDurable(Exception):
    """A statement was about to be sent that no durable record holds: the fault that all this looks for."""


class Failpoint:
    """The one place at which this process is to die, or nowhere."""

    def __init__(self, text: str | None) -> None:
        self._where: tuple[str, str, str] | None = None
        self._left = 0
        if text:
            point, when, *kind, count = text.split(":")
            assert point in {"persist", "send"}
            assert when in {"before", "after"}
            self._where = (point, when, kind[0] if kind else "")
            self._left = int(count)

    def reached(self, point: str, when: str, kinds: Sequence[str]) -> bool:
        """Count one passage; true at the one that is meant."""
        if self._where is None or self._where[:2] != (point, when):
            return False
        if self._where[2] and self._where[2] not in kinds:
            return False
        self._left -= 1
        return self._left == 0


def die() -> None:
    """End this process as a crash does."""
    os.kill(os.getpid(), signal.SIGKILL)


def append(descriptor: int, line: dict[str, Any]) -> None:
    """Write one JSON line; what a killed process wrote is there.

    Raises:
        StorageFailure: If the disk refuses.
    """
    data = json.dumps(line).encode() + b"\n"
    try:
        written = os.write(descriptor, data)
    except OSError as error:
        raise StorageFailure(f"results: {error.strerror}") from error
    if written != len(data):
        raise StorageFailure("results: written in part")


def open_lines(path: Path) -> int:
    """Open a file of JSON lines to append to; a half line of a crash is closed."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    end = os.lseek(descriptor, 0, os.SEEK_END)
    if end and os.pread(descriptor, 1, end - 1) != b"\n":
        os.write(descriptor, b"\n")
    return descriptor


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines; half a line is what a crash left of one."""
    lines = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return lines


class WatchedLog:
    """The safety log with failpoints; remembers what is durable."""

    def __init__(
        self,
        log: SafetyLog,
        failpoint: Failpoint,
        context: Callable[[int], Context],
        own: Address,
    ) -> None:
        self._log = log
        self._own = own
        self._failpoint = failpoint
        self._context = context
        self._durable: dict[int, set[Said]] = {}
        self._new: dict[int, set[Said]] = {}
        """Of these, what this process wrote; the rest it found."""
        self.decided_before: set[int] = set()

    def load(self, epoch: int) -> tuple[Record, ...]:
        """See `SafetyLog.load`."""
        records = self._log.load(epoch)
        self._note(records)
        if any(record.kind == "decided" for record in records):
            self.decided_before.add(epoch)
        return records

    def records(self, epoch: int, kind: str, key: bytes | None = None) -> tuple[Record, ...]:
        """See `SafetyLog.records`."""
        return self._log.records(epoch, kind, key)

    def forget_before(self, epoch: int) -> None:
        """See `SafetyLog.forget_before`."""
        self._log.forget_before(epoch)

    def write(self, records: Sequence[Record]) -> None:
        """See `SafetyLog.write`."""
        kinds = [record.kind for record in records]
        if self._failpoint.reached("persist", "before", kinds):
            die()
        self._log.write(records)
        for epoch, said in self._note(records):
            self._new.setdefault(epoch, set()).add(said)
        if self._failpoint.reached("persist", "after", kinds):
            die()

    def only_observes(self, epoch: int) -> bool:
        """Whether we sign nothing in an epoch: our own statements in it are old ones that others told us."""
        own = self._log.records(epoch, "context")
        return bool(own) and read_context(self._context(epoch), self._own, own[0].value)

    def _note(self, records: Sequence[Record]) -> list[tuple[int, Said]]:
        """Take in which statements the records hold, and return them; a VOTE is held by its lock."""
        found: list[tuple[int, Said]] = []
        for record in records:
            if record.kind in FRAME_RECORDS:
                message = frames.decode(record.value, self._context(record.epoch))
                found.append((record.epoch, said_by(message)))
            elif record.kind == "lock":
                lock = Certificate.decode(record.value)
                found.append((record.epoch, ("Vote", lock.view, lock.block_hash.hex())))
        for epoch, said in found:
            self._durable.setdefault(epoch, set()).add(said)
        return found

    def is_new(self, epoch: int, said: Said) -> bool:
        """Whether this process signed it; the other statements it found in its log."""
        return said in self._new.get(epoch, ())

    def protects(self, epoch: int, said: Said) -> bool:
        """Whether a statement of our own is durable; for a closed epoch the log is read again."""
        if said not in self._durable.get(epoch, ()):
            self._note(self._log.load(epoch))
        return said in self._durable.get(epoch, ())

    def forget(self, epoch: int) -> None:
        """Forget what was noted of a closed epoch and of older ones."""
        for statements in (self._durable, self._new):
            for old in [known for known in statements if known <= epoch]:
                del statements[old]
        self.decided_before = {known for known in self.decided_before if known > epoch}


class WatchedTransport:
    """The links with failpoints; writes down what leaves."""

    def __init__(
        self,
        links: Transport,
        log: WatchedLog,
        failpoint: Failpoint,
        own: int,
        statements: int,
        context: Callable[[int], Context],
    ) -> None:
        self._links = links
        self._log = log
        self._failpoint = failpoint
        self._own = own
        self._statements = statements
        self._context = context
        self._written: dict[int, set[Said]] = {}

    def send(
        self, address: Address, frame: bytes, bulk: bool = False, slot: bytes | None = None
    ) -> None:
        """See `Links.send`."""
        kinds = (Kind(frame[1]).name.lower(),)
        if self._failpoint.reached("send", "before", kinds):
            die()
        if Kind(frame[1]) in SIGNED:
            self._write_down(frame)
        self._links.send(address, frame, bulk, slot)
        if self._failpoint.reached("send", "after", kinds):
            threading.Timer(SEND_GRACE_S, die).start()

    def _write_down(self, frame: bytes) -> None:
        epoch = frames.epoch_of(frame)
        message = frames.decode(frame, self._context(epoch))
        if getattr(message, "member", None) != self._own:
            return  # passed on for somebody else
        said = said_by(message)
        written = self._written.setdefault(epoch, set())
        if said in written:
            return
        if self._log.protects(epoch, said):
            new = self._log.is_new(epoch, said)
            line = {"epoch": epoch, "run": os.getpid(), "new": new}
            append(self._statements, line | statement(message))
        elif not self._log.only_observes(epoch):
            raise NotDurable(f"epoch {epoch}: {said}")
        written.add(said)

    def forget(self, epoch: int) -> None:
        """Forget a closed epoch, and what was answered about older ones."""
        for old in [known for known in self._written if known <= epoch]:
            del self._written[old]


def said_by(message: Any) -> Said:
    """Kind, view and digest of a signed message: what its signature is about."""
    line = statement(message)
    return (line["kind"], line["view"], line["digest"])


def statement(message: Any) -> dict[str, Any]:
    """What a signed message says: kind, view, digest, and the lock of a VIEW_CHANGE."""
    view = getattr(message, "view", 0)
    kind = "Row" if isinstance(message, Reveal) else type(message).__name__
    line: dict[str, Any] = {"kind": kind, "view": view}
    match message:
        case ReportSignature(_, attempt, digest):
            line["digest"] = report_digest(attempt, digest).hex()
            line["attempt"] = attempt.hex()
        case ViewChange():
            lock = message.lock
            line["digest"] = lock_digest(lock).hex()
            line["lock"] = None if lock is None else [lock[0], lock[1].hex()]
        case _ if hasattr(message, "block"):
            line["digest"] = propose_digest(message.block.hash).hex()
        case _ if hasattr(message, "block_hash"):
            line["digest"] = message.block_hash.hex()
        case _:
            line["digest"] = message.digest.hex()
    return line
