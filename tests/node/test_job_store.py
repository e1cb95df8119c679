"""An epoch's jobs in files are the same jobs as in memory, whatever is read of them."""

import pyarrow as pa
import pytest

from meridian.evaluate.jobs import Segments
from meridian.measure.columns import segment_columns
from meridian.node import job_store
from meridian.node.job_store import JobStore
from node.evaluator.evaluator_world import SCHEMA, jobs_of

COUNTS = {"alpha": 4, "beta": 5, "gamma": 6, "delta": 7}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything beyond a few bytes goes into files of a few rows."""
    monkeypatch.setattr(job_store, "MIB", 0)
    monkeypatch.setattr(job_store, "FILE_ROWS", 4)


def stored(tmp_path, length: int):
    store = JobStore(segment_columns(SCHEMA), 512, tmp_path / "jobs")
    table = jobs_of(5)
    for start in range(0, table.num_rows, length):
        store.add(table.slice(start, length))
    names = table.column("node_id").unique().to_pylist()
    return table, store.jobs({name: COUNTS[name] for name in names})


@pytest.mark.parametrize("length", [1, 3, 22])
@pytest.mark.usefixtures("tiny")
def test_jobs_in_files_are_read_again_and_again_and_go_with_the_last_reference(
    tmp_path, length: int
) -> None:
    table, jobs = stored(tmp_path, length)
    assert isinstance(jobs, Segments)
    assert any((tmp_path / "jobs").iterdir())
    for _ in range(2):
        for name in ("job_id", "size", "city"):
            assert jobs.column(name).to_pylist() == table.column(name).to_pylist()
        both = pa.Table.from_batches(jobs.select(["size", "node_id", "job_id"]).to_batches())
        assert both.column("node_id").to_pylist() == table.column("node_id").to_pylist()
        assert both.column("size").to_pylist() == table.column("size").to_pylist()
    del jobs
    assert not any((tmp_path / "jobs").iterdir())


def test_few_jobs_stay_in_memory(tmp_path) -> None:
    table, jobs = stored(tmp_path, 5)
    assert isinstance(jobs, pa.Table)
    assert jobs.drop_columns(["node"]).equals(table)
    assert jobs.column("node").to_pylist() == sorted(jobs.column("node").to_pylist())
    assert not (tmp_path / "jobs").exists()
