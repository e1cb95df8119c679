"""`python -m tests.crashes`: kill a measure service at random moments under load, and look for what was lost."""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from tests.crashes.broken_disk import compiler
from tests.crashes.rig import run


def main() -> int:
    """Run; returns 0 if nothing was lost, doubled or promised in vain."""
    parser = argparse.ArgumentParser(prog="python -m tests.crashes", description=__doc__)
    parser.add_argument("--moments", type=int, default=200, help="how often the service ends")
    parser.add_argument("--seed", type=int, default=1, help="order of the faults")
    parser.add_argument("--dir", type=Path, help="where to work, kept; default: a temporary one")
    arguments = parser.parse_args()
    if compiler() is None:
        print("error: a C compiler is needed, for the disk that fails", file=sys.stderr)
        return 2
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="crashes-") as temporary:
        found = run(arguments.dir or Path(temporary), arguments.moments, arguments.seed)
    document = asdict(found) | {
        "seed": arguments.seed,
        "seconds": round(time.monotonic() - started),
    }
    print(json.dumps(document, indent=1))
    if found.faults:
        print(f"{len(found.faults)} faults; replay: --seed {arguments.seed}", file=sys.stderr)
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main())
