"""Keeps a site up to date: a thread that follows the chain, rewrites what changed, and tells what that was.

A chain that does not answer for a while is no failure: the site stays as it is, and the reason is shown as `problem`.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final, Protocol

import msgspec

from meridian.errors import MeridianError, StorageFailure
from meridian.node.durable_file import write_durably
from meridian.node.web.complaint_store import ComplaintStore
from meridian.node.web.proven import Verdicts

POLL_S: Final = 1.0
REST: Final = 1.0
"""A look is followed by a rest of so many times its length, so that a large network's site takes half a core at most."""
RETRY_S: Final = 5.0
"""After a problem."""
COMPLAINTS_FILE: Final = "data/complaints.json"

_log = logging.getLogger(__name__)


class Builder(Protocol):
    """What rewrites a site's files."""

    def update(self) -> Collection[int]:
        """Return the epochs whose files it has changed; raises `MeridianError`, and can be called again."""

    def stop(self) -> None:
        """Have an update that is under way end soon; called from another thread."""


class SiteKeeper:
    """The thread.

    Args:
        builder: Rewrites the files of epochs; used by this thread only.
        complaints: Exported into the site.
        verdicts: What proves them; used by this thread only.
        out: The site's directory.
        tell: Called with the epochs whose files have changed, None where that is not one epoch's; from this thread.
    """

    def __init__(
        self,
        builder: Builder,
        complaints: ComplaintStore,
        verdicts: Verdicts,
        out: Path,
        tell: Callable[[Collection[int | None]], None],
        poll_s: float = POLL_S,
    ) -> None:
        self._builder = builder
        self._complaints = complaints
        self._verdicts = verdicts
        self._out = out
        self._tell = tell
        self._poll_s = poll_s
        self._exported: bytes | None = None
        self._stopped = threading.Event()
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._run, name="site-keeper", daemon=True)
        self.rounds = 0
        """Looks that went well."""
        self.updated_at_s = 0.0
        """When the last of them ended, by the steady clock."""
        self.problem: str | None = None
        """Why the site may be old."""
        self.failure: BaseException | None = None
        """Why the thread has stopped by itself: a fault of ours, or the disk."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; waits for a round that is under way, up to a bound."""
        self._stopped.set()
        self._builder.stop()
        self._hurry.set()
        if self._thread.ident is not None:
            self._thread.join(5.0)

    def join(self) -> None:
        """Wait until the thread has ended."""
        self._thread.join()

    def hurry(self) -> None:
        """Look now: a complaint has come in."""
        self._hurry.set()

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                began_s = time.monotonic()
                good = self._round()
                rest_s = REST * (time.monotonic() - began_s)
                self._hurry.wait(max(rest_s, self._poll_s if good else RETRY_S))
                self._hurry.clear()
        except BaseException as error:  # noqa: BLE001 - kept, logged, and the process ends with it
            _log.critical("the site is not kept up to date any more", exc_info=error)
            self.failure = error

    def _round(self) -> bool:
        try:
            changed: set[int | None] = set(self._builder.update())
            if self._export():
                changed.add(None)
        except StorageFailure:
            raise
        except MeridianError as error:
            if str(error) != self.problem:
                _log.warning("the site may be old: %s", error)
            self.problem = str(error)
            return False
        self.problem = None
        self.rounds += 1
        self.updated_at_s = time.monotonic()
        if changed:
            self._tell(changed)
        return True

    def _export(self) -> bool:
        """Write the complaints into the site if they have changed; returns whether they had."""
        self._complaints.prove(self._verdicts.new())
        body = msgspec.json.encode([one.document() for one in self._complaints.newest()])
        path = self._out / COMPLAINTS_FILE
        if body == self._exported and path.is_file():
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, body + b"\n")
        first, self._exported = self._exported is None, body
        return not first
