"""A made-up site of the explorer: how long it takes to write, and how large it is; pages are measured on it."""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.explorer_site import make_site


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--nodes", type=int, default=10_000, help="nodes in every epoch")
    parser.add_argument("--epochs", type=int, default=1_000, help="epochs")
    parser.add_argument(
        "--out", type=Path, help="where the site stays; without it, it is made and deleted"
    )


def measure(nodes: int, epochs: int, out: Path | None) -> dict[str, Any]:
    """Make the site."""
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) if out is None else out
        started = time.process_time()
        make_site(site, nodes, epochs)
        seconds = time.process_time() - started
        sizes: dict[str, list[int]] = {}
        for path in site.rglob("*"):
            if path.is_file():
                part = path.relative_to(site).parts
                name = part[1] if part[0] == "data" and len(part) > 2 else part[0]
                sizes.setdefault(name, []).append(path.stat().st_size)
    return {
        "nodes": nodes,
        "epochs": epochs,
        "cpu_s": round(seconds, 1),
        "files": sum(map(len, sizes.values())),
        "bytes": sum(map(sum, sizes.values())),
        "parts": {
            name: {"files": len(found), "bytes": sum(found)}
            for name, found in sorted(sizes.items())
        },
    }


def report(result: dict[str, Any]) -> None:
    """Print what was measured."""
    print(
        f"{result['nodes']} nodes x {result['epochs']} epochs: {result['files']} files, "
        f"{result['bytes'] / 1e6:.0f} MB, {result['cpu_s']} s of one processor"
    )
    for name, part in result["parts"].items():
        print(f"  {name}: {part['files']} files, {part['bytes'] / 1e6:.1f} MB")
