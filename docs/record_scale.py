"""Renews `docs/scale.svg` from the figures of `python -m benchmarks day`, kept in `docs/scale.json`.

``python docs/record_scale.py FILE...`` first takes the results of new runs (``--json``) over into `docs/scale.json`.
"""

import json
import sys
from pathlib import Path
from typing import Any

from meridian.explorer.svg import Frame, dot, line, picture, step, text

ROOT = Path(__file__).resolve().parent
FIGURES = ROOT / "scale.json"
WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 76, 24, 34, 56
COLOURS = {"arrow": "#1f6feb", "ndjson": "#bc4c00"}
NAMES = {"arrow": "Arrow batches", "ndjson": "NDJSON batches"}


def main() -> None:
    """Take over results, and draw."""
    runs: list[dict[str, Any]] = json.loads(FIGURES.read_text()) if FIGURES.exists() else []
    for path in sys.argv[1:]:
        new = json.loads(Path(path).read_text())
        same = (new["form"], new["jobs"])
        runs = [run for run in runs if (run["form"], run["jobs"]) != same] + [new]
    runs.sort(key=lambda run: (run["form"], run["jobs"]))
    FIGURES.write_text(json.dumps(runs, indent=1) + "\n")
    (ROOT / "scale.svg").write_text(draw(runs))


def draw(runs: list[dict[str, Any]]) -> str:
    """Return the picture: processor seconds of the service against jobs, a dot for each epoch or smaller run."""
    jobs_max = max(run["jobs"] for run in runs)
    cost_max = max(run["service_cpu_s"] for run in runs) * 1.08
    frame = Frame(LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM, 0, jobs_max, 0, cost_max)
    every = step(cost_max)
    parts = [
        *frame.across(
            (jobs, f"{jobs // 1_000_000}M") for jobs in range(0, int(jobs_max) + 1, 20_000_000)
        ),
        *frame.down(
            (tick * every, f"{tick * every:g}") for tick in range(int(cost_max // every) + 1)
        ),
        text(WIDTH / 2, HEIGHT - 14, "jobs, sealed and committed", "middle"),
        text(LEFT - 60, TOP - 14, "processor seconds of the service"),
    ]
    for place, form in enumerate(sorted({run["form"] for run in runs})):
        points = sorted(
            (point for run in runs if run["form"] == form for point in _points(run)),
        )
        top = points[-1]
        parts.append(
            line(
                frame.x(0),
                frame.y(0),
                frame.x(top[0]),
                frame.y(top[1]),
                COLOURS[form],
                "1.2",
                "4 4",
            )
        )
        parts += [dot(frame.x(jobs), frame.y(cost), COLOURS[form]) for jobs, cost in points]
        said = f"{NAMES[form]}: {1e6 * top[1] / top[0]:.2f} us a job"
        parts.append(text(LEFT + 14, TOP + 16 + 20 * place, said, colour=COLOURS[form]))
    title = "Processor seconds of the measure service against jobs of one day"
    return picture(WIDTH, HEIGHT, title, parts)


def _points(run: dict[str, Any]) -> list[tuple[int, float]]:
    """Return (jobs, cost): the whole run, and what had been committed when each epoch was sealed."""
    return [(run["jobs"], run["service_cpu_s"])] + [
        (row["committed"], row["service_cpu_s"]) for row in run["rows"] if row["committed"]
    ]


if __name__ == "__main__":
    main()
