"""Our own server processes as children: started, watched, stopped; never left behind.

A child writes JSON lines on its standard output (first the one with ``"event": "ready"``) and its log on standard
error, which goes to a file. Children have a session of their own, so that Ctrl-C reaches them only through us, in
order; where the kernel offers it (Linux), a child also ends when we are killed.
"""

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from meridian.errors import RemoteFault

Event = dict[str, Any]

STOP_TIMEOUT_S: Final = 10.0
_PR_SET_PDEATHSIG: Final = 1

_LIBC: Final = ctypes.CDLL(None) if sys.platform == "linux" else None
"""Loaded here: between fork and exec the loader's lock may be held for ever by a thread that the child does not have."""


def _end_with_parent() -> None:
    """Ask Linux to end this child when its parent dies; runs in the child before exec."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Child:
    """One server process.

    Args:
        name: What people call it, such as ``evaluator-2``.
        command: The program and its arguments.
        log: File that its standard error is appended to.
        on_event: Called with every JSON line that it prints, from a thread of its own.
    """

    def __init__(
        self, name: str, command: Sequence[str], log: Path, on_event: Callable[[str, Event], None]
    ) -> None:
        self.name = name
        self.log = log
        self._on_event = on_event
        self.cpu_s = 0.0
        """Processor seconds of the process and of those that it waited for; known when it has ended."""
        self._ready = threading.Event()
        self.ready_fields: Event = {}
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=file,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - only a system call, no locks
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        self._reader = threading.Thread(target=self._read, name=f"{name}-events", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        with self._counted():
            return self._process.poll() is None

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        """Add to `cpu_s` what the system says about a child that is found to have ended."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        try:
            yield
        finally:
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            self.cpu_s += after.ru_utime - before.ru_utime
            self.cpu_s += after.ru_stime - before.ru_stime

    def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        for line in stdout:
            try:
                event = msgspec.json.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue  # a library's stray print is no event
            if isinstance(event, dict):
                if event.get("event") == "ready":
                    self.ready_fields = event
                    self._ready.set()
                self._on_event(self.name, event)

    def wait_ready(self, timeout_s: float = 60.0) -> Event:
        """Wait for the line that says that the process serves, and return its fields.

        Raises:
            RemoteFault: If it ends before, or takes longer; the log's last lines say why.
        """
        deadline = time.monotonic() + timeout_s
        while not self._ready.wait(0.05):
            if not self.alive or time.monotonic() > deadline:
                raise RemoteFault(self._obituary("did not become ready"))
        return self.ready_fields

    def check(self) -> None:
        """Raise `RemoteFault` if the process has ended."""
        if not self.alive:
            raise RemoteFault(self._obituary("ended"))

    def _obituary(self, what: str) -> str:
        with contextlib.suppress(OSError):
            tail = self.log.read_bytes()[-2000:].decode(errors="replace")
            return (
                f"{self.name} {what} (exit code {self._process.poll()}); end of {self.log}:\n{tail}"
            )
        return f"{self.name} {what} (exit code {self._process.poll()})"

    def kill(self) -> None:
        """End the process at once, as a crash would (SIGKILL)."""
        with self._counted():
            self._process.kill()
            self._process.wait()
        self._close()

    def terminate(self) -> None:
        """Ask the process to end (SIGTERM), without waiting."""
        if self.alive:
            self._process.terminate()

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """End the process cleanly (SIGTERM), or by force when it does not listen."""
        self.terminate()
        with self._counted():
            try:
                self._process.wait(timeout_s)
            except (
                BaseException
            ) as error:  # a second Ctrl-C must not leave the process behind either
                self._process.kill()
                self._process.wait()
                if not isinstance(error, subprocess.TimeoutExpired):
                    raise
        self._close()

    def _close(self) -> None:
        """Take in what the ended process has printed, and close the pipe."""
        self._reader.join(1.0)
        # A process that it left behind may hold the other end; closing under the reader's feet would wait for it.
        if self._process.stdout is not None and not self._reader.is_alive():
            self._process.stdout.close()


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs one of our modules with this interpreter."""
    return [sys.executable, "-m", module, *arguments]
