"""A small slice of `python -m benchmarks explorer_pages`: the pages draw, and ask for no more than they need."""

import pytest

pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed (it is a development dependency)"
)

from benchmarks.explorer_pages import measure
from tests.web.browser import CHROMIUM, MISSING

pytestmark = [pytest.mark.journey, pytest.mark.skipif(CHROMIUM is None, reason=MISSING)]

FIRST_PAINT_MS = 1_000
KILOBYTES = {"network": 100, "epoch": 100, "node": 200, "evaluators": 100, "money": 100}
"""What a page may fetch, compressed, with an empty cache."""


def test_pages_paint_at_once_and_fetch_little():
    """The first paint is the page's shell, so its time does not depend on the size of the network."""
    found = measure(nodes=200, epochs=30, site=None, turns=2)
    for name, page in found["cold"].items():
        assert page["paint"]["least"] < FIRST_PAINT_MS, name
        assert page["bytes"]["median"] < KILOBYTES[name] * 1_000, name
        # An idle browser fetches the checker's and the wallet's scripts before the page counts as drawn.
        assert page["requests"]["median"] <= 48, name
    assert set(found["gone_to"]) == {"epoch", "node", "evaluators", "money"}
