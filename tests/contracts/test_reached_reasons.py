"""Every reason that a contract can give for a refusal has been given to a test.

`reasons.json` is recorded, not written by hand: the plugin `reached_reasons` notes which reasons the contracts really
gave, and in which test. How to record it anew stands in docs/contract-testing.md.
"""

import ast
import json
import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = HERE.parents[1] / "contracts"
REASON = re.compile(r'"([a-z ]+: [a-z0-9 ]+)"')


def recorded() -> dict[str, str]:
    return json.loads((HERE / "reasons.json").read_text())


def reasons_in_sources() -> set[str]:
    texts = [path.read_text() for path in SOURCES.glob("*.vy")]
    return {reason for text in texts for reason in REASON.findall(text)}


def test_every_reason_in_the_sources_was_reached():
    assert reasons_in_sources()
    assert reasons_in_sources() - recorded().keys() == set()


def test_nothing_is_recorded_that_no_source_says():
    assert recorded().keys() - reasons_in_sources() == set()


def test_the_tests_that_reached_them_are_still_there():
    for name in sorted(set(recorded().values())):
        path, _, function = name.partition("::")
        tree = ast.parse((HERE.parents[1] / path).read_text())
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert function.split("[")[0] in names, name
