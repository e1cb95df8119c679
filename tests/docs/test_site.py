"""The documentation site: it builds without a warning, asks nobody else for anything, and its generated parts are whole."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest
from markdown_pages import ROOT

import meridian
from meridian.cli.main import main
from meridian.node.ephemera.openapi import openapi
from meridian.node.measure.openapi import document

OUTSIDE = re.compile(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(https?:)?//')


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; strict, so a broken link or anchor fails."""
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    out = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "--site-dir",
        str(out),
    ]
    built = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert built.returncode == 0, built.stderr
    return out


def test_no_page_asks_another_host_for_anything(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 60
    assert [page.name for page in pages if OUTSIDE.search(page.read_text())] == []


def test_every_command_route_and_public_name_is_there(site: Path) -> None:
    text = (site / "reference/commands.html").read_text()
    context = click.Context(main)

    def below(command: click.Command, path: str) -> list[str]:
        names = command.list_commands(context) if isinstance(command, click.Group) else []
        inner = [(command.get_command(context, name), f"{path} {name}") for name in names]
        return [path, *(one for part, at in inner if part for one in below(part, at))]

    missing = [
        path for path in below(main, "meridian") if f">{path}<a" not in text.replace(" <a", "<a")
    ]
    assert missing == []
    http = (site / "reference/http.html").read_text()
    routes = [
        f"{method.upper()} {path}"
        for described in (document(), openapi())
        for path, methods in described["paths"].items()
        for method in methods
    ]
    assert len(routes) > 30
    assert [route for route in routes if f"<code>{route}</code>" not in http] == []
    python = (site / "reference/python.html").read_text()
    assert [name for name in meridian.__all__ if name != "__version__" and name not in python] == []


def test_the_sequence_diagrams_are_those_of_the_script() -> None:
    sequences = loaded("sequences")
    page = (ROOT / "docs/explanation/sequences.md").read_text()
    for name in sequences.DIAGRAMS:
        drawn = sequences.draw(name)
        assert (ROOT / f"docs/explanation/{name}.svg").read_text() == drawn, (
            "python docs/sequences.py"
        )
        assert f"({name}.svg)" in page
