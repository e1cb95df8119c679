"""docs/capacity.md: its tables are the model's, the model agrees with a simulated day, and with days that were really run."""

import json
import sys
from typing import Any

import pytest
from markdown_pages import ROOT

sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

from benchmarks import capacity, large_rows  # noqa: E402 - of the checkout, not installed
from benchmarks.capacity_day import SCALED, buy, curve, simulate  # noqa: E402
from benchmarks.capacity_figures import SEAL_CURVE, seal_us  # noqa: E402
from benchmarks.capacity_model import (  # noqa: E402
    SATURN,
    Load,
    Stage,
    bottleneck,
    rows_of,
    service_cpu_s,
    stages,
)
from record_capacity import draw, with_tables  # noqa: E402

DOCS = ROOT / "docs"
TOLERANCE = 0.4
"""Of processor seconds: hours differ by so much on shared machines (benchmarks/README.md, seal)."""
OTHER_VERSION = 1.8
"""Days in docs/scale.json may be of a faster version than the figures of ingest and seal: at most so many times."""
QUEUE_OF = {
    "receive": "receive",
    "ingest": "ingest",
    "remember": "remember",
    "log, spill, segments": "disk",
    "seal and commit": "seal",
    "publish": "publish",
    "evaluate": "evaluate",
    "rows and claims (memory)": "rows",
    "claims": "claims",
}
"""Stage of the arithmetic -> queue of the simulated day."""


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return capacity.measured_rows()


def test_the_page_and_its_picture_are_what_the_model_says(rows: list[dict[str, Any]]) -> None:
    page = (DOCS / "capacity.md").read_text()
    assert "| remember | memory |" in page
    assert with_tables(page) == page, "python docs/record_capacity.py renews it"
    assert (DOCS / "capacity.svg").read_text() == draw(rows)


def days_of(name: str) -> list[dict[str, Any]]:
    file = DOCS / name
    kept = json.loads(file.read_text()) if file.exists() else []
    days: list[dict[str, Any]] = kept["day"] if isinstance(kept, dict) else kept
    return days


def test_days_that_were_run_took_what_the_arithmetic_says() -> None:
    days = days_of("capacity.json")
    assert days
    for day in days:
        said = service_cpu_s(day["jobs"], day["epochs"], day["form"])
        assert said == pytest.approx(day["service_cpu_s"], rel=TOLERANCE)
    for day in days_of("scale.json"):
        said = service_cpu_s(day["jobs"], day["epochs"], day["form"])
        assert 1 / OTHER_VERSION < said / day["service_cpu_s"] < OTHER_VERSION


def test_the_measured_million_is_met_by_its_own_line(rows: list[dict[str, Any]]) -> None:
    for run in rows:
        load = Load(nodes=run["nodes"], evaluators=run["evaluators"])
        cpu_s, memory = rows_of(rows, load)
        spent = sum(value for name, value in run["cpu_s"].items() if "proofs" not in name)
        assert cpu_s == pytest.approx(spent, rel=0.1)
        assert memory == pytest.approx(run["peak_mib"] << 20, rel=0.1)


LOADS = {
    "saturn": Load(jobs_per_day=SATURN, nodes=3_000),
    "x 100": Load(),
    "x 100 ndjson": Load(form="ndjson"),
    "x 100, short epochs": Load(epochs_per_day=96),
    "x 100, free network": Load(assumed={"network": 1e10, "memory": 1e12}),
    "x 1000": Load(jobs_per_day=1_000 * SATURN, nodes=3_000_000, evaluators=7),
    "claims each day": Load(jobs_per_day=SATURN, assumed={"claims": 30.0}),
}


