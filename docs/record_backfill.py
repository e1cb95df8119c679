"""Renews `docs/backfill-epoch.svg` and `docs/backfill-epochs.svg`: a real run of six epochs, evaluated under another function.

Run it from the checkout: ``.venv/bin/python docs/record_backfill.py``; it takes about a minute, and prints the tables.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EPOCHS = 6
MERIDIAN = (sys.executable, "-m", "meridian.cli.main")
RUN = ("--jobs", "30000", "--nodes", "60", "--epochs", str(EPOCHS), "--challenge-seconds", "1")


def main() -> None:
    """Run, evaluate, and copy the pictures."""
    with tempfile.TemporaryDirectory() as folder:
        run, out = f"{folder}/run", f"{folder}/out"
        subprocess.run(
            [*MERIDIAN, "demo", "--data-dir", run, *RUN],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        asked = ("--function", "count", "--out", out)
        subprocess.run(
            [*MERIDIAN, "evaluate", "--epochs", f"1..{EPOCHS}", "--data-dir", run, *asked],
            check=True,
        )
        shutil.copy(f"{out}/epoch-{EPOCHS:06d}.svg", ROOT / "docs" / "backfill-epoch.svg")
        shutil.copy(f"{out}/epochs.svg", ROOT / "docs" / "backfill-epochs.svg")


if __name__ == "__main__":
    main()
