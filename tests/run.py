"""The test command (`./dev test`): every check in order, stopping at the first that fails.

`./dev test PATH...` runs only pytest on the given paths.
"""

import subprocess
import sys
import time

CHECKS = (
    ("format", ["ruff", "format", "--check", "--quiet", "."]),
    ("lint", ["ruff", "check", "--quiet", "."]),
    ("types", ["mypy"]),
    ("layers", ["importlinter.cli", "lint"]),
    ("tests", ["pytest"]),
)


def run(name: str, arguments: list[str]) -> None:
    """Run one check as a module of this interpreter; exit with its code if it fails."""
    started = time.monotonic()
    print(f"== {name}", flush=True)
    command = [sys.executable, "-m", *arguments]
    if name == "layers":
        command = [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command as c; c()",
        ]
    code = subprocess.run(command, check=False).returncode
    if code:
        print(f"== {name} failed (exit code {code})", flush=True)
        sys.exit(code)
    print(f"== {name} passed in {time.monotonic() - started:.0f} s", flush=True)


def main() -> None:
    """Run everything, or only pytest where arguments are given."""
    if len(sys.argv) > 1:
        sys.exit(
            subprocess.run([sys.executable, "-m", "pytest", *sys.argv[1:]], check=False).returncode
        )
    for name, arguments in CHECKS:
        run(name, arguments)


if __name__ == "__main__":
    main()
