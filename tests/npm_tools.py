"""Programmes from npm for tests that use them: installed once, outside the repository, at the exact locked versions.

``python tests/npm_tools.py install`` puts them into ``$MERIDIAN_NPM``, else ``~/.cache/meridian-npm``. Tests start what is there and skip, with this command in their message, where it is not.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).parent / "npm" / "package-lock.json"
COMMAND = "python tests/npm_tools.py install"


def place() -> Path:
    """The directory in which `node_modules` stands or would stand."""
    return Path(os.environ.get("MERIDIAN_NPM") or Path.home() / ".cache" / "meridian-npm")


def module(name: str) -> Path | None:
    """The directory of an installed package; None where it is missing, or is of another version than the lock's."""
    found = place() / "node_modules" / name
    locked = json.loads(LOCK.read_text())["packages"][f"node_modules/{name}"]["version"]
    if not (found / "package.json").is_file():
        return None
    return found if json.loads((found / "package.json").read_text())["version"] == locked else None


def anvil() -> Path | None:
    """The anvil of this machine's kind, or None. The binary itself: npm's wrapper would outlive a kill."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    package = module(f"@foundry-rs/anvil-{platform.system().lower()}-{machine}")
    binary = None if package is None else package / "bin" / "anvil"
    return binary if binary is not None and binary.is_file() else None


def install() -> int:
    """Install everything of the lock file; no script of a package is run."""
    npm = shutil.which("npm")
    if npm is None:
        print("npm is not installed", file=sys.stderr)
        return 1
    target = place()
    target.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(LOCK.with_name(name), target / name)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    code = subprocess.run(command, cwd=target, check=False).returncode
    print(f"installed in {target}" if code == 0 else f"npm ci failed in {target}")
    return code


if __name__ == "__main__":
    sys.exit(install() if sys.argv[1:] == ["install"] else f"usage: {COMMAND}")
