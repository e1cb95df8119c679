"""The jobs of an epoch on their way from a server to the coordinator, which seals them.

The server closes the epoch and answers how many groups and jobs it has of it; then the coordinator fetches the groups, a
part at a time, into a job log of its own below ``handed/<epoch>/<server>``, and marks it complete when all is durable.

    part    (length u32 | CRC-32 u32 | payload of a group frame), one behind the other

Law: an epoch is sealed only from complete logs, and a log is complete only with exactly as many jobs as the server was
granted (`measure.claims`). So a server that is away keeps its epoch waiting, and nothing that it acknowledged is lost. The
log stays until the epoch is committed, and so does the server's own.
"""

import json
import logging
import shutil
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from meridian.errors import InvalidInput, MeridianError, RemoteFault, StorageFailure
from meridian.node.control.control import ControlStore, EpochState
from meridian.node.durable_file import read_whole, write_durably
from meridian.node.measure.addresses import Addresses
from meridian.node.measure.connection import ServiceConnection
from meridian.node.measure.frames import Kind, batch_entries
from meridian.node.measure.job_log import FrameRef, JobLog
from meridian.node.measure.journal import Journal
from meridian.node.measure.log_reader import LogReader
from meridian.primitives.checksum import crc32

PART_BYTES: Final = 32 << 20
"""A part ends with the group that passes it."""
PATIENCE_S: Final = 5.0
TIMEOUT_S: Final = 60.0

_log = logging.getLogger(__name__)
_HEAD: Final = struct.Struct(">II")


@dataclass(frozen=True, slots=True)
class Handed:
    """A complete log of another server."""

    directory: Path
    refs: Sequence[FrameRef]
    duplicates: int


def part_of(journal: Journal, epoch: int, first: int) -> bytes:
    """Return the groups of a closed epoch from the one with number `first` on, as many as fit a part."""
    parts: list[bytes | memoryview] = []
    size = 0
    with LogReader(journal.directory) as reader:
        for ref in journal.frames_of(epoch)[first:]:
            payload = reader.read(ref).payload
            parts += [_HEAD.pack(len(payload), crc32(payload)), payload]
            size += len(payload)
            if size >= PART_BYTES:
                break
    return b"".join(parts)


def groups_in(part: bytes) -> Iterator[memoryview]:
    """Yield the payloads of a part.

    Raises:
        RemoteFault: If it was damaged on the way.
    """
    data, at = memoryview(part), 0
    while at < len(data):
        if at + _HEAD.size > len(data):
            raise RemoteFault("a part of a log ends in the middle of a group")
        length, crc = _HEAD.unpack_from(data, at)
        payload = data[at + _HEAD.size : at + _HEAD.size + length]
        if len(payload) != length or crc32(payload) != crc:
            raise RemoteFault("a group of another server's log is damaged")
        yield payload
        at += _HEAD.size + length


class HandOver:
    """Fetches what other servers have of an epoch; used by the settling thread alone.

    Args:
        journal: The coordinator's.
        control: Told how far epochs are.
        addresses: Of the servers.
        token: What servers show one another.
        directory: For what is fetched; made when needed.
        bytes_max: Bound of one server's log of an epoch.
        gone: Numbers of servers that never come back: what they acknowledged is lost.
    """

    def __init__(
        self,
        journal: Journal,
        control: ControlStore,
        addresses: Addresses,
        token: str,
        *,
        directory: Path,
        bytes_max: int,
        gone: frozenset[int] = frozenset(),
    ) -> None:
        self._journal, self._control, self._addresses = journal, control, addresses
        self._headers = {"Authorization": f"Bearer {token}"}
        self._directory, self._bytes_max, self._gone = directory, bytes_max, gone

    def collect(self, epoch: int, going_on: Callable[[], None]) -> list[Handed]:
        """Close an epoch everywhere, and return what the servers have of it, by number.

        Raises:
            RemoteFault: While a server is away, or has other jobs than it was granted.
            StorageFailure: If the disk refuses.
        """
        self._control.advance(epoch, EpochState.CLOSED)
        handed = []
        for server, jobs in sorted(self._journal.granted(epoch).items()):
            if server in self._gone:
                _log.critical("epoch %d lacks %d jobs: server %d is gone", epoch, jobs, server)
            else:
                handed.append(self._handed(epoch, server, going_on))
        return handed

    def published(self, epoch: int, root: bytes) -> None:
        """Note that an epoch is published."""
        self._control.advance(epoch, EpochState.SEALED, root)

    def committed(self, epoch: int, root: bytes) -> None:
        """Note that an epoch is committed, and delete what was fetched for it."""
        self._control.advance(epoch, EpochState.COMMITTED, root)
        shutil.rmtree(self._directory / f"{epoch:06d}", ignore_errors=True)

    def _handed(self, epoch: int, server: int, going_on: Callable[[], None]) -> Handed:
        directory = self._directory / f"{epoch:06d}" / str(server)
        complete = directory / "complete"
        if not complete.exists():
            try:
                said = self._fetch(epoch, server, directory, going_on)
            except (StorageFailure, RemoteFault):
                raise
            except MeridianError as error:
                raise RemoteFault(f"server {server} does not hand over: {error}") from error
            write_durably(complete, json.dumps(said).encode())
        log = JobLog(directory, self._bytes_max)
        try:
            refs = [frame.ref for frame in log.recover()]
        finally:
            log.close()
        return Handed(directory, refs, int(json.loads(read_whole(complete))["duplicates"]))

    def _fetch(
        self, epoch: int, server: int, directory: Path, going_on: Callable[[], None]
    ) -> dict[str, Any]:
        """Fetch a server's groups of an epoch into a fresh log; returns what the server said of them."""
        connection = ServiceConnection(
            self._addresses.url(server), patience_s=PATIENCE_S, timeout_s=TIMEOUT_S
        )
        path = f"/v1/servers/epochs/{epoch}"
        shutil.rmtree(directory, ignore_errors=True)
        log = JobLog(directory, self._bytes_max)
        try:
            list(log.recover())
            said: dict[str, Any] = json.loads(
                connection.request("POST", f"{path}/close", b"", self._headers)
            )
            groups = jobs = 0
            while groups < said["groups"]:
                going_on()
                part = connection.request("GET", f"{path}/groups/{groups}", None, self._headers)
                before = groups
                for payload in groups_in(part):
                    if log.is_long:
                        log.roll()
                    log.append(Kind.GROUP, payload)
                    groups += 1
                    jobs += _jobs_in(payload, epoch)
                if groups == before:
                    raise RemoteFault(f"server {server} has lost groups of epoch {epoch}")
            log.sync()
        finally:
            log.close()
            connection.close()
        granted = self._journal.granted(epoch).get(server, 0)
        if jobs != granted:
            raise RemoteFault(
                f"server {server} hands over {jobs} jobs of epoch {epoch}, and was granted {granted}"
            )
        return said


def _jobs_in(payload: memoryview, epoch: int) -> int:
    return sum(dict(entry.epochs).get(epoch, 0) for entry in batch_entries(payload))


def require_closed(journal: Journal, epoch: int) -> None:
    """Refuse to hand over an epoch that still takes jobs.

    Raises:
        InvalidInput: If it does.
    """
    if epoch >= journal.open_epoch:
        raise InvalidInput("epoch", f"epoch {epoch} is open here")
