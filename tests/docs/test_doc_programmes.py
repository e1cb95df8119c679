"""Every `python -m tests.NAME` and `python -m benchmarks` that a document shows exists, with these options.

As for the commands of `meridian`, the lines are walked through click without running anything; benchmarks are asked for help.
"""

import functools
import importlib
import os
import re
import shlex
import subprocess
import sys

import click
import pytest
from markdown_pages import ROOT, documents, fenced, spans, table, without_blocks
from test_doc_commands import SHELLS, Wrong, check

LINE = re.compile(r"^(?:\$ )?(?:\S*/)?python3? -m (?P<module>tests(?:\.\w+)+)(?P<rest>(?: .*)?)$")


def programme(module: str) -> click.Command | None:
    """The click command of a programme among the tests; None where it reads its arguments itself."""
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
    file = ROOT / f"{module.replace('.', '/')}.py"
    try:
        found = importlib.import_module(module if file.is_file() else f"{module}.__main__")
    except ModuleNotFoundError as error:
        raise Wrong(f"there is no programme {module}: {error}") from None
    command = getattr(found, "command", None)
    if command is None:
        assert callable(found.main)
        return None
    assert isinstance(command, click.Command)
    return command


def walk(line: str, *, whole: bool) -> None:
    match = LINE.match(line.strip())
    assert match is not None
    words = [w for w in shlex.split(match["rest"], comments=True) if not re.fullmatch(r"\[.*\]", w)]
    command = programme(match["module"])
    if command is not None:
        check(command, words, match["module"], whole=whole)


def shown() -> list[tuple[str, str, bool]]:
    """(document, line, whole) of all programmes that documents show."""
    found = []
    for path in documents():
        name, text = str(path.relative_to(ROOT)), path.read_text()
        lines = [
            line
            for block in fenced(text, *SHELLS)
            for line in block.replace("\\\n", " ").split("\n")
        ]
        found += [(name, line, True) for line in lines if LINE.match(line.strip())]
        found += [(name, span, False) for span in spans(without_blocks(text)) if LINE.match(span)]
    return found


SHOWN = shown()


@pytest.mark.parametrize(
    ("name", "line", "whole"), SHOWN, ids=[f"{n}: {line}" for n, line, _ in SHOWN]
)
def test_every_shown_programme_exists(name, line, whole):
    walk(line, whole=whole)


def test_programmes_are_found_at_all():
    assert any(name == "docs/chaos.md" and whole for name, _, whole in SHOWN)
    assert any("tests.web.newcomer" in line for _, line, _ in SHOWN)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("python -m tests.vanish", "no programme tests.vanish"),
        ("python -m tests.chaos --vanish", "no option --vanish"),
        ("python -m tests.chaos --nodes many", "not a valid integer"),
        ("python -m tests.chaos more", "takes 0 arguments"),
    ],
)
def test_a_wrong_programme_is_found(line, reason):
    with pytest.raises(Wrong, match=re.escape(reason)):
        walk(line, whole=True)


# ------------------------------------------------------------------------------------ benchmarks

BENCHMARK = re.compile(r"^\S*python3? -m benchmarks (?P<rest>.*)$", re.MULTILINE)


@functools.cache
def helped(*words: str) -> str:
    """What the command says about itself."""
    command = [sys.executable, "-m", "benchmarks", *words, "--help"]
    shown = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return shown.stdout


def test_every_shown_benchmark_exists():
    text = (ROOT / "benchmarks" / "README.md").read_text()
    lines = [
        match["rest"] for block in fenced(text, *SHELLS) for match in BENCHMARK.finditer(block)
    ]
    assert lines
    for line in lines:
        name, *words = shlex.split(line, comments=True)
        known = set(re.findall(r"--[a-z-]+", helped(name)))
        assert "--help" in known, f"there is no benchmark {name}"
        assert {word for word in words if word.startswith("--")} <= known, line


# --------------------------------------------------------------------------------------- fuzzing


def test_every_fuzz_target_is_described():
    source = (ROOT / "tests" / "fuzz" / "targets.py").read_text()
    targets = re.findall(r'^    "([\w-]+)": Target\(', source, re.MULTILINE)
    listed = table((ROOT / "docs" / "fuzzing.md").read_text(), "Fuzzing", "target")
    assert [row[0] for row in listed.rows] == targets
    assert targets
