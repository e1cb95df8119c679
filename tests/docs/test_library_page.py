"""docs/library.md, the example notebook and the tutorials about one's rewards: every line is run, on the network that their
own first command makes."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from markdown_pages import ROOT, fenced

import meridian
from meridian.cli.main import main
from meridian.library.frames import in_form, table, whole
from meridian.node.network_file import NetworkFile

PAGE = (ROOT / "docs/library.md").read_text()
NOTEBOOK = ROOT / "examples/epoch.ipynb"
BLOCK = re.compile(r"^```(sh|python)( title=[^\n]*)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str]]:
    """(kind, text) of the blocks that need no running network, in order."""
    return [(found[1], found[3]) for found in BLOCK.finditer(PAGE) if not found[2]]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with the network of the page's first command."""
    root = tmp_path_factory.mktemp("library")
    before = Path.cwd()
    os.chdir(root)
    run(blocks()[0][1])
    port = NetworkFile.load(Path("demo")).rpc_url.rpartition(":")[2]
    command = [sys.executable, "-m", "meridian.cli.main", "chain", "up", "--data-dir", "demo"]
    with subprocess.Popen([*command, "--port", port], stdout=subprocess.PIPE) as chain:
        assert chain.stdout is not None
        chain.stdout.readline()  # each command would serve it from its file, for a second of work
        yield root
        chain.terminate()
    os.chdir(before)


def run(text: str) -> None:
    for line in text.splitlines():
        result = CliRunner().invoke(main, shlex.split(line)[1:])
        assert result.exit_code == 0, f"{line}\n{result.output}"


def executed(text: str, names: dict[str, Any]) -> None:
    """Run a block; an expression that stands alone must not be None where the page says what it is."""
    exec(compile(text, "docs/library.md", "exec"), names)


def test_the_notebook_runs_and_is_committed_without_outputs(work: Path) -> None:
    nbclient = pytest.importorskip("nbclient")
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    client = nbclient.NotebookClient(
        notebook, timeout=120, resources={"metadata": {"path": str(work)}}
    )
    client.execute()
    kinds = [[key for out in cell.outputs for key in out.get("data", {})] for cell in code]
    assert sum("image/png" in one for one in kinds) == 3
    assert "valid in" in "".join(out.get("text", "") for cell in code for out in cell.outputs)


def test_every_block_of_the_page_runs_in_its_order(work: Path) -> None:
    names: dict[str, Any] = {}
    for kind, text in blocks()[1:]:
        if kind == "sh":
            run(text)
        else:
            executed(text, names)
    assert names["epoch"].number == 1
    assert Path("my-function").is_dir()


@pytest.mark.parametrize("name", ["demo", "rewards"])
def test_every_command_of_the_tutorials_runs_in_its_order(
    work: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / f"docs/tutorials/{name}.md").read_text()
    lines = [line for block in fenced(text, "sh") for line in block.splitlines()]
    first = blocks()[0][1].strip()
    if name == "demo":
        assert lines.pop(0) == first  # `work` has run it
    with meridian.open_network("demo") as network:
        owed = [one for one in network.epoch(1).nodes()["node_id"].to_pylist()
                if network.epoch(1).node(one).claim_status == "claimable"]  # fmt: skip
    assert lines
    run("\n".join(line.replace("NODE", owed[-1]) for line in lines))


def test_the_tables_have_the_columns_that_the_page_names(work: Path) -> None:
    with meridian.open_network("demo") as network:
        epoch = network.epoch(1)
        made = {
            "network.epochs()": network.epochs(),
            "epoch.nodes()": epoch.nodes(),
            "epoch.matrix()": epoch.matrix(),
        }
        jobs = epoch.jobs().column_names
    for name, found in made.items():
        [row] = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}`")]
        assert re.findall(r"`(\w+)`", row.split("|")[3]) == found.column_names
    assert jobs[:5] == ["node_id", "job_id", "started_us", "ended_us", "late"]
    assert jobs[-1] == "verdict"


def test_a_damaged_publication_is_named_and_refused(work: Path, tmp_path: Path) -> None:
    subprocess.run(["cp", "-r", "demo", str(tmp_path)], check=True)
    for path in (tmp_path / "demo").rglob("objects/**/*"):
        if path.is_file() and path.read_bytes()[:4] == b"PAR1":
            path.chmod(0o600)
            path.write_bytes(path.read_bytes()[:-9])
    with meridian.open_network(tmp_path / "demo") as network:
        epoch = network.epoch(1)
        assert epoch.verification.broken == "segments"
        with pytest.raises(meridian.MeridianError, match="segments"):
            epoch.jobs()
        with pytest.raises(meridian.NotFound, match="epoch 9"):
            network.epoch(9)


# ---------------------------------------------------------------------------------- the package itself


def test_the_names_are_all_there_documented_and_typed() -> None:
    import inspect

    for name in meridian.__all__:
        found = getattr(meridian, name)
        if name == "__version__":
            continue
        assert found.__doc__, name
        members = [found] if inspect.isfunction(found) else [
            one for one in vars(found).values() if inspect.isfunction(one) and not one.__name__.startswith("_")
        ]  # fmt: skip
        for one in members:
            assert one.__doc__, one.__qualname__
            hints = inspect.signature(one)
            assert hints.return_annotation is not inspect.Signature.empty, one.__qualname__
            named = [p for p in hints.parameters if p not in {"self", "form"}]
            if len(named) > 1 and inspect.isfunction(found):
                assert all(f"{p}:" in str(one.__doc__) for p in named), one.__qualname__
    assert set(meridian.__all__) <= set(dir(meridian))
    with pytest.raises(AttributeError, match="vanish"):
        meridian.vanish


def test_importing_it_imports_nothing_else_and_is_quick() -> None:
    code = (
        "import sys, time; before = set(sys.modules); t = time.process_time(); import meridian;"
        " t = time.process_time() - t; new = sorted(m for m in set(sys.modules) - before if m.startswith(('meridian', 'numpy',"
        " 'pyarrow', 'duckdb', 'aiohttp'))); print(__import__('json').dumps([t, new]))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, modules = json.loads(shown.stdout)
    assert modules == ["meridian"]
    assert seconds < 0.05


def test_a_form_that_is_not_installed_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    made = table({"a": whole([1, None, 10**38 - 1])})
    assert in_form(made, "arrow") is made
    assert in_form(made, "pandas")["a"][2] == 10**38 - 1
    assert in_form(made, "polars")["a"][0] == 1
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(meridian.NotFound, match=r"polars is not installed: .*frames"):
        in_form(made, "polars")
    with pytest.raises(meridian.InvalidInput, match="form: 'excel' is none of"):
        in_form(made, "excel")  # type: ignore[arg-type]
    with pytest.raises(meridian.InvalidInput, match="38 digits"):
        whole([10**38])
