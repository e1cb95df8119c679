"""The `nym` network: readings become jobs, missing stays missing, and an epoch is a half-open interval."""

import json
from fractions import Fraction
from math import floor
from pathlib import Path

import pytest

from meridian.errors import InvalidInput
from meridian.evaluate.registry import function_named
from meridian.networks.generator import Traffic
from meridian.networks.local import epoch_inputs, scrambled
from meridian.networks.nym import DEFINITION, generate, load, node_id

START = 1_683_936_000  # a whole hour


def write(path: Path, readings: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(reading) + "\n" for reading in readings))
    return path


def test_averages_over_half_open_epochs(tmp_path: Path) -> None:
    readings = [
        {"mix_id": 7, "reliability": 90, "timestamp": START},
        {"mix_id": 7, "reliability": 80, "timestamp": START + 3599},
        {"mix_id": 7, "reliability": None, "timestamp": START + 5},
        {"mix_id": 7, "reliability": 1, "timestamp": START + 3600},  # the next epoch's
        {"mix_id": 8, "reliability": None, "timestamp": START},
        {"mix_id": 9, "reliability": 101, "timestamp": START, "api": 2},
        {"mix_id": 9, "reliability": 0, "timestamp": START, "api": 3},
    ]
    source = load([write(tmp_path / "r.ndjson", readings)])
    (first, second), refused = epoch_inputs(source)
    assert not refused
    result = function_named("nym").evaluate(first, {})
    weights = dict(zip(first.node_ids, result.weights, strict=True))
    assert weights == {node_id(7): 85_000_000, node_id(8): None, node_id(9): 0}
    assert result.summary["missing"] == 2
    assert result.summary["impossible"] == 1
    assert result.summary["readings"] == 3
    assert function_named("nym").evaluate(second, {}).weights == (1_000_000,)
    with pytest.raises(InvalidInput, match="parameter"):
        function_named("nym").evaluate(first, {"x": 1})


def test_lines_that_are_no_readings_are_passed_on_to_be_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "r.ndjson", [{"mix_id": 1, "reliability": 3, "timestamp": START}])
    with path.open("a") as file:
        file.write('not JSON\n\n{"mix_id": "x"}\n')
    source = load([path])
    assert source.jobs == 3
    _, refused = epoch_inputs(source)
    assert len(refused) == 2
    path.write_text("nothing\n")
    with pytest.raises(InvalidInput, match="no line"):
        load([path])


def test_generated_readings_are_averaged_exactly_in_any_order() -> None:
    source = generate(Traffic(seed=5, jobs=3_000, nodes=40, epochs=2))
    assert source.definition is DEFINITION
    function = function_named("nym")
    for given in epoch_inputs(source)[0]:
        result = function.evaluate(given, {})
        readings: dict[int, list[int]] = {}
        nodes, values = (given.jobs.column(name).to_pylist() for name in ("node", "reliability"))
        for node, value in zip(nodes, values, strict=True):
            if value is not None:
                readings.setdefault(node, []).append(value)
        expected = [
            floor(10**6 * Fraction(sum(readings[node]), len(readings[node])))
            if node in readings
            else None
            for node in range(len(given.node_ids))
        ]
        assert list(result.weights) == expected
        assert None in expected or result.summary["missing"]
        moved, _ = scrambled(given, 1)
        assert function.evaluate(moved, {}, threads=3).weights == result.weights
    assert b"".join(source.batches()) == b"".join(
        generate(Traffic(seed=5, jobs=3_000, nodes=40, epochs=2)).batches()
    )
