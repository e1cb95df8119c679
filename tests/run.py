"""The test command (`./dev test`): every check in order, stopping at the first that fails.

`./dev test PATH...` runs only pytest on the given paths.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

PYTHON = sys.executable
WORKERS = str(min(4, os.cpu_count() or 1))
KEEP_ORDER = "--no-loadscope-reorder"
LINT_IMPORTS = str(Path(sys.executable).with_name("lint-imports"))

CHECKS = (
    ("format", [PYTHON, "-m", "ruff", "format", "--check", "--quiet", "."]),
    ("lint", [PYTHON, "-m", "ruff", "check", "--quiet", "."]),
    ("types", [PYTHON, "-m", "mypy"]),
    ("layers", [LINT_IMPORTS]),
    # File by file on all cores, in the order of tests/conftest.py; and then whole systems, two at a time: half of their
    # time is waiting, for blocks and for each other.
    (
        "tests",
        [
            PYTHON,
            "-m",
            "pytest",
            "-m",
            "not journey",
            "-n",
            WORKERS,
            "--dist",
            "loadfile",
            KEEP_ORDER,
        ],
    ),
    (
        "journey",
        [PYTHON, "-m", "pytest", "-m", "journey", "-n", "2", "--dist", "loadfile", KEEP_ORDER],
    ),
)


def run(name: str, command: list[str]) -> None:
    """Run one check; exit with its code if it fails."""
    started = time.monotonic()
    print(f"== {name}", flush=True)
    code = subprocess.run(command, check=False).returncode
    if code:
        print(f"== {name} failed (exit code {code})", flush=True)
        sys.exit(code)
    print(f"== {name} passed in {time.monotonic() - started:.0f} s", flush=True)


def main() -> None:
    """Run everything, or only pytest where arguments are given."""
    if len(sys.argv) > 1:
        command = [PYTHON, "-m", "pytest", *sys.argv[1:]]
        sys.exit(subprocess.run(command, check=False).returncode)
    for name, command in CHECKS:
        run(name, command)


if __name__ == "__main__":
    main()
