"""`meridian top` on a real terminal: it looks again, ends with q or Ctrl-C, and leaves the terminal as it was."""

import os
import pty
import select
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from tests.node.unreachable_network import write_unreachable_network

FRAME = b"q or Ctrl-C ends"
LEFT = b"\x1b[?1049l"
"""The other screen is left."""


def read_until(terminal: int, enough: bytes, times: int, seen: bytes = b"") -> bytes:
    deadline_s = time.monotonic() + 60
    while seen.count(enough) < times:
        ready, _, _ = select.select([terminal], [], [], 1)
        assert time.monotonic() < deadline_s, seen[-2000:]
        if ready:
            seen += os.read(terminal, 65_536)
    return seen


@pytest.mark.parametrize("key", [b"q", b"\x03"], ids=["q", "ctrl-c"])
def test_it_looks_again_and_leaves_the_terminal_as_it_was(tmp_path: Path, key: bytes) -> None:
    write_unreachable_network(tmp_path)
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 150))
    before = termios.tcgetattr(theirs)
    words = ["-m", "meridian.cli.main", "top", str(tmp_path), "--every-s", "0.2"]
    owns_terminal = (
        "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
        f" os.execv(sys.executable, [sys.executable, *{words!r}])"
    )
    shown = subprocess.Popen(
        [sys.executable, "-c", owns_terminal],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm"},
    )
    try:
        seen = read_until(ours, FRAME, 2)
        assert b"cannot be reached" in seen
        assert termios.tcgetattr(theirs)[3] != before[3], "keys are read one by one meanwhile"
        os.write(ours, key)
        read_until(ours, LEFT, 1)
        assert shown.wait(30) == 0
        assert termios.tcgetattr(theirs) == before
    finally:
        shown.kill()
        shown.wait()
        os.close(ours)
        os.close(theirs)
