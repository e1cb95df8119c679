"""A server process logs JSON lines, says once that it is ready, and ends with the right code."""

import io
import json
import logging
import signal
import subprocess
import sys

import pytest

from meridian.node.process import JsonLines, ready_line, start_logging

PROGRAM = """
import asyncio, sys
from meridian.errors import InvalidInput, RemoteFault, StorageFailure
from meridian.node.process import ready_line, serve_until_stopped, start_logging

async def main():
    {body}

start_logging("test-1")
sys.exit(serve_until_stopped(main, stop_grace_ms=500))
"""

SERVE = """ready_line(port=1)
    try:
        await asyncio.sleep(60)
    finally:
        {cleanup}"""


def start(body: str) -> subprocess.Popen[str]:
    """Start a process whose main coroutine is `body`."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body=body)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def log_of(process: subprocess.Popen[str]) -> list[dict[str, object]]:
    """Wait for the end and return the log; every line of it must be JSON."""
    _, errors = process.communicate(timeout=20)
    return [json.loads(line) for line in errors.splitlines()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_runs_the_clean_up_and_ends_with_0(number: signal.Signals) -> None:
    process = start(SERVE.format(cleanup="print('cleaned', flush=True)"))
    assert process.stdout is not None
    assert json.loads(process.stdout.readline()) == {"event": "ready", "port": 1}
    process.send_signal(number)
    assert process.stdout.readline() == "cleaned\n"
    log = log_of(process)
    assert process.returncode == 0
    assert [line["event"] for line in log] == ["ready", f"stopping after {number.name}"]


def test_a_second_signal_ends_at_once() -> None:
    process = start(SERVE.format(cleanup="print('cleaning', flush=True); await asyncio.sleep(60)"))
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "cleaning\n"
    process.send_signal(signal.SIGTERM)
    log_of(process)
    assert process.returncode == 128 + signal.SIGTERM


def test_a_clean_up_that_hangs_is_ended() -> None:
    process = start(SERVE.format(cleanup="await asyncio.sleep(60)"))
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    log = log_of(process)
    assert process.returncode == 70
    assert log[-1]["event"] == "the clean-up did not end within 500 ms"


def test_a_failing_clean_up_is_not_hidden_by_the_signal() -> None:
    process = start(SERVE.format(cleanup="raise StorageFailure('disk')"))
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    log = log_of(process)
    assert process.returncode == 5
    assert log[-1]["event"] == "StorageFailure: disk"


@pytest.mark.parametrize(
    ("body", "code", "event"),
    [
        ("return", 0, None),
        ("raise InvalidInput('port', 'taken')", 2, "InvalidInput: port: taken"),
        (
            "raise ExceptionGroup('g', [RemoteFault('a'), RemoteFault('b')])",
            4,
            "RemoteFault: a",
        ),
        ("raise ExceptionGroup('g', [RemoteFault('a'), KeyError('b')])", 70, "unexpected error"),
        ("raise KeyError('x')", 70, "unexpected error"),
        ("raise asyncio.CancelledError", 70, "unexpected error"),
    ],
)
def test_the_exit_code_tells_what_ended_the_process(
    body: str, code: int, event: str | None
) -> None:
    process = start(body)
    log = log_of(process)
    assert process.returncode == code
    assert [line["event"] for line in log] == ([] if event is None else [event])
    assert ("error" in log[-1] if log else False) == (code == 70)


def test_a_log_line_carries_time_level_process_and_the_callers_fields() -> None:
    stream = io.StringIO()
    root = logging.getLogger()
    earlier, level = root.handlers[:], root.level
    try:
        start_logging("evaluator-2", stream=stream)
        logging.getLogger("meridian.x").info(
            "decided %d\nrows", 3, extra={"epoch": 7, "root": b"\x01", "level": "mine"}
        )
        logging.getLogger("meridian.x").debug("not written")
    finally:
        root.handlers, root.level = earlier, level
    assert stream.getvalue().count("\n") == 1
    line = json.loads(stream.getvalue())
    at = line.pop("ts")
    assert len(at) == len("2026-01-01T00:00:00.000Z")
    assert at.endswith("Z")
    assert line == {
        "level": "info",
        "process": "evaluator-2",
        "logger": "meridian.x",
        "event": "decided 3\nrows",
        "epoch": 7,
        "root": "0x01",
    }


def test_a_traceback_stays_on_one_line() -> None:
    try:
        raise KeyError("x")
    except KeyError:
        record = logging.LogRecord("a", logging.ERROR, "", 0, "failed", (), sys.exc_info())
    line = JsonLines("p").format(record)
    assert "\n" not in line
    assert "KeyError" in json.loads(line)["error"]


def test_the_ready_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    ready_line(url="http://127.0.0.1:1", port=1)
    written = capsys.readouterr().out
    assert json.loads(written) == {"event": "ready", "url": "http://127.0.0.1:1", "port": 1}
    assert written.endswith("}\n")
