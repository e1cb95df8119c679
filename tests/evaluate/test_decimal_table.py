"""Averages over anybody's table, exact from the text to the result."""

import csv
import gzip
import json
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from meridian.cli.main import main
from meridian.errors import InvalidInput
from meridian.evaluate.decimal_table import DecimalTable

TABLE = "rater,a,b,c\nr1,1.5,-2,\nr2,2,3,7\nr3,2.25,,\nr4,9,0,\n"


def table(text: str) -> DecimalTable:
    return DecimalTable.parse(text.splitlines(keepends=True))


@pytest.mark.parametrize(
    ("method", "scale", "expected"),
    [
        ("wmedian", None, {"a": "2.00", "b": "0.00", "c": None}),
        ("median", 1, {"a": "2.0", "b": "0.0", "c": None}),
        ("mean", None, {"a": "3.6875", "b": "0.333333333333333333", "c": "7.00"}),
        ("mean", 0, {"a": "4", "b": "0", "c": "7"}),
        ("trimmed", 2, {"a": "2.13", "b": "0.00", "c": None}),
        ("trimmed:1", None, {"a": "2.125", "b": "0.00", "c": None}),
        ("trimmed:0", 1, {"a": "3.7", "b": "0.3", "c": "7.0"}),
    ],
)
def test_methods_and_scales(
    method: str, scale: int | None, expected: dict[str, str | None]
) -> None:
    assert table(TABLE).aggregate(method, scale) == expected


def test_a_result_is_rounded_half_up_in_its_magnitude() -> None:
    assert table("r,x,y,z\na,1,-1,-0.4\nb,2,-2,-0.5\n").aggregate("mean", 0) == {
        "x": "2", "y": "-2", "z": "0",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "line 1"),
        ("rater\nr1\n", "line 1"),
        ("r,x,x\n", "line 1.*'x'"),
        ("r,x\na,1\na,2\n", "line 3.*'a'"),
        ("r,x\na,1,2\n", "line 2"),
        ("r,x\na,1e3\n", "line 2, item 'x'.*'1e3'"),
        ("r,x\na,nan\n", "line 2, item 'x'"),
        ("r,x\na,\u0661\n", "line 2, item 'x'"),
        ("r,x\na,1.1234567890123456789\n", "line 2, item 'x'"),
        ('r,x\na,"1\n', "line 2"),
    ],
)
def test_bad_tables_name_line_and_item(text: str, names: str) -> None:
    with pytest.raises(InvalidInput, match=names):
        table(text)


def test_a_table_without_raters_has_no_values() -> None:
    assert table("r,x\n").aggregate("mean") == {"x": None}


def test_the_command_reads_compressed_files_and_names_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(("\ufeff" + TABLE).encode()))
    arguments = ["aggregate", str(path), "--method", "trimmed:1", "--scale", "2", "--json"]
    done = CliRunner().invoke(main, arguments)
    assert json.loads(done.output) == {"a": "2.13", "b": "0.00", "c": None}
    assert "2.13" in CliRunner().invoke(main, arguments[:-1]).output
    wrong = CliRunner().invoke(main, ["aggregate", str(path), "--method", "trimmed:x"])
    assert wrong.exit_code == 2
    path.write_bytes(b"no gzip")
    assert CliRunner().invoke(main, ["aggregate", str(path)]).exit_code == 2


def test_the_official_skating_scores(shared_dir: Path) -> None:
    """Drop the highest and the lowest mark, average the rest: 8,630 official scores, with missing marks missing."""
    folder = shared_dir / "data" / "skating"
    with gzip.open(folder / "judged-aspects.csv.gz", "rt") as file:
        official = {
            row["aspect_id"]: row["scores_of_panel"]
            for row in csv.DictReader(file)
            if row["section"] == "components"
        }
    marks: dict[str, dict[str, str]] = defaultdict(dict)
    with gzip.open(folder / "judge-scores.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            if row["aspect_id"] in official and Decimal(row["score"]) != 0:
                marks[row["judge"]][row["aspect_id"]] = row["score"]
    lines = [",".join(["judge", *official])]
    lines += [
        ",".join([judge, *(own.get(i, "") for i in official)]) for judge, own in marks.items()
    ]
    result = table("\n".join(lines)).aggregate("trimmed:1", 2)
    assert len(official) == 8630
    assert all(Decimal(result[item] or "-1") == Decimal(official[item]) for item in official)
