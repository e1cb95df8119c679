"""The figures of the explanations are those of the pages that they cite, which tests compare with what is measured."""

import re

import pytest
from markdown_pages import ROOT

DOCS = ROOT / "docs"
NUMBER = r"\d{1,3}(?:,\d{3})+|\d+\.\d+|\d+"
COUNTED = re.compile(rf"(?<![\d.,])({NUMBER}) (?:jobs|nodes|coins)\b(?! a processor)")
"""Sizes of what was measured: no result."""
MILLIONS = re.compile(rf"(?<![\d.,])({NUMBER})(?: to ({NUMBER}))? million gas")
EXACT = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!,?\d)")
CITED = re.compile(
    rf"(?<![\d.,^])(?:[+-]?(?:{NUMBER}) %|(?:{NUMBER})M?(?= to |, Arrow| jobs/s|M? jobs a| at best))"
)
GAS_PAGES = {"models": ("costs",), "threat-model": ("costs", "disputes")}
FEWEST = {"models": 5, "threat-model": 6}


def pieces(page: str) -> list[str]:
    """Cells and paragraphs of an explanation."""
    text = (DOCS / f"explanation/{page}.md").read_text()
    return [" ".join(part.split()) for part in re.split(r"\||\n\n|^- ", text, flags=re.MULTILINE)]


def numbers(*names: str) -> set[str]:
    """All figures with thousands separators of these pages."""
    return {one for name in names for one in EXACT.findall((DOCS / f"{name}.md").read_text())}


def gas_figures(piece: str) -> tuple[list[str], list[str]]:
    """(exact figures, figures in millions) of a piece that speaks of gas."""
    millions = [one for match in MILLIONS.finditer(piece) for one in match.groups() if one]
    rest = COUNTED.sub("", MILLIONS.sub("", piece))
    return EXACT.findall(rest), millions


def is_rounded(figure: str, known: set[str]) -> bool:
    """Whether a figure in millions is a known one, rounded to its own digits."""
    digits = len(figure.partition(".")[2])
    return any(f"{int(one.replace(',', '')) / 1e6:.{digits}f}" == figure for one in known)


@pytest.mark.parametrize("page", GAS_PAGES)
def test_every_gas_figure_is_on_the_page_that_is_cited(page: str) -> None:
    known, seen = numbers(*GAS_PAGES[page]), 0
    for piece in pieces(page):
        if not re.search(r"\bgas\b", piece):
            continue
        exact, millions = gas_figures(piece)
        assert [one for one in exact if one not in known] == [], piece
        assert [one for one in millions if not is_rounded(one, known)] == [], piece
        seen += len(exact) + len(millions)
    assert seen >= FEWEST[page]


def test_speeds_and_attacks_are_on_the_page_beside_them() -> None:
    seen = 0
    for piece in pieces("models"):
        linked = re.search(r"\]\(\.\./(scale|averages)\.md\)", piece)
        if linked is None:
            continue
        cited = (DOCS / f"{linked[1]}.md").read_text()
        figures = CITED.findall(piece)
        assert figures, piece
        for one in figures:
            assert re.search(rf"(?<![\d.,]){re.escape(one)}(?!,?\d)", cited), f"{one}: {piece}"
        seen += len(figures)
    assert seen >= 7


def test_a_stale_figure_is_found() -> None:
    known = {"812,038,000", "6,716,000", "489,607"}
    assert gas_figures("812 million gas for 10,000 jobs of 1,000 nodes") == ([], ["812"])
    assert gas_figures("two rows: 148,629 and 123,070 gas") == (["148,629", "123,070"], [])
    assert is_rounded("812", known)
    assert is_rounded("6.7", known)
    assert not is_rounded("6.8", known)
    assert not is_rounded("813", known)