def by_queue(found: list[Stage]) -> dict[str, Stage]:
    named = {}
    for stage in found:
        for name in (stage.name, f"{stage.name} ({stage.resource})"):
            if name in QUEUE_OF:
                named[QUEUE_OF[name]] = stage
    assert set(named) == set(SCALED)
    return named


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)
def test_the_simulated_day_finds_the_same_bottleneck_and_buys_the_same(
    load: Load, rows: list[dict[str, Any]]
) -> None:
    found = stages(load, rows)
    order, machines = buy(load, rows)
    for queue, stage in by_queue(found).items():
        assert abs(machines[queue] - stage.machines) <= 1 + 0.1 * stage.machines, queue
    worst = bottleneck(found)
    if worst.saturates_at < 0.97:
        assert by_queue(found)[order[0]] is worst
    else:
        assert len(order) <= 1
    day = simulate(load, rows, machines)
    assert day.done == day.jobs
    assert day.jobs == pytest.approx(load.jobs_per_day, rel=0.03)  # 13,700 batches of Saturn


def test_a_machine_too_few_falls_behind_where_it_is_missing(rows: list[dict[str, Any]]) -> None:
    load = Load(jobs_per_day=1_000 * SATURN, evaluators=7)
    _, machines = buy(load, rows)
    assert min(machines[name] for name in ("disk", "publish", "receive")) > 1
    for name in ("disk", "publish", "receive"):
        day = simulate(load, rows, {**machines, name: 1})
        assert day.worst == name
        assert day.done < day.jobs
        assert day.queues[name].waiting_s > 3_600
    small = Load(nodes=3_000_000, assumed={"memory": 4e9})
    day = simulate(small, rows, {**dict.fromkeys(SCALED, 100), "rows": 1})
    assert (day.done, day.worst) == (0, "rows")


def test_the_same_seed_is_the_same_day(rows: list[dict[str, Any]]) -> None:
    one = dict.fromkeys(SCALED, 20)
    assert simulate(Load(), rows, one, 3) == simulate(Load(), rows, one, 3)
    assert simulate(Load(), rows, one, 3).jobs != simulate(Load(), rows, one, 4).jobs
    shares = curve(Load())
    assert shares.sum() == pytest.approx(1)
    assert shares.max() * len(shares) == pytest.approx(1.6, rel=0.001)


def test_arithmetic_is_proportional_where_it_says_so(rows: list[dict[str, Any]]) -> None:
    # Large epochs, so that the seal's curve is at its shard's.
    once, twice = (stages(Load(jobs_per_day=n * 1e10, nodes=10**6), rows) for n in (1, 2))
    for a, b in zip(once, twice, strict=True):
        assert b.load / a.load == pytest.approx(2 if a.grows_with == "jobs" else 1)
        assert b.usd_per_day >= a.usd_per_day
    gas = next(stage for stage in once if stage.name == "commit and report")
    assert gas.load * 3_600 == pytest.approx(489_607)
    assert [seal_us(jobs) for jobs, _ in SEAL_CURVE] == [us for _, us in SEAL_CURVE]
    assert (seal_us(1), seal_us(10**10)) == (SEAL_CURVE[0][1], SEAL_CURVE[-1][1])


def test_assumptions_are_replaced_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    asked = {"nodes": 1_000_000, "evaluators": 31, "epochs_per_day": 24, "form": "arrow", "seed": 1}
    found = capacity.measure(jobs_per_day=1e9, assume=["egress=0", "gas price=0"], **asked)
    costs = {one["name"]: one["usd_per_million"] for one in found["stages"]}
    assert costs["publish"] == costs["claims"] == 0 < costs["remember"]
    assert found["assumed"]["egress"]["value"] == 0
    capacity.report(found)
    assert "first to end: " in capsys.readouterr().out
    for wrong in ("egres=0", "egress=free"):
        with pytest.raises(SystemExit, match="--assume"):
            capacity.measure(jobs_per_day=1e9, assume=[wrong], **asked)


def test_rows_are_measured_by_the_real_functions() -> None:
    found = large_rows.measure(nodes=2_000, evaluators=4)
    assert found["row_bytes"] == 206 + 49 * 2_000
    assert {"outcome", "reward root", "decode claims"} <= set(found["cpu_s"])
