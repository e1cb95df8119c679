"""`meridian demo --keep` as a process: a real network with its explorer, on a directory of the test's own."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 30.0
SETTINGS = {
    "jobs": 3_000,
    "nodes": 24,
    "epochs": 2,
    "claims": 6,
    "challenge-seconds": 5,
    "live-seconds": 4,
    "web-port": 0,
}


@dataclass
class KeptDemo:
    """A demo that goes on."""

    data_dir: Path
    process: subprocess.Popen[str]
    url: str = ""
    lines: list[str] = field(default_factory=list)
    started_s: float = field(default_factory=time.monotonic)
    url_after_s: float = 0.0
    """When it said where the explorer is."""
    installed_after_s: float = 0.0
    """When its own environment was made, if it had none."""
    done_after_s: float = 0.0
    """When the first epochs were paid and verified."""

    def wait(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until the first epochs are paid."""
        self._until(lambda: self.done_after_s > 0, timeout_s)

    def wait_for_explorer(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until it says where the explorer is."""
        self._until(lambda: self.url_after_s > 0, timeout_s)

    def _until(self, condition: Callable[[], bool], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert self.process.poll() is None, "".join(self.lines)[-3000:]
            assert time.monotonic() < deadline, "".join(self.lines)[-3000:]
            time.sleep(0.05)

    def read(self) -> None:
        """Take in what it says, until it ends."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            after_s = time.monotonic() - self.started_s
            if line.startswith("Successfully installed meridian-ie"):
                self.installed_after_s = after_s
            if found := re.search(r"the explorer: (http://\S+)", line):
                self.url = found[1]
                self.url_after_s = self.url_after_s or after_s
            if "everything keeps running" in line:
                self.done_after_s = after_s

    def stop(self) -> int:
        """Ctrl-C; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@contextmanager
def kept_demo(
    data_dir: Path,
    command: Sequence[str] = (sys.executable, "-m", "meridian.cli.main"),
    settings: Mapping[str, int | str] = SETTINGS,
) -> Iterator[KeptDemo]:
    """A running demo with these options."""
    options = [f"--{name}={value}" for name, value in settings.items()]
    words = [*command, "demo", "--keep", "--data-dir", str(data_dir), *options]
    with kept(data_dir, words) as demo:
        yield demo


@contextmanager
def kept(data_dir: Path, words: Sequence[str], cwd: Path | None = None) -> Iterator[KeptDemo]:
    """The demo that this command line starts; `data_dir` is what it names."""
    process = subprocess.Popen(
        words,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "COLUMNS": "200", "PYTHONUNBUFFERED": "1"},
    )
    demo = KeptDemo(data_dir, process)
    reader = threading.Thread(target=demo.read, daemon=True)
    reader.start()
    try:
        yield demo
    finally:
        demo.stop()
        reader.join(5.0)
        assert process.stderr is not None
        process.stderr.close()
