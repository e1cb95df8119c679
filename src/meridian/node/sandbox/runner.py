"""Running a network's Python function in a process of its own."""

import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from meridian.errors import InvalidInput, NotFound
from meridian.evaluate.own_functions import Request
from meridian.evaluate.python_subset import ARGUMENTS, BUILTINS, IMPORTS
from meridian.node.sandbox.lockdown import is_supported

ANSWER_BYTES_MAX: Final = 1 << 30

_CHILD: Final = Path(__file__).with_name("child.py")
_WALL_FACTOR: Final = 10
"""Machines are shared: processor time is what is bounded, this is for a process that does nothing at all."""


@dataclass(frozen=True, slots=True)
class PythonSandbox:
    """Runs functions; each call is a process that ends with it."""

    memory_bytes: int = 2 << 30
    cpu_seconds: int = 600

    def __call__(self, source: str, request: Request) -> Any:
        """Run a function's ``evaluate``.

        Raises:
            InvalidInput: If it fails, says something else than it should, or tries anything but computing.
            NotFound: If this system has no sandbox.
        """
        if not is_supported():
            raise NotFound("functions in Python need Linux on x86-64 or ARM64 (seccomp)")
        message = {
            "source": source,
            "arguments": [request[name] for name in ARGUMENTS],
            "imports": list(IMPORTS),
            "builtins": list(BUILTINS),
            "memory_bytes": self.memory_bytes,
            "cpu_seconds": self.cpu_seconds,
        }
        try:
            done = subprocess.run(
                # No site packages, no bytecode files; the same order of dicts' hashes every time.
                [sys.executable, "-s", "-S", "-B", str(_CHILD)],
                input=msgspec.json.encode(message),
                capture_output=True,
                env={"PYTHONHASHSEED": "0"},
                cwd="/",
                timeout=self.cpu_seconds * _WALL_FACTOR,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise InvalidInput(
                "function", f"did not end in {self.cpu_seconds * _WALL_FACTOR} s"
            ) from None
        return self._answer(done)

    def _answer(self, done: subprocess.CompletedProcess[bytes]) -> Any:
        if done.returncode == -signal.SIGSYS:
            raise InvalidInput(
                "function",
                "tried something else than computing (files, network, processes, time) and was stopped",
            )
        if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
            raise InvalidInput("function", f"used more than {self.cpu_seconds} s of processor time")
        try:
            answer = msgspec.json.decode(done.stdout)
        except msgspec.DecodeError:
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise InvalidInput(
                "function", f"gave no answer (exit code {done.returncode}): {' '.join(last)}"
            ) from None
        if "error" in answer:
            raise InvalidInput(f"function line {answer['line']}", answer["error"])
        return answer["answer"]
