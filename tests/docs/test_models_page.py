"""The page of the measured models shows the comparison that is kept beside it, and its text says nothing else."""

import importlib.util
import re

import pytest
from markdown_pages import ROOT

from meridian.journey.models.comparison import read_comparison
from meridian.journey.models.frauds import FRAUDS
from meridian.journey.models.registry import MODELS

SPEC = importlib.util.spec_from_file_location("record_models", ROOT / "docs/record_models.py")
record = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(record)

FIGURE = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d])|(?<![\d.,])\d+\.\d+")


@pytest.fixture(scope="module")
def comparison():
    return read_comparison(record.known())


@pytest.fixture(scope="module")
def page():
    return record.PAGE.read_text()


def test_the_measured_blocks_are_those_of_the_kept_comparison(comparison, page):
    assert record.renewed(page, comparison) == page
    assert {name for _, name, _ in record.BLOCK.findall(page)} == record.blocks(comparison).keys()


def test_all_models_were_run_on_the_same_jobs_and_every_fraud_was_played(comparison):
    assert (comparison.jobs, comparison.nodes) == (100_000, 200)
    assert [one.model for one in comparison.models] == [*MODELS]
    assert comparison.holds
    for one in comparison.models:
        assert one.frauds.keys() == FRAUDS.keys()
        assert sum(int(weight) for weight in one.weights.values()) == 100_000


def test_every_figure_of_the_text_is_in_the_tables(page):
    measured = "".join(match[0] for match in record.BLOCK.finditer(page))
    text = record.BLOCK.sub("", page)
    known = set(FIGURE.findall(measured))
    said = FIGURE.findall(text)
    assert said, "the reading names figures"
    assert [one for one in said if one not in known] == []
