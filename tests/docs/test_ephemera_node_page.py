"""docs/ephemera-node.md says what the code does: every key with its default, every route, every metric."""

import ast
import re

import tomlkit
from markdown_pages import ROOT, fenced, spans, tables

from meridian.node.ephemera.api_routes import ROUTES
from meridian.node.ephemera.config import keys
from meridian.node.ephemera.members_file import parse_members

PAGE = ROOT / "docs" / "ephemera-node.md"
TEXT = PAGE.read_text()


def table(first: str):
    """The table whose first column has this heading."""
    (found,) = [t for t in tables(TEXT) if t.header[0] == first]
    return found


def test_every_key_stands_with_its_default_and_meaning():
    said = [(spans(row[0])[0], spans(row[1])[0], row[2]) for row in table("key").rows]
    known = []
    for section, key, default, description in keys():
        plain = list(default) if isinstance(default, tuple) else default
        known.append((f"{section}.{key}", tomlkit.item(plain).as_string(), description))
    assert said == known


def test_every_route_stands_with_its_query_and_refusals():
    said = {}
    for row in table("operation").rows:
        operation = spans(row[0])[0]
        said[operation] = (spans(row[1]), {int(code) for code in re.findall(r"\d{3}", row[2])})
    known = {}
    for route in ROUTES:
        query = [p.name for p in route.parameters if p.place == "query"]
        own = {status for status in route.refusals if status not in {101, 304}}
        known[f"{route.method} {route.path}"] = (query, own)
    assert said == known


def test_every_metric_that_is_named_exists():
    source = (ROOT / "src" / "meridian" / "node" / "ephemera" / "metrics.py").read_text()
    counted = source + (ROOT / "src" / "meridian" / "node" / "effect_driver.py").read_text()
    counted += (ROOT / "src" / "meridian" / "node" / "link_connection.py").read_text()
    counted += (ROOT / "src" / "meridian" / "node" / "ephemera" / "membership.py").read_text()
    for name in table("metric").codes():
        word = name.removeprefix("ephemera_").removesuffix("_total")
        word = re.sub(r"^(driver|link|membership)_", "", word)
        assert word in counted, name


def test_the_members_file_that_is_shown_is_one():
    (shown,) = fenced(TEXT, "toml")
    found = parse_members(shown.encode(), PAGE.with_suffix(".toml"))
    assert found.number == 1


def test_the_program_that_is_shown_imports_what_there_is():
    (shown,) = fenced(TEXT, "python")
    tree = ast.parse(shown)
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert len(imports) >= 5
    exec(compile(ast.Module(imports, []), str(PAGE), "exec"), {})
