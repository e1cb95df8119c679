"""Real duties of real minipools: what we pay is what they were really paid."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from evaluate.epoch_builder import first_records, input_of_table, tables_by_epoch
from meridian.errors import InvalidInput, NotFound
from meridian.networks.attestation import BEACON_EPOCHS, INTERVAL_S, load
from meridian.reward.allocation import ALLOCATIONS

BUDGETS = {  # ranges of data/README.md
    60: (63312419417831563, 63312419417831595),
    62: (46622426313114184, 46622426313114200),
    103: (65300742027080813, 65300742027080926),
}
DUTIES = {60: (360_923, 803), 62: (361_094, 803), 103: (605_603, 1_347)}


def performance(shared_dir: Path, index: int) -> Path:
    return shared_dir / "data" / "rocketpool" / f"performance-testnet-{index}.json.gz"


@pytest.mark.parametrize("index", [60, 62, 103])
def test_floor_allocation_of_the_evaluated_scores_is_what_every_minipool_earned(
    shared_dir: Path, index: int
) -> None:
    source = load([performance(shared_dir, index)])
    real = json.loads(gzip.decompress(performance(shared_dir, index).read_bytes()))
    pools = real["minipoolPerformance"]
    assert (source.jobs, len(source.nodes)) == DUTIES[index]
    table = tables_by_epoch(source)[index]
    assert table.num_rows == source.jobs
    epoch = input_of_table(table, index)
    definition = source.definition
    result = definition.evaluation_function.evaluate(
        epoch, definition.function_parameters, threads=2
    )

    assert len(epoch.node_ids) == len(pools)
    for node_id, weight in zip(epoch.node_ids, result.weights, strict=True):
        assert weight == int(pools[node_id]["attestationScore"])
    misses = sum(pool["missedAttestations"] for pool in pools.values())
    assert result.summary["missed"] == misses
    assert result.summary["ok"] == source.jobs - misses

    budget = source.budget_atto(index)
    assert budget is not None
    assert BUDGETS[index][0] <= budget <= BUDGETS[index][1]
    weights = [weight or 0 for weight in result.weights]
    for total in (budget, *BUDGETS[index]):
        amounts = ALLOCATIONS[definition.parameters.allocation](weights, total)
        for node_id, amount in zip(epoch.node_ids, amounts, strict=True):
            assert amount == int(pools[node_id]["ethEarned"])


def test_duties_stand_in_their_interval_and_misses_at_their_slots(shared_dir: Path) -> None:
    source = load([performance(shared_dir, 60)])
    assert source.genesis_s == 1_754_611_224  # 2025-08-08T00:00:24Z
    assert (source.epoch_seconds, source.first_epoch, source.n_epochs) == (INTERVAL_S, 60, 1)
    node = "0x003e84757dba10f9cd68dfc29589113ec718ad68"
    assert source.nodes[node] == bytes.fromhex(node[2:])
    table = tables_by_epoch(source)[60]
    rows = [row for row in table.to_pylist() if row["node_id"] == node]
    assert len({row["job_id"] for row in rows}) == len(rows) == 450
    missed = sorted(row["started_us"] // 1_000_000 for row in rows if row["score"] == 0)
    assert missed[0] == source.genesis_s + (1_044_747 - 1_033_152) * 12
    assert sum(row["score"] for row in rows) == 119_480_085_398_593_581_010
    ended = table.column("ended_us").to_pylist()
    assert ended == sorted(ended)


def test_two_intervals_leave_an_empty_epoch_between_them(shared_dir: Path) -> None:
    source = load([performance(shared_dir, 62), performance(shared_dir, 60)])
    assert list(source.epochs) == [60, 61, 62]
    assert source.budget_atto(61) is None
    assert set(source.budgets_atto) == {60, 62}
    given = load([performance(shared_dir, 60)], budget_atto=5)
    assert given.budget_atto(60) == 5


def test_intervals_that_do_not_lie_on_one_calendar_are_refused(shared_dir: Path) -> None:
    """Interval 103 began 102 days after 60, not 86."""
    with pytest.raises(InvalidInput, match="calendar"):
        load([performance(shared_dir, 60), performance(shared_dir, 103)])
    with pytest.raises(InvalidInput, match="twice"):
        load([performance(shared_dir, 60), performance(shared_dir, 60)])


NODE = "0x" + "Ab" * 20


def small_file(tmp_path: Path, **changes: Any) -> Path:
    pool = {
        "successfulAttestations": 3,
        "missedAttestations": 1,
        "attestationScore": "11",
        "missingAttestationSlots": [65],
        "ethEarned": "7",
    }
    content = {
        "index": 5,
        "startTime": "2025-01-01T00:00:00Z",
        "consensusStartBlock": 33,
        "minipoolPerformance": {NODE: pool | changes},
    }
    path = tmp_path / "performance.json"
    path.write_text(json.dumps(content))
    return path


def test_successes_fill_the_beacon_epochs_without_a_miss(tmp_path: Path) -> None:
    """The first slot is 32 (slot 33 is the first with a block); the miss at slot 65 is in the second beacon epoch."""
    source = load([small_file(tmp_path)])
    records = first_records(source, 9)
    assert [record["job_id"] for record in records] == ["duty-1", "duty-2", "duty-3", "duty-4"]
    assert [record["evaluation_fields"][0]["value"] for record in records] == [5, 0, 3, 3]
    assert records[1]["started_at"] == "2025-01-01 00:06:36.000000+00"
    assert list(source.nodes) == [NODE.lower()]
    assert source.budget_atto(5) == 7


@pytest.mark.parametrize(
    "changes",
    [
        {"missingAttestationSlots": []},
        {"missingAttestationSlots": [64, 65], "missedAttestations": 2},
        {"missingAttestationSlots": [31]},
        {"missingAttestationSlots": [32 + 14_400]},
        {"successfulAttestations": BEACON_EPOCHS},
        {"successfulAttestations": 0},
        {"successfulAttestations": -1},
        {"attestationScore": "-1"},
        {"attestationScore": "much"},
        {"attestationScore": None},
    ],
)
def test_files_that_contradict_themselves_are_refused_by_name(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput, match=r"performance\.json"):
        load([small_file(tmp_path, **changes)])


def test_files_that_are_not_there_or_not_json(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        load([tmp_path / "nothing.json"])
    for data in (b"", b"{}", b"\x1f\x8bbroken"):
        path = tmp_path / "broken.json"
        path.write_bytes(data)
        with pytest.raises(InvalidInput, match=r"broken\.json"):
            load([path])
    with pytest.raises(InvalidInput):
        load([])


def test_payouts_that_no_budget_explains_are_refused(tmp_path: Path) -> None:
    path = small_file(tmp_path)
    content = json.loads(path.read_text())
    pool = content["minipoolPerformance"][NODE]
    content["minipoolPerformance"]["0x" + "cd" * 20] = pool | {"ethEarned": "9"}
    path.write_text(json.dumps(content))
    with pytest.raises(InvalidInput, match="no budget"):
        load([path])
