"""docs/configuration.md says what the declarations say, and what it shows of errors is what is printed."""

import re
from pathlib import Path

import pytest
from configuration_page import INTRODUCTION, PAGE, ROLES, page
from markdown_pages import fenced

from meridian.errors import InvalidInput
from meridian.node import config_file
from meridian.node.config_keys import keys_of
from meridian.node.evaluator.config import EvaluatorConfig


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "python tests/docs/configuration_page.py --write"


@pytest.mark.parametrize("role", ROLES)
def test_every_key_of_every_table_says_what_it_is_for(role: str) -> None:
    def silent(kind: type) -> list[str]:
        inner = [key.table for key in keys_of(kind) if key.table is not None]
        own = [f"{kind.__name__}.{key.name}" for key in keys_of(kind) if not key.description]
        return own + [name for one in inner for name in silent(one)]

    assert silent(ROLES[role][1]) == []


def test_the_errors_that_it_shows_are_those_that_come() -> None:
    [shown] = fenced(INTRODUCTION, "text")
    chosen = {
        "network_dir": "..",
        "data_dir": "state",
        "key_file": "k",
        "link_key_file": "l",
        "listen_port": 7400,
    }
    good = config_file.render(EvaluatorConfig, chosen)
    for line, wrong in zip(
        shown.splitlines(),
        (good.replace("listen_port", "listen_prot"), good.replace("7400", '"7400"')),
        strict=True,
    ):
        with pytest.raises(InvalidInput) as refused:
            config_file.parse(wrong, EvaluatorConfig, Path("net/evaluator/evaluator.toml"))
        said = f"meridian: {refused.value}"
        assert re.sub(r"line \d+", "line 20", said) == line  # the line moves when a key is added
