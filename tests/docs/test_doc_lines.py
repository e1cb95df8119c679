"""Every command line of the documents is run by a test, or stands in a table with the reason why not."""

import re
from pathlib import Path

import pytest
from doc_lines import NOT_RUN, RUN_PAGES, WHOLE_PAGES, lines_of, pages, why_not
from markdown_pages import ROOT


@pytest.mark.parametrize("page", pages())
def test_every_line_is_run_or_has_a_reason(page: str) -> None:
    if page in WHOLE_PAGES:
        assert Path(page).stem in (ROOT / WHOLE_PAGES[page]).read_text()
    elif page not in RUN_PAGES:
        assert [line for line in lines_of(page) if why_not(page, line) is None] == []


def test_the_tables_hold_nothing_that_is_not_there() -> None:
    assert set(WHOLE_PAGES) | set(RUN_PAGES) <= set(pages())
    reasons = [why_not(page, line) for page in pages() for line in lines_of(page)]
    assert set(NOT_RUN.values()) <= set(reasons)


def test_the_slices_that_reasons_name_exist() -> None:
    named = [path for reason in NOT_RUN.values() for path in re.findall(r"tests/[\w/.]+", reason)]
    assert len(named) > 15
    assert [path for path in named if not (ROOT / path).exists()] == []
