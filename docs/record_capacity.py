"""Renews `docs/capacity.svg` and the tables of `docs/capacity.md` from the model and `docs/capacity.json`.

``python docs/record_capacity.py FILE...`` first takes the results of `python -m benchmarks rows --json` and
`python -m benchmarks day --json` over into `docs/capacity.json`.
"""

import json
import math
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.capacity import day_table, measure, table  # noqa: E402 - of the checkout, not installed
from benchmarks.capacity_model import SATURN, Load, Stage, stages  # noqa: E402

from meridian.explorer.svg import Frame, line, path, picture, text  # noqa: E402

DOCS = ROOT / "docs"
WIDTH, HEIGHT = 860, 470
DECADES = range(5, 13)
"""Jobs a day, powers of ten."""
COLOURS = ("#1f6feb", "#bc4c00", "#1a7f37", "#8250df", "#bf3989", "#57606a", "#9a6700", "#0550ae")
HUNDREDFOLD: dict[str, Any] = {
    "jobs_per_day": 100.0 * SATURN,
    "nodes": 1_000_000,
    "evaluators": 31,
    "epochs_per_day": 24,
    "assume": [],
    "seed": 1,
}


def main() -> None:
    """Take over results, draw, and write the tables."""
    file = DOCS / "capacity.json"
    kept: dict[str, list[dict[str, Any]]] = (
        json.loads(file.read_text()) if file.exists() else {"rows": [], "day": []}
    )
    for name in sys.argv[1:]:
        take(kept, json.loads(Path(name).read_text()))
    file.write_text(json.dumps(kept, indent=1) + "\n")
    (DOCS / "capacity.svg").write_text(draw(kept["rows"]))
    page = DOCS / "capacity.md"
    page.write_text(with_tables(page.read_text()))


def take(kept: dict[str, list[dict[str, Any]]], new: dict[str, Any]) -> None:
    """Put one result in the place of an older one of the same size."""
    kind, names = ("day", ("form", "jobs")) if "form" in new else ("rows", ("nodes", "evaluators"))
    if kind == "day":
        new = {
            name: new[name]
            for name in ("form", "jobs", "epochs", "service_cpu_s", "wall_s", "load")
        }
    same = [one for one in kept[kind] if any(one[name] != new[name] for name in names)]
    kept[kind] = sorted([*same, new], key=lambda one: tuple(str(one[name]) for name in names))


def with_tables(page: str) -> str:
    """Return the page with its tables as the model says them now."""
    parts = {}
    for form in ("arrow", "ndjson"):
        found = measure(**HUNDREDFOLD, form=form)
        parts[f"stages-{form}"] = table(found)
        parts[f"day-{form}"] = day_table(found)
    for name, made in parts.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        if begin in page:
            inner = re.escape(begin) + r".*?" + re.escape(end)
            page = re.sub(
                inner, lambda _, t=made, b=begin, e=end: f"{b}\n{t}\n{e}", page, flags=re.DOTALL
            )
    return page


def draw(rows: list[dict[str, Any]]) -> str:
    """Return the picture: parts of one two-core machine against jobs a day, with nodes in proportion; both axes by tens."""
    frame = Frame(72, 64, WIDTH - 250, HEIGHT - 52, DECADES[0], DECADES[-1], -4, 3)
    parts = [
        text(20, 26, "What part of one two-core machine each stage takes at the peak"),
        text(20, 46, "nodes grow with jobs: 1M at 13.7 billion jobs a day; 31 evaluators, Arrow", colour="#57606a"),
        *frame.across((ten, _power(ten)) for ten in DECADES),
        *frame.down((ten, f"{10.0**ten:g}") for ten in range(-4, 4)),
        line(frame.left, frame.y(0), frame.right, frame.y(0), "#cf222e", "1.4"),
        text((frame.left + frame.right) / 2, HEIGHT - 12, "jobs a day", "middle"),
    ]  # fmt: skip
    for times, name in ((1, "Saturn"), (100, "x 100")):
        at = frame.x(_log(SATURN * times))
        parts += [
            line(at, frame.top, at, frame.bottom, "#8c959f", "1", "4 4"),
            text(at + 4, frame.top + 12, name),
        ]
    curves: dict[str, list[tuple[float, float]]] = {}
    for tenth in range(DECADES[0] * 10, DECADES[-1] * 10 + 1):
        jobs = 10 ** (tenth / 10)
        load = Load(jobs_per_day=jobs, nodes=max(1, round(jobs / SATURN / 100 * 1_000_000)))
        for stage in stages(load, rows):
            if stage.capacity < float("inf") and stage.used > 0:
                curves.setdefault(_name(stage), []).append((tenth / 10, _log(stage.used)))
    order = sorted(curves, key=lambda name: -curves[name][-1][1])
    for place, name in enumerate(order):
        colour = COLOURS[place % len(COLOURS)]
        inside = [(x, max(-4.0, min(3.0, y))) for x, y in curves[name] if -4 <= y <= 3]
        parts.append(path([(frame.x(x), frame.y(y)) for x, y in inside], colour))
        parts.append(text(WIDTH - 218, 78 + 20 * place, f"{place + 1} {name}", colour=colour))
        if inside:
            parts.append(
                text(
                    frame.x(inside[-1][0]) + 3,
                    frame.y(inside[-1][1]) - 3,
                    str(place + 1),
                    colour=colour,
                )
            )
    return picture(WIDTH, HEIGHT, "Capacity", parts)


def _name(stage: Stage) -> str:
    return f"{stage.name} ({stage.resource})"


def _log(value: float) -> float:
    return math.log10(value)


def _power(ten: int) -> str:
    return {6: "1M", 7: "10M", 8: "100M", 9: "1G", 10: "10G", 11: "100G"}.get(ten, f"10^{ten}")


if __name__ == "__main__":
    main()
