"""The test command (`./dev test`): every check in order, stopping at the first that fails.

`./dev test PATH...` runs only pytest on the given paths.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

PYTHON = sys.executable
WORKERS = str(min(4, 2 * (os.cpu_count() or 1)))
"""Two for a core: a third of the time a test of processes waits, for blocks, for timers and for the disk."""
LINT_IMPORTS = str(Path(sys.executable).with_name("lint-imports"))

CHECKS = {
    "format": [PYTHON, "-m", "ruff", "format", "--check", "--quiet", "."],
    "lint": [PYTHON, "-m", "ruff", "check", "--quiet", "."],
    "types": [PYTHON, "-m", "mypy"],
    "layers": [LINT_IMPORTS],
    # Imported once here, everything is compiled and kept, kernels too: the workers, who all import it, need not each.
    "collected": [PYTHON, "-m", "pytest", "--collect-only", "-q"],
}
"""Beside each other."""

# File by file, in the order of tests/conftest.py: whole systems, which mostly wait, among tests that compute.
TESTS = [PYTHON, "-m", "pytest", "-n", WORKERS, "--dist", "loadfile", "--no-loadscope-reorder"]


def ended(name: str, code: int, started: float) -> None:
    """Say how a check ended; exit with its code if it failed."""
    if code:
        print(f"== {name} failed (exit code {code})", flush=True)
        sys.exit(code)
    print(f"== {name} passed in {time.monotonic() - started:.0f} s", flush=True)


def run_checks() -> None:
    """Run the checks beside each other; show what a failing one says, and exit with its code."""
    started = time.monotonic()
    running = {
        name: subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for name, command in CHECKS.items()
    }
    said = {name: process.communicate()[0] for name, process in running.items()}
    for name, process in running.items():
        print(f"== {name}", flush=True)
        if process.returncode:
            print(said[name], flush=True)
        ended(name, process.returncode, started)


def main() -> None:
    """Run everything, or only pytest where arguments are given."""
    if len(sys.argv) > 1:
        command = [PYTHON, "-m", "pytest", *sys.argv[1:]]
        sys.exit(subprocess.run(command, check=False).returncode)
    run_checks()
    print("== tests", flush=True)
    started = time.monotonic()
    ended("tests", subprocess.run(TESTS, check=False).returncode, started)


if __name__ == "__main__":
    main()
