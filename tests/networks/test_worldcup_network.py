"""The World Cup log: 10,000 requests counted by server, as the outside analysis of the same file counts them."""

import re
from pathlib import Path

import pytest

from evaluate.epoch_builder import first_records, input_of_table, tables_by_epoch
from meridian.errors import InvalidInput
from meridian.networks.worldcup import STATUS_CODES, load


def log_file(shared_dir: Path) -> Path:
    return shared_dir / "data" / "worldcup98" / "wc_day50_4.head"


def analysed(shared_dir: Path) -> dict[str, int]:
    """Server -> requests, from the file that came with the log."""
    text = (shared_dir / "data" / "worldcup98" / "wc_day50_4.analysis").read_text()
    return {f"server-{server}": int(n) for server, n in re.findall(r"Server (\d+): (\d+)", text)}


def test_every_server_has_the_weight_that_the_outside_analysis_counts(shared_dir: Path) -> None:
    source = load([log_file(shared_dir)])
    assert (source.jobs, len(source.nodes), source.n_epochs) == (10_000, 29, 3)
    counted: dict[str, int] = {}
    definition = source.definition
    for epoch, table in tables_by_epoch(source).items():
        prepared = input_of_table(table, epoch)
        result = definition.evaluation_function.evaluate(prepared, definition.function_parameters)
        for node_id, weight in zip(prepared.node_ids, result.weights, strict=True):
            counted[node_id] = counted.get(node_id, 0) + (weight or 0)
    assert counted == analysed(shared_dir)


def test_sizes_and_statuses_are_those_of_the_log(shared_dir: Path) -> None:
    source = load([log_file(shared_dir)])
    tables = tables_by_epoch(source).values()
    sizes = [size for table in tables for size in table.column("size").to_pylist()]
    assert sum(size for size in sizes if size is not None) == 47_458_780  # of the analysis
    assert sum(size is None for size in sizes) == 723
    statuses = [status for table in tables for status in table.column("status code").to_pylist()]
    assert {status: statuses.count(status) for status in set(statuses)} == {
        200: 8_828, 206: 7, 302: 2, 304: 1_102, 404: 61,
    }  # fmt: skip
    ids = [job for table in tables for job in table.column("job_id").to_pylist()]
    assert len(set(ids)) == 10_000


def test_the_first_record_is_what_its_bytes_say(shared_dir: Path) -> None:
    record = first_records(load([log_file(shared_dir)]), 1)[0]
    assert (record["job_id"], record["peer_id"]) == ("request-0", "server-70")
    assert record["ended_at"] == "1998-06-14 21:53:43.000000+00"
    values = [field["value"] for field in record["evaluation_fields"] + record["additional_fields"]]
    assert values == [1295, 200, 79_727, 13_719, 0, 1]


def test_the_status_list_is_the_one_of_the_format() -> None:
    assert [STATUS_CODES[index] for index in (0, 2, 8, 9, 13, 15, 19, 30, 31, 36)] == [
        100, 200, 206, 300, 304, 400, 404, 415, 500, 505,
    ]  # fmt: skip
    assert len(STATUS_CODES) == 37


def test_unknown_sizes_and_statuses_are_null(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(
        bytes([0, 0, 0, 9]) + bytes(8) + b"\xff\xff\xff\xff" + bytes([0, 0x40 | 37, 1, 5])
    )
    fields = first_records(load([path]), 1)[0]["evaluation_fields"]
    assert [field["value"] for field in fields] == [None, None]


def test_broken_and_empty_logs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(bytes(19))
    with pytest.raises(InvalidInput, match="20-byte"):
        load([path])
    path.write_bytes(b"")
    with pytest.raises(InvalidInput, match="no requests"):
        load([path])
    path.write_bytes(bytes(20) + b"\xff" * 20)
    with pytest.raises(InvalidInput, match="epochs"):
        load([path])
