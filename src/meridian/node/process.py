"""What every server process of ours does the same way: log, say that it is ready, and end.

* Log lines are JSON objects on standard error, one per line: ``ts`` (UTC, RFC 3339), ``level``,
  ``process``, ``logger``, ``event`` (the message), the fields given as ``extra={"epoch": 5}``, and
  ``error`` with a traceback. What is about an epoch has a ``trace`` (`epoch_trace`), the same in all
  processes of a network, so that one search follows an epoch through all of them.
* Standard output belongs to whoever started the process: a JSON line when it serves, and one for
  each event.
* SIGTERM and SIGINT cancel the main coroutine, which cleans up; a second signal, or a clean-up that
  hangs, ends the process at once. That is safe by design: what was promised is durable before it is
  promised.
"""

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import IO, Any, Final

from meridian.errors import MeridianError
from meridian.primitives.hashing import sha256

EXIT_BUG: Final = 70
"""Exit code for an error that nobody expected (EX_SOFTWARE of sysexits.h)."""

RECURSION_MAX: Final = 1_000
"""Python's own default."""

STOP_GRACE_MS: Final = 10_000
"""How long the clean-up may take after a signal."""

_log = logging.getLogger(__name__)
_events = logging.getLogger("meridian.events")
"""What the starter is told on standard output stands in the log too, so that the log alone tells the whole story."""

_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def epoch_trace(network_id: bytes, epoch: int) -> str:
    """Return the id of an epoch in logs: the first 8 bytes of SHA-256(network id | epoch, 8 bytes big-endian), as hex."""
    return sha256(network_id, epoch.to_bytes(8, "big"))[:8].hex()


class _Traces:
    """The network whose epochs this process writes about; one for each process."""

    network_id: bytes | None = None

    @classmethod
    def of(cls, epoch: object) -> dict[str, str]:
        if cls.network_id is None or not isinstance(epoch, int) or not 0 <= epoch < 1 << 64:
            return {}
        return {"trace": epoch_trace(cls.network_id, epoch)}


class JsonLines(logging.Formatter):
    """Formats a log record as one JSON object on one line."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        at = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "ts": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "event": record.getMessage(),
        }
        # A caller's field never hides one of ours.
        for name, value in vars(record).items():
            if name not in _STANDARD_FIELDS:
                line.setdefault(name, value)
        line |= _Traces.of(line.get("epoch"))
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=_plain)


def _plain(value: object) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)


def bound_recursion() -> None:
    """Set Python's recursion limit back to where nested input raises an error instead of ending the process.

    A library of the transaction signer raises the limit at import to a depth that the C stack does not hold; a body of
    100,000 opening brackets would then be a crash. Only the process that runs the EVM needs the depth.
    """
    sys.setrecursionlimit(RECURSION_MAX)


def start_logging(
    process: str,
    level: int = logging.INFO,
    stream: IO[str] | None = None,
    *,
    network_id: bytes | None = None,
) -> None:
    """Send every log record of this process to standard error (or `stream`) as JSON lines.

    Args:
        process: The name under which this process writes, such as ``evaluator-2``.
        level: The least level that is written.
        stream: Another stream, for tests.
        network_id: Of the network whose epochs are written about, for their ids.
    """
    _Traces.network_id = network_id
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(process))
    logging.basicConfig(level=level, handlers=[handler], force=True)


def ready_line(**fields: object) -> None:
    """Tell the starter, in one JSON line on standard output, that this process serves: ``{"event": "ready", ...}``."""
    event_line("ready", **fields)


def event_line(event: str, **fields: object) -> None:
    """Tell the starter of this process, in one JSON line on standard output, that something happened; and log it."""
    line = {"event": event} | fields | _Traces.of(fields.get("epoch"))
    sys.stdout.write(json.dumps(line, default=_plain) + "\n")
    sys.stdout.flush()
    told = {name: value for name, value in fields.items() if name not in _STANDARD_FIELDS}
    _events.info(event, extra=told)


def serve_until_stopped(
    main: Callable[[], Coroutine[Any, Any, None]], *, stop_grace_ms: int = STOP_GRACE_MS
) -> int:
    """Run a server until SIGTERM or SIGINT, or until it ends by itself; return the exit code of the process.

    `main` makes the server's coroutine; a signal cancels it, and its ``finally`` blocks close what
    it opened.

    Returns:
        0 after a signal or a normal end, the error's own code after a `MeridianError`, and
        `EXIT_BUG` after any other error. Errors are logged, not raised.
    """
    try:
        asyncio.run(_serve(main, stop_grace_ms))
    except KeyboardInterrupt:
        return 0
    except BaseException as error:  # noqa: BLE001 - the last place that can log it.
        return _exit_code(error)
    return 0


async def _serve(main: Callable[[], Coroutine[Any, Any, None]], stop_grace_ms: int) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(main(), name="main")
    signals: list[signal.Signals] = []

    def stop(number: signal.Signals) -> None:
        signals.append(number)
        if len(signals) > 1:
            os._exit(128 + number)
        _log.info("stopping after %s", number.name)
        task.cancel()
        loop.call_later(stop_grace_ms / 1000, _give_up, stop_grace_ms)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    await asyncio.wait([task])
    if not (signals and task.cancelled()):
        task.result()


def _give_up(stop_grace_ms: int) -> None:
    _log.error("the clean-up did not end within %d ms", stop_grace_ms)
    os._exit(EXIT_BUG)


def _exit_code(error: BaseException) -> int:
    """Log what ended the process and choose its exit code."""
    expected = _first_expected(error)
    if expected is not None:
        _log.error("%s: %s", type(expected).__name__, expected)
        return expected.exit_code
    _log.critical("unexpected error", exc_info=error)
    return EXIT_BUG


def _first_expected(error: BaseException) -> MeridianError | None:
    """Return the error if it, or everything that a task group collected in it, is one that we foresaw."""
    if isinstance(error, MeridianError):
        return error
    if isinstance(error, BaseExceptionGroup):
        found = [_first_expected(part) for part in error.exceptions]
        return found[0] if all(found) else None
    return None
