"""docs/metrics.md is what the code gives, and dashboard and alerts are explained and name only what is there."""

import json
import re
from pathlib import Path

from metrics_page import PAGE, families, page

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_up_to_date():
    assert PAGE.read_text() == page(), "python tests/docs/metrics_page.py --write"
    assert len(families()) > 40


def test_names_have_units_and_words():
    for one in families():
        assert re.fullmatch(r"(meridian|ephemera)_[a-zNAME_]+", one.name), one.name
        assert one.text, one.name
        assert (one.kind == "counter") == one.name.endswith("_total"), one.name


def test_every_query_names_a_family():
    names = {one.name for one in families()} | {"up"}
    texts = [(ROOT / "deploy/prometheus/alerts.yml").read_text()]
    board = json.loads((ROOT / "deploy/grafana/meridian.json").read_text())
    texts += [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    used = {name for text in texts for name in re.findall(r"\bmeridian_\w+", text)}
    assert used <= names, used - names


def test_every_alert_is_explained():
    alerts = re.findall(r"alert: (\w+)", (ROOT / "deploy/prometheus/alerts.yml").read_text())
    operating = (ROOT / "docs/operating.md").read_text()
    assert len(alerts) >= 10
    for name in alerts:
        assert f"| `{name}` |" in operating, name
