"""Programmes from npm for tests that use them: installed once, outside the repository, at the exact locked versions.

``python tests/npm_tools.py install`` puts them into ``$MERIDIAN_NPM``, else ``~/.cache/meridian-npm``, and
``python tests/npm_tools.py install ipfs`` the 245 MB of js-ipfs beside them. Tests start what is there and skip, with the
command in their message, where it is not.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

LOCKS = Path(__file__).parent / "npm"
COMMAND = "python tests/npm_tools.py install"


def place(group: str = "") -> Path:
    """The directory in which a group's `node_modules` stands or would stand."""
    root = Path(os.environ.get("MERIDIAN_NPM") or Path.home() / ".cache" / "meridian-npm")
    return root / group


def module(name: str, group: str = "") -> Path | None:
    """The directory of an installed package; None where it is missing, or is of another version than the lock's."""
    found = place(group) / "node_modules" / name
    lock = json.loads((LOCKS / group / "package-lock.json").read_text())
    locked = lock["packages"][f"node_modules/{name}"]["version"]
    if not (found / "package.json").is_file():
        return None
    return found if json.loads((found / "package.json").read_text())["version"] == locked else None


def anvil() -> Path | None:
    """The anvil of this machine's kind, or None. The binary itself: npm's wrapper would outlive a kill."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    package = module(f"@foundry-rs/anvil-{platform.system().lower()}-{machine}")
    binary = None if package is None else package / "bin" / "anvil"
    return binary if binary is not None and binary.is_file() else None


def install(group: str = "") -> int:
    """Install everything of a group's lock file; no script of a package is run."""
    npm = shutil.which("npm")
    if npm is None:
        print("npm is not installed", file=sys.stderr)
        return 1
    target = place(group)
    target.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(LOCKS / group / name, target / name)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    command += ["--omit=optional"] if group else []  # the anvil of this machine is one
    code = subprocess.run(command, cwd=target, check=False).returncode
    print(f"installed in {target}" if code == 0 else f"npm ci failed in {target}")
    return code


if __name__ == "__main__":
    if sys.argv[1:2] != ["install"] or sys.argv[2:] not in ([], ["ipfs"]):
        sys.exit(f"usage: {COMMAND} [ipfs]")
    sys.exit(install(*sys.argv[2:]))
