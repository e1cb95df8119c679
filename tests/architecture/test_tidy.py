"""The code base keeps its own rules: sizes, docstrings, names, and nothing left over."""

import ast
import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src" / "meridian").rglob("*.py"))
MODULE_LINES_MAX = 450
ALONE_LINES_MAX = {"verifier.py": 750}
"""The verifier is one file on purpose: it is copied alone."""
FUNCTION_LINES_MAX = 75
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base"}


def tracked(*patterns: str) -> list[Path]:
    """Return the files that git tracks."""
    done = subprocess.run(
        ["git", "ls-files", "--", *patterns], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split()]


def functions(tree: ast.Module):
    """Yield every function of a module."""
    return (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_explains_itself_and_stays_small(path):
    text = path.read_text()
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a module needs a docstring"
    assert len(text.splitlines()) <= ALONE_LINES_MAX.get(path.name, MODULE_LINES_MAX)
    assert path.stem not in VAGUE_NAMES
    for function in functions(tree):
        length = (function.end_lineno or 0) - function.lineno + 1
        assert length <= FUNCTION_LINES_MAX, f"{function.name} has {length} lines"


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if p.name == "__init__.py"], ids=lambda p: p.parent.name
)
def test_a_package_file_holds_only_its_map(path):
    body = ast.parse(path.read_text()).body
    rest = body[1:]
    if path.parent.name == "meridian":  # the version, and what users import, when it is used
        assert {node.name for node in rest if isinstance(node, ast.FunctionDef)} <= {
            "__getattr__",
            "__dir__",
        }
        assert not any(isinstance(node, ast.ClassDef) for node in rest)
        return
    assert not rest


def test_nothing_unfinished_is_left_in_the_code():
    markers = ("TODO", "FIXME", "XXX", "NotImplemented" + "Error")
    found = [
        f"{path.relative_to(ROOT)}: {marker}"
        for path in SOURCES
        for marker in markers
        if marker in path.read_text()
        and not (marker.startswith("Not") and "dec_hook" in path.read_text())
    ]
    assert not found


def test_no_file_names_a_path_of_one_machine():
    needles = ("/wo" + "rk/", "/ro" + "ot/.pyenv")
    found = [
        path.relative_to(ROOT)
        for path in tracked("*.py", "*.md", "*.toml", "*.vy", "dev", ".ci/run")
        if any(needle in path.read_text() for needle in needles)
    ]
    assert not found


def test_every_document_has_one_title():
    for path in tracked("*.md"):
        fenced = False
        titles = 0
        for line in path.read_text().splitlines():
            if line.startswith("```"):
                fenced = not fenced
            elif line.startswith("# ") and not fenced:
                titles += 1
        assert titles == 1, path.relative_to(ROOT)


def test_no_two_test_modules_have_one_name():
    """Test modules are imported by their bare names: a second one, or one like a folder, hides the first."""
    modules = [p.stem for p in (ROOT / "tests").rglob("*.py") if not p.name.startswith("__")]
    folders = [
        p.name for p in (ROOT / "tests").iterdir() if p.is_dir() and not p.name.startswith("__")
    ]
    names = Counter(name for name in [*modules, *folders] if name != "conftest")
    assert not [name for name, count in names.items() if count > 1]
