"""A node's own count of an epoch beside the committed one: sums, jobs, late ones; and what it signs when left out."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from watch_world import CALENDAR, SPONSOR, VICTIM, WORK, WatchWorld

from meridian.cli.main import main
from meridian.measure.columns import job_columns, read_segment
from meridian.measure.own_jobs import own_jobs
from meridian.measure.own_records import compare_jobs
from meridian.primitives.cid import cid_text
from meridian.scenario.jobs import JOBS, SCHEMA, Job, batch_of

COUNT = JOBS[VICTIM]


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


class Node:
    """The victim, with its own records in a file."""

    def __init__(self, world: WatchWorld, jobs: Sequence[Job]) -> None:
        self.world, self.file = world, world.root / "own.ndjson"
        self.file.write_bytes(batch_of(jobs))

    def where(self, epoch: int = 1) -> list[object]:
        return ["--data-dir", self.world.data, "--node", VICTIM, "--epoch", epoch]

    def compare(self, epoch: int = 1) -> tuple[int, dict[str, Any]]:
        result = run("node", "compare", self.file, *self.where(epoch), "--json")
        assert result.stdout, result.output
        [words] = json.loads(result.stdout)["commitments"]
        return result.exit_code, words


def victims(jobs: Sequence[Job]) -> list[Job]:
    return [job for job in jobs if job.node_id == VICTIM]


def test_equal_records_agree(world: WatchWorld, endpoint: str) -> None:
    assert endpoint
    node = Node(world, WORK.jobs_of(1))
    world.commit(1)
    code, words = node.compare()
    assert (code, words["agrees"]) == (0, True)
    assert words["sums"]["jobs"] == {"own": COUNT, "committed": COUNT, "difference": 0}


def test_each_way_of_differing_is_named(world: WatchWorld, endpoint: str) -> None:
    assert endpoint
    jobs = WORK.jobs_of(1)
    own = victims(jobs)
    gone, other, late = own[0], own[1], own[2]
    node = Node(world, own[:-1])
    committed = [
        replace(job, ended_us=job.ended_us - 5) if job == other else job
        for job in jobs
        if job not in (gone, late)
    ]
    world.commit(1, committed)
    world.commit(2, [*WORK.jobs_of(2), late])
    code, words = node.compare()
    assert (code, words["agrees"]) == (1, False)
    assert words["not_counted"] == [gone.job_id]
    assert words["counted_later"] == {late.job_id: 2}
    assert words["unknown"] == [own[-1].job_id]
    assert words["altered"] == [other.job_id]
    assert set(words["altered_columns"]) == {"started_us", "ended_us"}
    assert words["sums"]["jobs"]["difference"] == 1
    node = Node(world, WORK.jobs_of(2))
    code, words = node.compare(2)
    assert (code, words["late_here"], words["agrees"]) == (0, [late.job_id], True)
    shown = run("node", "compare", node.file, *node.where(2))
    assert "1 jobs of earlier epochs count here, as late" in shown.stdout


def test_who_was_left_out_signs_what_its_summary_wrote(
    world: WatchWorld, endpoint: str, tmp_path: Path
) -> None:
    assert endpoint
    jobs = WORK.jobs_of(1)
    node = Node(world, [*jobs, victims(jobs)[0]])
    world.commit(1, lie="drops-jobs")
    code, words = node.compare()
    assert code == 1
    assert words["sums"]["jobs"] == {"own": COUNT, "committed": 0, "difference": COUNT}
    assert len(words["not_counted"]) == COUNT
    out, published = tmp_path / "own.parquet", tmp_path / "public"
    more = ["--receipts", tmp_path / "receipts", "--out", out, "--publish", published, "--json"]
    made = json.loads(run("node", "summary", node.file, *node.where(), *more).stdout)
    assert (made["jobs"], made["repeated"], made["left_out"]) == (COUNT, 1, len(jobs) - COUNT)
    data = out.read_bytes()
    assert (published / "objects" / made["segment"]).read_bytes() == data
    own = own_jobs(data, SCHEMA, CALENDAR, 1, VICTIM)
    assert (own.root.hex(), cid_text(own.segment)) == (made["root"], made["segment"])
    again = run("node", "compare", *node.where(), "--segment", out, "--json")
    assert json.loads(again.stdout)["commitments"] == [words]
    key = tmp_path / "operator.key"
    key.write_text(SPONSOR.secret.hex())
    key.chmod(0o600)
    signed = run(
        *("chain", "self-commit", "sign", *node.where(), "--segment", out, "--key", key),
        *("--out", tmp_path / "signed.json", "--json"),
    )
    assert json.loads(signed.stdout)["root"] == made["root"], signed.output
    table = read_segment(data, SCHEMA)
    assert table.column("batch_seed").unique().to_pylist() != [bytes(32)]
    nothing = run("node", "summary", node.file, *node.where(7), *more)
    assert nothing.exit_code == 3


VALUES = st.dictionaries(st.integers(0, 30), st.integers(0, 2), max_size=20)


@pytest.mark.parametrize("name", ["ended_us", "bytes_sent"])
@given(own=VALUES, committed=VALUES)
def test_differences_are_those_of_two_dictionaries(
    name: str, own: dict[int, int], committed: dict[int, int]
) -> None:
    def table(jobs: dict[int, int]) -> pa.Table:
        rows = [
            {"node_id": "n", "job_id": f"j{job}", "started_us": 0, "ended_us": 5, "bytes_sent": 7}
            | {name: 10 + value}
            for job, value in jobs.items()
        ]
        return pa.Table.from_pylist(rows, schema=job_columns(SCHEMA))

    found = compare_jobs(table(own), table(committed), SCHEMA)
    mine, theirs = list(own), list(committed)
    assert {mine[at] for at in found.not_counted} == own.keys() - committed.keys()
    assert {theirs[at] for at in found.unknown} == committed.keys() - own.keys()
    wrong = {job for job in own.keys() & committed.keys() if own[job] != committed[job]}
    assert {mine[at] for at in found.altered} == wrong
    assert {theirs[at] for at in found.altered_as} == wrong
    assert {mine[at] for at in found.columns.get(name, [])} == wrong
    assert found.agrees == (own == committed)
