"""A pytest plugin that notes which test saw which reason for a refusal: ``-p reached_reasons``.

With ``$MERIDIAN_REASONS`` set to a file, the notes are added to it as JSON: reason to the first test that saw it.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import contract_world
import pytest

FORM = re.compile(r"[a-z ]+: [a-z0-9 ]+")
SEEN: dict[str, str] = {}
running = [""]


def noting(reason_of: Any) -> Any:
    """`reason_of`, which every refused call goes through, with a note of each reason."""

    def noted(output: bytes) -> str:
        reason = str(reason_of(output))
        SEEN.setdefault(reason, running[0])
        return reason

    return noted


contract_world.reason_of = noting(contract_world.reason_of)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    running[0] = item.nodeid


def pytest_sessionfinish() -> None:
    if path := os.environ.get("MERIDIAN_REASONS"):
        file = Path(path)
        known = json.loads(file.read_text()) if file.exists() else {}
        known |= {reason: test for reason, test in SEEN.items() if FORM.fullmatch(reason)}
        file.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
