"""Running the real command on real directories, for the tests of the whole system."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from meridian.cli.main import main

MERIDIAN = [sys.executable, "-m", "meridian.cli.main"]
TIMEOUT_S = 400


@dataclass(frozen=True)
class Ran:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as JSON."""
        assert self.code == 0, self.err[-3000:]
        return json.loads(self.out)


def meridian(*arguments: str | Path) -> Ran:
    """Run `meridian` with arguments to its end."""
    done = subprocess.run(
        [*MERIDIAN, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def looks(*arguments: str | Path) -> Ran:
    """Run a command that only reads, in this process: the same command, without half a second to start it."""
    done = CliRunner(env={"COLUMNS": "200"}).invoke(main, [str(one) for one in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Ran(done.exit_code, done.stdout, done.stderr)


def small_demo(data_dir: Path, *more: str) -> Ran:
    """Run a small demo network on a data directory."""
    return meridian(
        "demo", "--data-dir", data_dir, "--jobs", "6000", "--nodes", "40", "--epochs", "2",
        "--challenge-seconds", "1", "--json", *more,
    )  # fmt: skip
