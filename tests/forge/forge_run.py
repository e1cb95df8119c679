"""Forge's invariants of Rewards: `python tests/forge/forge_run.py` makes a million calls; `--calls N` another number.

It needs node, and forge and solc from npm (forge_tools.py says how they are installed); no network. The shipped bytecode
is what is tested.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from forge_tools import HERE, environment, require_forge

from meridian.contracts.artefact import load

DEPTH = 500


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="forge's invariants of Rewards")
    parser.add_argument("--calls", type=int, default=1_000_000, help=f"rounded up to {DEPTH}")
    runs = -(-parser.parse_args(arguments).calls // DEPTH)
    program = require_forge()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in ("foundry.toml", "Rewards.t.sol"):
            shutil.copy(HERE / file, folder)
        (folder / "bytecode").mkdir()
        (folder / "bytecode" / "Rewards").write_text("0x" + load("Rewards").bytecode.hex())
        settings = environment(program) | {"FOUNDRY_INVARIANT_RUNS": str(runs)}
        command = [program, "test"]
        return subprocess.run(command, cwd=folder, env=settings, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
