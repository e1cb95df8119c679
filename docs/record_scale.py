"""Renews `docs/scale.svg` from the figures of `python -m benchmarks day`, kept in `docs/scale.json`.

``python docs/record_scale.py FILE...`` first takes the results of new runs (``--json``) over into `docs/scale.json`.
"""

import json
import sys
from pathlib import Path
from typing import Any

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

    def x(jobs: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * jobs / jobs_max

    def y(cost_s: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * cost_s / cost_max

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        '<g font-family="system-ui, sans-serif" font-size="13">',
        "<title>Processor seconds of the measure service against jobs of one day</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
    ]
    for jobs in range(0, int(jobs_max) + 1, 20_000_000):
        parts.append(_line(x(jobs), TOP, x(jobs), HEIGHT - BOTTOM, "#e4e8ec"))
        parts.append(_text(x(jobs), HEIGHT - BOTTOM + 18, f"{jobs // 1_000_000}M", "middle"))
    step = _step(cost_max)
    for tick in range(int(cost_max // step) + 1):
        parts.append(_line(LEFT, y(tick * step), WIDTH - RIGHT, y(tick * step), "#e4e8ec"))
        parts.append(_text(LEFT - 8, y(tick * step) + 4, f"{tick * step:g}", "end"))
    parts.append(_text(WIDTH / 2, HEIGHT - 14, "jobs, sealed and committed", "middle"))
    parts.append(_text(LEFT - 60, TOP - 14, "processor seconds of the service", "start"))
    for place, form in enumerate(sorted({run["form"] for run in runs})):
        points = sorted(
            (point for run in runs if run["form"] == form for point in _points(run)),
        )
        top = points[-1]
        parts.append(_line(x(0), y(0), x(top[0]), y(top[1]), COLOURS[form], "1.2", "4 4"))
        parts += [
            f'<circle cx="{x(jobs):.1f}" cy="{y(cost):.1f}" r="3.2" fill="{COLOURS[form]}"/>'
            for jobs, cost in points
        ]
        parts.append(
            f'<text x="{LEFT + 14}" y="{TOP + 16 + 20 * place}" fill="{COLOURS[form]}">'
            f"{NAMES[form]}: {1e6 * top[1] / top[0]:.2f} us a job</text>"
        )
    return "\n".join([*parts, "</g></svg>"]) + "\n"


def _points(run: dict[str, Any]) -> list[tuple[int, float]]:
    """Return (jobs, cost): the whole run, and what had been committed when each epoch was sealed."""
    return [(run["jobs"], run["service_cpu_s"])] + [
        (row["committed"], row["service_cpu_s"]) for row in run["rows"] if row["committed"]
    ]


def _step(most: float) -> float:
    """Return a round step that gives four to ten lines."""
    step = 1.0
    while most / step > 10:
        step *= 2.5 if str(step).startswith("2") else 2
    return step


def _line(
    x1: float, y1: float, x2: float, y2: float, colour: str, width: str = "1", dash: str = ""
) -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{colour}" stroke-width="{width}"{dashed}/>'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#333">{text}</text>'


if __name__ == "__main__":
    main()
