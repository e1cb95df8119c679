"""Where forge is, and the environment in which it needs no network: npm's solc behind a shim."""

import os
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
PACKAGES = Path(os.environ.get("MERIDIAN_FORGE") or Path.home() / ".cache" / "meridian-forge")
INSTALL = (
    "mkdir -p ~/.cache/meridian-forge && cp tests/forge/package*.json ~/.cache/meridian-forge && "
    "npm ci --prefix ~/.cache/meridian-forge"
)


def forge() -> Path | None:
    """The program of forge that npm installed for this machine; None without it, or without node."""
    found = sorted(PACKAGES.glob("node_modules/@foundry-rs/forge-*/bin/forge*"))
    return found[0] if found and shutil.which("node") else None


def require_forge() -> Path:
    program = forge()
    if program is None:
        sys.exit(
            f"no node, or no forge in {PACKAGES} (MERIDIAN_FORGE names another). Install:\n  {INSTALL}"
        )
    return program


def environment(program: Path) -> dict[str, str]:
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    shim = str(HERE / "solc-shim.cjs")
    return {**os.environ, "PATH": path, "MERIDIAN_FORGE": str(PACKAGES), "FOUNDRY_SOLC": shim}
