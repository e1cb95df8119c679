"""Real logs through the whole system: Saturn's own rows, and the 1998 World Cup trace."""

import json

import pytest

from journey.system import looks, meridian

pytestmark = pytest.mark.journey


def run(network, path, data_dir, *more):
    return meridian(
        "run", "--network", network, "--jobs", path, "--data-dir", data_dir,
        "--challenge-seconds", "1", "--json", *more,
    ).document["epochs"]  # fmt: skip


def test_the_hundred_real_saturn_rows_are_measured_and_their_node_is_paid(shared_dir, tmp_path):
    path = shared_dir / "data" / "saturn" / "sample-logs.ndjson"
    [epoch] = run("saturn", path, tmp_path, "--budget-atto", "1000003")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert epoch["jobs"] == len(rows) == 100
    assert [payee["node_id"] for payee in epoch["payees"]] == [rows[0]["nodeId"]]
    assert epoch["total_atto"] == epoch["allocated_atto"] == epoch["paid_atto"] == "1000003"
    request = rows[0]["requestId"]
    proof = tmp_path / "job.json"
    node = ("--data-dir", tmp_path, "--epoch", "1", "--node", rows[0]["nodeId"])
    assert looks("proof", "job", *node, "--job", request, "-o", proof).code == 0
    assert looks("proof", "verify", proof, "--data-dir", tmp_path).code == 0
    absent = tmp_path / "absent.json"
    assert looks("proof", "absent", *node, "--job", "never-done", "-o", absent).code == 0
    assert looks("proof", "verify", absent, "--data-dir", tmp_path).code == 0


def test_the_ten_thousand_real_requests_become_jobs_of_29_servers(shared_dir, tmp_path):
    path = shared_dir / "data" / "worldcup98" / "wc_day50_4.head"
    epochs = run("worldcup", path, tmp_path, "--claims", "5")
    assert sum(epoch["jobs"] for epoch in epochs) == 10_000
    assert len({payee["node_id"] for epoch in epochs for payee in epoch["payees"]}) == 29
    for epoch in epochs:
        assert sum(int(payee["weight"]) for payee in epoch["payees"]) == epoch["jobs"]
        assert 0 < int(epoch["paid_atto"]) < int(epoch["allocated_atto"])
