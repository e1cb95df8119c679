"""How large a network's machines must be: every stage by arithmetic from measured figures, and a simulated day beside it.

Default: a hundred times Saturn, 13.7 billion jobs a day of a million nodes. `docs/capacity.md` reads the result.
"""

import argparse
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmarks.capacity_day import buy, simulate
from benchmarks.capacity_figures import ASSUMED
from benchmarks.capacity_model import SATURN, Load, Stage, bottleneck, figures, stages

Result = dict[str, Any]
MEASURED_FILE: Final = Path(__file__).resolve().parents[1] / "docs" / "capacity.json"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--jobs-per-day", type=float, default=100.0 * SATURN)
    parser.add_argument("--nodes", type=int, default=1_000_000)
    parser.add_argument("--evaluators", type=int, default=31)
    parser.add_argument("--epochs-per-day", type=int, default=24)
    parser.add_argument("--form", choices=("arrow", "ndjson"), default="arrow")
    parser.add_argument(
        "--assume",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"replace an assumption: {', '.join(ASSUMED)}",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the simulated day")


def measured_rows() -> list[dict[str, Any]]:
    """Return what `python -m benchmarks rows` measured."""
    rows: list[dict[str, Any]] = json.loads(MEASURED_FILE.read_text())["rows"]
    return rows


def load_of(assume: list[str], **values: Any) -> Load:
    """Return the load that options describe; an unknown or wrong assumption ends the programme with its name."""
    assumed = {}
    for text in assume:
        name, _, value = text.partition("=")
        if name not in ASSUMED:
            raise SystemExit(f"--assume {name}: is not one of {', '.join(ASSUMED)}")
        try:
            assumed[name] = float(value)
        except ValueError:
            raise SystemExit(f"--assume {name}: {value!r} is no number") from None
    return Load(assumed=assumed, **values)


def measure(
    jobs_per_day: float,
    nodes: int,
    evaluators: int,
    epochs_per_day: int,
    form: str,
    assume: list[str],
    seed: int,
) -> Result:
    """Compute all stages, and simulate the day with what they buy."""
    load = load_of(
        assume,
        jobs_per_day=jobs_per_day,
        nodes=nodes,
        evaluators=evaluators,
        epochs_per_day=epochs_per_day,
        form=form,
    )
    rows = measured_rows()
    found = stages(load, rows)
    order, machines = buy(load, rows, seed)
    day = simulate(load, rows, machines, seed)
    worst = bottleneck(found)
    return {
        "load": asdict(load),
        "stages": [
            asdict(one)
            | {
                "used": one.used,
                "machines": one.machines,
                "saturates_at": None if math.isinf(one.saturates_at) else one.saturates_at,
                "usd_per_million": usd_per_million(one, load),
            }
            for one in found
        ],
        "bottleneck": f"{worst.name} ({worst.resource})",
        "usd_per_million": sum(usd_per_million(one, load) for one in found),
        "assumed": {name: asdict(figure) for name, figure in figures(load).items()},
        "simulated": {
            "busiest_first": order,
            "machines": machines,
            "jobs": day.jobs,
            "done": day.done,
            "report_after_s": day.report_after_s,
            "queues": {name: asdict(seen) for name, seen in day.queues.items()},
        },
    }


def usd_per_million(stage: Stage, load: Load) -> float:
    """Return what a stage costs for a million jobs."""
    return stage.usd_per_day / load.jobs_per_day * 1e6


def times(saturates_at: float | None) -> str:
    """Return in words where one machine ends, as a part or a multiple of the load."""
    if saturates_at is None or math.isinf(saturates_at):
        return "-"
    return f"{saturates_at:,.2f}" if saturates_at < 10 else f"{saturates_at:,.0f}"


def table(found: Result) -> str:
    """Return the stages as a Markdown table."""
    lines = [
        "| stage | resource | load at the peak | one machine | it takes, times this load | machines | bought | USD a million jobs |",
        "|---|---|---:|---:|---:|---:|---|---:|",
    ]
    for one in found["stages"]:
        many = f"{one['machines']:,}" + (f" x {one['copies']}" if one["copies"] > 1 else "")
        has = "-" if math.isinf(one["capacity"]) else f"{one['capacity']:,.4g}"
        lines.append(
            f"| {one['name']} | {one['resource']} | {_short(one['load'])} {one['unit']} | {has} "
            f"| {times(one['saturates_at'])} | {many} | {one['bought']} | {one['usd_per_million']:.5f} |"
        )
    lines.append(f"| **all** | | | | | | | **{found['usd_per_million']:.4f}** |")
    return "\n".join(lines)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}"


def day_table(found: Result) -> str:
    """Return the simulated day as a Markdown table."""
    simulated = found["simulated"]
    lines = [
        "| queue | machines | its busiest epoch takes of them | longest wait, s |",
        "|---|---:|---:|---:|",
    ]
    lines += [
        f"| {name} | {simulated['machines'][name]:,} | {seen['busiest']:.0%} | {seen['waiting_s']:.0f} |"
        for name, seen in simulated["queues"].items()
    ]
    return "\n".join(lines)


def report(found: Result) -> None:
    """Print everything."""
    load = found["load"]
    print(
        f"{load['jobs_per_day']:,.0f} jobs a day ({load['form']}), {load['nodes']:,} nodes, "
        f"{load['evaluators']} evaluators, {load['epochs_per_day']} epochs\n"
    )
    print(table(found))
    print(f"\nfirst to end: {found['bottleneck']}\n")
    simulated = found["simulated"]
    print(
        f"simulated day: busiest in this order: {', '.join(simulated['busiest_first']) or 'none'}"
    )
    print(
        f"{simulated['done']:,} of {simulated['jobs']:,} jobs reported, "
        f"at most {simulated['report_after_s']:.0f} s after their epoch\n"
    )
    print(day_table(found))
