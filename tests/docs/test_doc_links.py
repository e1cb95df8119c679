"""What documents name exists: links, anchors, paths; lists and tables agree with the code."""

import re
import tomllib

import pytest
from markdown_pages import ROOT, documents, links, spans, table, without_blocks

from meridian.measure.schema import NetworkSchema
from meridian.networks.sources import NETWORKS

SOURCE = ROOT / "src" / "meridian"
TOP = {"src", "docs", "tests", "contracts", "requirements", "benchmarks"}
PACKAGES = {path.name for path in SOURCE.iterdir() if path.is_dir()}
DOCUMENTS = [pytest.param(path, id=str(path.relative_to(ROOT))) for path in documents()]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def anchors(text):
    """The anchors of a page's headings, as code hosts make them."""
    heads = re.findall(r"^#+ (.+)$", without_blocks(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", DOCUMENTS)
def test_every_relative_link_leads_somewhere(path):
    for target in links(path.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        place = (path.parent / name) if name else path
        assert place.exists(), f"{target} leads nowhere"
        assert ROOT in place.resolve().parents, f"{target} leaves the repository"
        if anchor:
            assert anchor in anchors(place.read_text()), f"{target}: no such heading"


def named_paths(text):
    """Code spans, and words of them, that look like paths of the repository."""
    for span in spans(without_blocks(text)):
        for word in span.split():
            first, slash, _ = word.partition("/")
            if not slash:
                continue
            if first in TOP:
                yield word, ROOT
            elif first in PACKAGES and re.search(r"(\.(py|md|json)|/|\*)$", word):
                yield word, SOURCE


def found(word, base):
    name = word.rstrip("/").split(":")[0]
    if "*" in name:
        return any(base.glob(name))
    place = base / name
    return place.is_file() or (place.is_dir() and any(place.rglob("*.*")))


@pytest.mark.parametrize("path", DOCUMENTS)
def test_every_path_of_the_repository_exists(path):
    missing = [word for word, base in named_paths(path.read_text()) if not found(word, base)]
    assert missing == []


def test_paths_are_recognised():
    text = (
        "`measure/record.py` `contracts/*.vy` `tests/run.py` `x/y.py` `measure/nothing.py` `src/`"
    )
    named = list(named_paths(text))
    assert len(named) == 5
    assert [word for word, base in named if not found(word, base)] == ["measure/nothing.py"]


# ------------------------------------------------------------------------------------- documents


def test_glossary_terms_are_sorted_and_explained_once():
    listed = table((ROOT / "docs" / "glossary.md").read_text(), "Glossary", "word")
    words = [row[0].strip("*") for row in listed.rows]
    assert all(
        row[0] == f"**{word}**" and row[1] for row, word in zip(listed.rows, words, strict=True)
    )
    assert words == sorted(words, key=str.lower)
    assert len(set(words)) == len(words)


def test_decisions_are_numbered_and_have_their_parts():
    paths = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [int(path.name[:4]) for path in paths]
    assert numbers == sorted(set(numbers))  # a gap is somebody's who is still writing
    for number, path in zip(numbers, paths, strict=True):
        text = path.read_text()
        assert text.startswith(f"# {number}. ")
        assert all(f"**{part}.**" in text for part in ("Context", "Decision", "Consequences"))


def test_layers_of_the_architecture_are_the_checked_ones():
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    layers = PYPROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    (block,) = [
        block
        for block in re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        if block.startswith("cli")
    ]
    shown = [re.split(r"\s{2,}", line)[0] for line in block.strip().split("\n")]
    assert shown == [
        " | ".join(part.strip().removeprefix("meridian.") for part in layer.split("|"))
        for layer in layers
    ]


def test_every_dependency_has_its_reason():
    text = (ROOT / "docs" / "dependencies.md").read_text()
    listed = {
        re.sub(r"^development: |\(pinned\)", "", part).strip()
        for row in table(text, "Dependencies", "package").rows
        for part in row[0].split(", ")
    }
    named = [*PYPROJECT["project"]["dependencies"], *PYPROJECT["dependency-groups"]["dev"]]
    declared = {re.split(r"[<>=]", name)[0] for name in named}
    assert declared - listed - {"pytest-asyncio"} == set()
    assert listed - declared == set()


def test_networks_of_the_readme_are_those_that_ship():
    listed = table((ROOT / "README.md").read_text(), "On your own jobs", "network").codes()
    assert set(listed) >= NETWORKS.keys()
    assert all(isinstance(definition.schema, NetworkSchema) for definition in NETWORKS.values())


def test_the_specification_is_linked_from_the_front_pages():
    for name in ("README.md", "docs/ARCHITECTURE.md"):
        text = (ROOT / name).read_text()
        assert any(target.rstrip("/").endswith("spec") for target in links(text)), name
    assert "docs/journey.svg" in links((ROOT / "README.md").read_text())
