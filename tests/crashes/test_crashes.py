"""A slice of `python -m tests.crashes`: a few ends of each kind, and a disk that is really full."""

import subprocess
from pathlib import Path

import pytest
from tests.crashes.broken_disk import compiler, small_disk
from tests.crashes.rig import ENDS, Rig, run_full_disk
from tests.crashes.seal_kills import run_seals

needs_compiler = pytest.mark.skipif(
    compiler() is None, reason="no C compiler: the disk that fails is compiled here"
)


@needs_compiler
def test_whatever_ends_the_service_no_acknowledged_job_is_lost_or_doubled(tmp_path: Path) -> None:
    rig = Rig(tmp_path, seed=7, senders=2)
    try:
        for how in ENDS:
            rig.round(how)
            if how == "power":
                rig.next_epoch()
        found = rig.finish()
    finally:
        rig.close()
    assert found.faults == []
    assert found.rounds == dict.fromkeys(ENDS, 1)
    assert found.stopped_itself == 2
    assert found.jobs > 500
    assert found.resent > 5


@needs_compiler
def test_a_full_disk_stops_the_service_and_costs_nothing_that_was_acknowledged(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        if disk is None:
            pytest.skip("this process may not mount a small disk")

        def larger() -> None:
            subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)

        found = run_full_disk(tmp_path, disk, larger, seed=3)
    assert found.faults == []
    assert found.stopped_itself == 1
    assert found.jobs > 500


def test_killed_while_it_seals_the_service_comes_to_the_same_root(tmp_path: Path) -> None:
    found = run_seals(tmp_path, jobs=10_000, kills=3, seed=5)
    assert found.faults == []
    assert found.kills == 3
    assert found.inside >= 1
    assert found.seals >= 1
