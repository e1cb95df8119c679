"""Child processes: ready or dead with its last words, watched, and never left behind."""

import contextlib
import os
import queue
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from meridian.errors import RemoteFault
from meridian.journey.processes import Child, module_command
from meridian.node.process import bound_recursion

READY = 'import json; print(json.dumps({"event": "ready", "port": 7}), flush=True)'
FOREVER = "import signal\nwhile True: signal.pause()"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"

Events = "queue.Queue[tuple[str, dict[str, Any]]]"
Start = Callable[..., Child]


@pytest.fixture
def events() -> Events:
    return queue.Queue()


@pytest.fixture
def start(tmp_path: Path, events: Events) -> Iterator[Start]:
    children: list[Child] = []

    def run(*lines: str) -> Child:
        command = [sys.executable, "-c", "\n".join(lines)]
        child = Child("probe", command, tmp_path / "logs" / "probe.log", lambda *e: events.put(e))
        children.append(child)
        return child

    yield run
    for child in children:
        child.stop(0.1)


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_child_is_ready_when_it_says_so_and_its_fields_are_kept(
    start: Start, events: Events
) -> None:
    child = start(READY, FOREVER)
    assert child.wait_ready() == {"event": "ready", "port": 7}
    assert child.wait_ready() == child.ready_fields
    assert child.alive
    child.check()
    assert events.get(timeout=5) == ("probe", {"event": "ready", "port": 7})
    child.stop()
    assert not child.alive
    assert is_gone(child.pid)


@pytest.fixture
def bounded() -> Iterator[None]:
    """The recursion limit of a command: a plugin of these tests has raised it beyond the C stack."""
    before = sys.getrecursionlimit()
    bound_recursion()
    yield
    sys.setrecursionlimit(before)


@pytest.mark.usefixtures("bounded")
def test_events_arrive_in_order_and_stray_prints_are_passed_over(
    start: Start, events: Events
) -> None:
    child = start(
        "import sys",
        'print("a library says hello")',
        "print('[1, 2]')",
        "print('{')",
        'sys.stdout.flush(); sys.stdout.buffer.write(b\'\\xff\\xfe\\n{"a": "\\xff"}\\n\')',
        "sys.stdout.buffer.write(b'[' * 100000 + b'\\n'); sys.stdout.flush()",
        'print(\'{"event": "first"}\', flush=True)',
        READY,
        'print(\'{"event": "last"}\', flush=True)',
        FOREVER,
    )
    child.wait_ready()
    found = [events.get(timeout=5)[1]["event"] for _ in range(3)]
    assert found == ["first", "ready", "last"]
    assert events.empty()


def test_an_early_end_is_told_with_exit_code_and_last_words(start: Start) -> None:
    child = start("import sys", "sys.stderr.write('x' * 9000 + 'no such port\\n')", "sys.exit(3)")
    with pytest.raises(RemoteFault) as fault:
        child.wait_ready()
    text = str(fault.value)
    assert "probe did not become ready (exit code 3)" in text
    assert text.endswith("no such port\n")
    assert len(text) < 3000
    with pytest.raises(RemoteFault, match=r"probe ended \(exit code 3\)"):
        child.check()


def test_a_child_that_is_never_ready_is_given_up_and_still_stopped(start: Start) -> None:
    child = start(FOREVER)
    with pytest.raises(RemoteFault, match=r"did not become ready \(exit code None\)"):
        child.wait_ready(timeout_s=0.1)
    assert child.alive
    child.stop()
    assert is_gone(child.pid)


def test_one_that_does_not_listen_is_stopped_by_force(start: Start) -> None:
    child = start(DEAF, READY, FOREVER)
    child.wait_ready()
    child.stop(timeout_s=0.1)
    assert is_gone(child.pid)
    assert child._process.returncode == -signal.SIGKILL


def test_ctrl_c_while_stopping_leaves_no_process_behind(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = start(DEAF, READY, FOREVER)
    child.wait_ready()
    wait = child._process.wait

    def interrupted(timeout: float | None = None) -> int:
        if timeout is not None:
            raise KeyboardInterrupt
        return wait()

    monkeypatch.setattr(child._process, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        child.stop()
    assert is_gone(child.pid)


def test_stop_and_kill_may_be_repeated(start: Start) -> None:
    child = start(READY, FOREVER)
    child.wait_ready()
    child.kill()
    assert not child.alive
    child.kill()
    child.terminate()
    child.stop()
    child.stop()
    assert child._process.returncode == -signal.SIGKILL


def test_a_grandchild_that_holds_the_pipe_does_not_hold_us(start: Start) -> None:
    child = start(
        "import subprocess, sys, json",
        "held = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])",
        "print(json.dumps({'event': 'ready', 'held': held.pid}), flush=True)",
        FOREVER,
    )
    held = child.wait_ready()["held"]
    try:
        child.stop()
        assert is_gone(child.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(held, signal.SIGKILL)


def test_children_have_a_session_of_their_own(start: Start) -> None:
    """So that Ctrl-C at the terminal reaches them only through us, in order."""
    child = start(READY, FOREVER)
    child.wait_ready()
    assert os.getsid(child.pid) == child.pid != os.getsid(0)


def test_the_log_is_appended_to_over_restarts(start: Start, tmp_path: Path) -> None:
    for word in ("first", "second"):
        child = start(f"import sys; sys.stderr.write('{word}\\n')", READY)
        child._process.wait()
    assert (tmp_path / "logs" / "probe.log").read_text() == "first\nsecond\n"


def test_modules_run_under_this_interpreter() -> None:
    assert module_command("a.b", "--c") == [sys.executable, "-m", "a.b", "--c"]
