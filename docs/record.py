"""Renews `docs/demo.svg`, the picture in the README: runs the demo for real and draws what it printed.

Run it from the checkout: ``.venv/bin/python docs/record.py``.
"""

import io
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 118
ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Run `meridian demo --kill-evaluator` and write the picture."""
    command = [sys.executable, "-m", "meridian.cli.main", "demo", "--kill-evaluator"]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    )
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(Text.from_ansi("$ ./dev demo --kill-evaluator\n" + done.stdout))
    picture = without_fonts(console.export_svg(title="Meridian"))
    (ROOT / "docs" / "demo.svg").write_text(picture)
    print(done.stdout)


def without_fonts(picture: str) -> str:
    """Return a picture that fetches nothing: the reader's own monospace font will do."""
    return re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)


if __name__ == "__main__":
    main()
