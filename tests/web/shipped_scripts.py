"""Asks the scripts that ship with a site, in Node: nothing is built, and no package of npm is needed."""

import json
import shutil
import subprocess
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

Ask = Callable[[list[dict[str, Any]]], list[Any]]


def shipped_script(place: Path, script: str, driver: str) -> Ask:
    """Return what asks many questions of one process: JSON in, JSON out, one for one.

    Args:
        place: An empty directory.
        script: Name of the file among the assets.
        driver: The file beside this one that imports it and answers.
    """
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node.js: the scripts of the pages cannot be run")
    (place / "package.json").write_text('{"type": "module"}')
    for file in (resources.files("meridian.web") / "assets" / "assets").iterdir():
        if file.name.endswith(".js"):
            (place / file.name).write_bytes(file.read_bytes())
    command = [node, str(Path(__file__).parent / driver), str(place / script)]

    def ask(questions: list[dict[str, Any]]) -> list[Any]:
        asked = "".join(json.dumps(question) + "\n" for question in questions)
        done = subprocess.run(command, input=asked, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return ask
