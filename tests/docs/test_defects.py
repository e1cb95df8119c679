"""docs/defects.md names every defect of the original and, for each, tests that exist and bear its name."""

import ast
import functools
import re

import pytest
from markdown_pages import ROOT, spans

SECTIONS = {"4.1": 10, "4.2": 7, "4.3": 12, "4.4": 14}
"""Defects in each section of the study of the original's code."""
EXPECTED = [
    *(f"D{number}" for number in range(1, 15)),
    "D also",
    *(f"{section}.{i}" for section, count in SECTIONS.items() for i in range(1, count + 1)),
]
TEXT = (ROOT / "docs" / "defects.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if re.match(r"\| (D\d+|D also|4\.\d+\.\d+) \|", line)
]


@functools.cache
def written_tests() -> list[str]:
    """Names of all test functions."""
    return [
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def prefix(defect: str) -> str:
    """The beginning of the names of a defect's tests; tables 4.2 to 4.4 share theirs."""
    if defect.startswith("D"):
        return "test_D_also_" if defect == "D also" else f"test_{defect}_"
    parts = defect.split(".")
    return "test_" + "_".join(parts if parts[1] == "1" else parts[:2]) + "_"


def test_every_defect_has_one_row():
    assert [row[0] for row in ROWS] == EXPECTED
    assert all(len(row) == 4 and all(row) for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_tests_of_a_defect_exist_and_bear_its_name(row):
    named, written = spans(row[3]), written_tests()
    assert named
    assert named[0].startswith(prefix(row[0]))
    for name in named:
        assert written.count(name) == 1, f"{name} is written {written.count(name)} times"


def test_every_test_of_a_defect_stands_in_the_table():
    listed = {name for row in ROWS for name in spans(row[3])}
    named = {n for n in written_tests() if re.match(r"test_(D\d+|D_also|4_\d)_", n)}
    assert named - listed == set()


def test_no_defect_of_the_study_is_left_out(shared_dir):
    """The tables of the study have as many entries as are named here."""
    study = shared_dir / "reference" / "ephemera.md"
    if not study.is_file():
        pytest.skip("the study of the original is not beside the checkout")
    text = study.read_text()
    parts = {name: text.split(f"## {name} ")[1].split("\n## ")[0] for name in SECTIONS}
    assert len(re.findall(r"^\d+\. ", parts["4.1"], re.MULTILINE)) == SECTIONS["4.1"]
    for name in ("4.2", "4.3"):
        assert len(re.findall(r"^- ", parts[name], re.MULTILINE)) == SECTIONS[name]
    assert parts["4.4"].split("\n", 1)[1].strip().count(";") + 1 == SECTIONS["4.4"]
    other = (shared_dir / "reference" / "bft.md").read_text()
    assert len(re.findall(r"^\| D\d+ \|", other, re.MULTILINE)) == 14
