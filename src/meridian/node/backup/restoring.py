"""Bringing a backup back, so that whoever starts there signs nothing twice."""

import os
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, Final

from meridian.errors import InvalidInput, StorageFailure
from meridian.node.backup.archive import Receive, read
from meridian.node.backup.manifest import Decision, Entry, Kind, Manifest, Risk, decide
from meridian.node.durable_file import sync_directory
from meridian.node.encrypted_key import Passphrase as Ask
from meridian.node.encrypted_key import open_encrypted_key
from meridian.node.keystore import create_private_file
from meridian.node.measure import frames
from meridian.node.measure.job_log import JobLog
from meridian.primitives import dagcbor

RECEIPTS_SKIPPED: Final = 1 << 36
"""How far behind the last known receipt the next one is numbered: nobody has signed so many since the backup (at 6,000 a
second that takes 130 days), and fifteen restores fit below the next server's numbers (`measure.claims.SEQUENCE_BITS`)."""


def restore(
    file: Path, target: Path, accepted: Iterable[Risk] = (), passphrase: Ask | None = None
) -> tuple[Manifest, Decision]:
    """Verify a backup, then write it into a new directory.

    Args:
        file: The backup.
        target: Must not exist.
        accepted: Risks that the operator takes.
        passphrase: Of its keys; without one they are not restored.

    Raises:
        InvalidInput: If the target exists, the backup is damaged (then nothing is written), the passphrase is wrong, or
            a part of it may sign twice and the risk was not accepted.
        StorageFailure: If the disk refused.
    """
    if os.path.lexists(target):
        raise InvalidInput("DIR", f"{target} exists already; nothing is overwritten")
    manifest = read(file)
    decision = decide(manifest, accepted, with_keys=passphrase is not None)
    skipped = {one.path for one in decision.skipped}
    work = Path(tempfile.mkdtemp(".tmp", f".{target.name}.", target.parent))
    try:
        for folder in manifest.directories:
            (work / folder.path).mkdir(mode=0o700)
        read(file, lambda again: _writer(work, manifest, again, skipped))
        for entry in manifest.of(Kind.KEY):
            if entry.path not in skipped and passphrase is not None:
                _open_key(work / entry.path, passphrase())
        for folder_path in {Path(entry.path).parent for entry in manifest.of(Kind.JOB_LOG)}:
            skip_receipt_numbers(work / folder_path)
        _finish(work, manifest)
        work.rename(target)
        sync_directory(target.parent)
    except OSError as error:
        raise StorageFailure(f"{error.filename or target}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return manifest, decision


def _writer(work: Path, manifest: Manifest, again: Manifest, skipped: set[str]) -> Receive:
    if again != manifest:
        raise InvalidInput("manifest.json", "has changed while it was read")

    def opening(entry: Entry) -> AbstractContextManager[IO[bytes] | None]:
        if entry.path in skipped:
            return nullcontext()
        descriptor = os.open(
            work / entry.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600
        )
        os.fchmod(descriptor, entry.mode)
        return os.fdopen(descriptor, "wb")

    return opening


def _open_key(path: Path, passphrase: str) -> None:
    secret = open_encrypted_key(path, passphrase).secret
    path.unlink()
    create_private_file(path, secret.hex().encode() + b"\n")


def _finish(work: Path, manifest: Manifest) -> None:
    for folder in reversed(manifest.directories):
        sync_directory(work / folder.path)
        (work / folder.path).chmod(folder.mode)
    sync_directory(work)


def skip_receipt_numbers(directory: Path) -> None:
    """Let the receipts of a restored job log go on with numbers that were never given out.

    Two receipts with one number are proof against the aggregator (`meridian.disputes.promises`), and those that were
    signed after the backup are not known here.

    Raises:
        StorageFailure: If the log is damaged.
    """
    state = {"sequence": 0, "clock_us": 0, "open_epoch": -1}
    log = JobLog(directory, 1 << 62)
    try:
        for frame in log.recover():
            if frame.kind == frames.Kind.GROUP:
                state["sequence"] = frames.GroupFrame.decode(frame.payload).batches[-1].sequence + 1
                continue
            document = frames.control_document(frame)
            if frame.kind == frames.Kind.STATE:
                state = {name: document[name] for name in state}
            elif frame.kind == frames.Kind.SEAL:
                state["open_epoch"] = document["epoch"] + 1
            elif frame.kind == frames.Kind.CLOCK:
                state["clock_us"] = document["now_us"]
        if state["open_epoch"] < 0:
            return  # no frame: nothing was ever promised
        if not log.begins_file:
            log.roll()
        state["sequence"] += RECEIPTS_SKIPPED
        log.append(frames.Kind.STATE, dagcbor.encode(state))
        log.sync()
    finally:
        log.close()
        (directory / "lock").unlink(missing_ok=True)
