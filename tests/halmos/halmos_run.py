"""Halmos on Merkle paths, signatures and claims: `python tests/halmos/halmos_run.py`.

It needs forge (see tests/forge/forge_tools.py), the project's own environment with vyper, and Halmos in an environment of
its own, because it pins other versions of what we use::

    python -m venv ~/.cache/meridian-halmos && ~/.cache/meridian-halmos/bin/pip install halmos==0.3.3

MERIDIAN_HALMOS names another one. No network.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent / "forge"))

from forge_tools import environment, require_forge  # noqa: E402
from vyper.compiler import compile_from_file_input  # noqa: E402
from vyper.compiler.input_bundle import FilesystemInputBundle  # noqa: E402

from meridian.contracts.artefact import load  # noqa: E402

VENV = Path(os.environ.get("MERIDIAN_HALMOS") or Path.home() / ".cache" / "meridian-halmos")


def harness_bytecode() -> str:
    bundle = FilesystemInputBundle([ROOT / "contracts", HERE])
    source = bundle.load_file("Harness.vy")
    output = compile_from_file_input(source, input_bundle=bundle, output_formats=["bytecode"])
    return output["bytecode"].removeprefix("0x")


def write_code(folder: Path, name: str, code: str) -> None:
    """A Solidity file with a contract's creation code as a constant: what Halmos can create raw."""
    head = "// SPDX-License-Identifier: Apache-2.0\npragma solidity ^0.8.20;\n"
    (folder / f"{name}Code.sol").write_text(f'{head}bytes constant CODE = hex"{code}";\n')


def main() -> int:
    program = require_forge()
    python = VENV / "bin" / "python"
    if not python.exists():
        sys.exit(f"no Halmos in {VENV}; this file's head says how to install it")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in ("foundry.toml", "Libraries.t.sol"):
            shutil.copy(HERE / file, folder)
        write_code(folder, "Harness", harness_bytecode())
        write_code(folder, "Rewards", load("Rewards").bytecode.hex())
        command = [python, HERE / "halmos_sha256.py", "--storage-layout", "generic"]
        settings = environment(program)
        return subprocess.run(command, cwd=folder, env=settings, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
