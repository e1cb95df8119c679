"""`meridian spark`: one object a line, a table for people, and lines that are no rounds."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from meridian.cli.main import main
from meridian.networks.sources import load


def evaluate_rounds(*arguments: object) -> Result:
    words = ["spark", "evaluate-rounds", *map(str, arguments)]
    result = CliRunner().invoke(main, words)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def round_of(*stations: str | None) -> dict[str, Any]:
    return {
        "randomness": "00",
        "required_committee_size": 1,
        "round_details": {
            "maxTasksPerNode": 1,
            "retrievalTasks": [{"cid": "bafy", "minerId": "f01"}],
        },
        "measurements": [
            {
                "cid": "bafy",
                "minerId": "f01",
                "stationId": station,
                "inet_group": str(at),
                "finished_at": 1_698_829_210_000,
                "participantAddress": "0x0A",
                "indexerResult": "OK",
                "retrievalResult": "HTTP_502",
            }
            for at, station in enumerate(stations)
        ],
    }


@pytest.fixture
def rounds(tmp_path: Path) -> Path:
    path = tmp_path / "rounds.ndjson"
    lines = [json.dumps(round_of("a", "b")), "", json.dumps(round_of("a", None, "b"))]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_every_line_gives_one_object(rounds: Path) -> None:
    result = evaluate_rounds(rounds, "--json")
    assert result.exit_code == 0
    first, second = map(json.loads, result.stdout.splitlines())
    decisions = {"bafy::f01": [True, "OK", True, "HTTP_502"]}
    assert first == {
        "verdicts": [["OK", "MAJORITY_RESULT"]] * 2,
        "scores": {"0x0A": "1000000000000000"},
        "committee_decisions": decisions,
    }
    assert second["verdicts"][1] == [None, None]
    assert (
        result.stderr == "line 3: measurements[1] is refused: stationId is missing or not a text\n"
    )


def test_a_gzipped_file_gives_the_same(rounds: Path) -> None:
    zipped = rounds.with_suffix(".ndjson.gz")
    zipped.write_bytes(gzip.compress(rounds.read_bytes()))
    assert evaluate_rounds(zipped, "--json").stdout == evaluate_rounds(rounds, "--json").stdout


def test_the_table_counts_verdicts(rounds: Path) -> None:
    result = evaluate_rounds(rounds)
    assert result.exit_code == 0
    cells = [[cell.strip() for cell in row.split("│")] for row in result.stdout.splitlines()]
    assert ["", "3", "3", "2", *["0"] * 7, "1", "1", ""] in cells
    assert ["", "2 lines", "5", "4", *["0"] * 7, "1", "", ""] in cells


def test_a_line_that_is_no_round_is_named_with_its_field(rounds: Path) -> None:
    bad = round_of("a")
    bad["round_details"]["maxTasksPerNode"] = "many"
    rounds.write_text(rounds.read_text() + json.dumps(bad) + "\n")
    result = evaluate_rounds(rounds, "--json")
    assert result.exit_code == 2
    assert len(result.stdout.splitlines()) == 2
    assert result.stderr.splitlines()[-1] == (
        f"meridian: {rounds} line 4: round_details.maxTasksPerNode: is missing or not an integer"
    )


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert evaluate_rounds(tmp_path / "nothing").exit_code == 3
    broken = tmp_path / "broken.gz"
    broken.write_bytes(gzip.compress(json.dumps(round_of("a")).encode())[:-9])
    result = evaluate_rounds(broken)
    assert result.exit_code == 2
    assert "cannot be read" in result.stderr


def test_generated_files_are_read_as_the_network_reads_them(tmp_path: Path) -> None:
    small = ("--stations", "31", "--measurements", "64", "--rounds", "2")
    result = CliRunner().invoke(main, ["spark", "generate", str(tmp_path / "new"), *small])
    assert result.exit_code == 0, result.stderr
    rounds, measurements = map(Path, result.stdout.splitlines())
    assert len(rounds.read_text().splitlines()) == 2
    source = load("spark", [measurements, rounds])
    assert (source.jobs, source.n_epochs) == (64, 2)
