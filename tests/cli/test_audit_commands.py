"""`verify`, `node show` and `proof`: what they print, and their exit codes."""

import contextlib
import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from audit.audit_world import ADDRESS_NODE, BUDGET, EVALUATORS, World, make_world
from meridian.audit.evidence import LINKS
from meridian.cli import audit_commands, proof_commands
from meridian.cli.main import main


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("pristine"))


@pytest.fixture
def world(pristine: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A copy of the world, whose directory the commands open with the chain in memory."""
    copied = pristine.copied_to(tmp_path / "run")

    @contextlib.contextmanager
    def open_source(data_dir: Path, *_: object):
        assert data_dir == copied.root
        yield copied.source

    for commands in (audit_commands, proof_commands):
        monkeypatch.setattr(commands, "open_source", open_source)
    return copied


def meridian(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def of(world: World) -> tuple[object, ...]:
    return ("--data-dir", world.root, "--epoch", 8)


def test_verify_prints_every_link_and_exits_with_0(world: World) -> None:
    result = meridian("verify", *of(world))
    assert result.exit_code == 0, result.output
    for name in LINKS:
        assert name in result.stdout
    assert result.stdout.count("✓ holds") == len(LINKS)
    assert result.stdout.rstrip().endswith("epoch 8: every link holds")


def test_verify_names_the_first_broken_link_on_a_line_of_its_own(world: World) -> None:
    world.path(EVALUATORS[1], world.record(EVALUATORS[1], 8).rows[0]).write_bytes(b"")
    result = meridian("verify", *of(world))
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1] == "broken: rows"
    assert EVALUATORS[1] in result.stdout
    assert "not checked: it needs rows" in result.stdout


def test_verify_as_json_is_one_object(world: World) -> None:
    value = json.loads(meridian("verify", *of(world), "--json").stdout)
    assert (value["epoch"], value["ok"], value["broken"]) == (8, True, None)
    assert [link["name"] for link in value["links"]] == list(LINKS)
    assert set(value["links"][0]) == {"name", "state", "detail", "items"}
    world.path(EVALUATORS[1], world.record(EVALUATORS[1], 8).block).write_bytes(b"")
    result = meridian("verify", *of(world), "--json")
    value = json.loads(result.stdout)
    assert (result.exit_code, value["ok"], value["broken"]) == (1, False, "block")


def test_verify_lists_items_on_demand(world: World) -> None:
    assert "differs: 1 weights" not in meridian("verify", *of(world)).stdout
    assert "differs: 1 weights" in meridian("verify", *of(world), "--items").stdout


def test_verify_of_an_unknown_epoch_is_not_found(world: World) -> None:
    result = meridian("verify", "--data-dir", world.root, "--epoch", 99)
    assert result.exit_code == 3
    assert "epoch 99 is not open" in result.stderr


def test_verify_without_a_directory_is_a_usage_error(tmp_path: Path) -> None:
    assert meridian("verify", "--data-dir", tmp_path / "none", "--epoch", 1).exit_code == 2


def test_a_directory_without_a_network_is_not_found(tmp_path: Path) -> None:
    result = meridian("verify", "--data-dir", tmp_path, "--epoch", 1)
    assert result.exit_code == 3
    assert "no network here" in result.stderr


def test_node_show_prints_jobs_reward_and_claim(world: World) -> None:
    result = meridian("node", "show", *of(world), "--node", "epsilon")
    assert result.exit_code == 0, result.output
    for text in ("jobs counted", "11", "unsuccessful", "late jobs", "proportion", "claimable"):
        assert text in result.stdout


def test_node_show_as_json(world: World) -> None:
    result = meridian("node", "show", *of(world), "--node", ADDRESS_NODE.lower(), "--json")
    value = json.loads(result.stdout)
    assert value["node_id"] == ADDRESS_NODE
    assert value["jobs"] == value["succeeded"] + sum(value["failures"].values())
    assert 0 < int(value["reward_atto"]) < BUDGET
    assert value["claim_status"] == "claimable"
    assert len(value["job_root"]) == len(value["node_key"]) == 64


def test_node_show_tells_until_when_the_window_is_open(world: World) -> None:
    world.chain.is_unlocked = False
    result = meridian("node", "show", *of(world), "--node", "gamma")
    assert "window open until 1700000500" in result.stdout


def test_an_unknown_node_exits_with_3_and_names_the_nearest(world: World) -> None:
    result = meridian("node", "show", *of(world), "--node", "gama")
    assert result.exit_code == 3
    assert "gamma" in result.stderr
    assert result.stdout == ""


def proof_file(world: World, tmp_path: Path, kind: str) -> Path:
    path = tmp_path / f"{kind}.json"
    more: tuple[str, ...] = {
        "job": ("gamma", "--job", "job-8-2"),
        "absent job": ("gamma", "--job", "job-8-999"),
        "absent node": ("stranger",),
    }.get(kind, ("gamma",))
    result = meridian("proof", kind.split(maxsplit=1)[0], *of(world), "--node", *more, "-o", path)
    assert result.exit_code == 0, result.output
    return path


@pytest.mark.parametrize("kind", ["job", "node", "absent job", "absent node", "claim"])
def test_a_proof_file_is_written_and_verified_with_and_without_the_chain(
    world: World, tmp_path: Path, kind: str
) -> None:
    path = proof_file(world, tmp_path, kind)
    alone = meridian("proof", "verify", path)
    assert alone.exit_code == 0
    assert "valid: " in alone.stdout
    assert "not compared with a chain" in alone.stdout
    assert "SHA-256(0x" in alone.stdout
    anchored = meridian("proof", "verify", path, "--data-dir", world.root)
    assert anchored.exit_code == 0
    assert "ok   chain" in anchored.stdout
    value = json.loads(meridian("proof", "verify", path, "--data-dir", world.root, "--json").stdout)
    assert (value["valid"], value["failed"], value["compared_with_chain"]) == (True, None, True)


@pytest.mark.parametrize("kind", ["job", "node", "claim"])
def test_a_changed_proof_file_is_invalid_and_the_step_is_named(
    world: World, tmp_path: Path, kind: str
) -> None:
    path = proof_file(world, tmp_path, kind)
    document = json.loads(path.read_text())
    document["node_id"] = "delta"
    path.write_text(json.dumps(document))
    result = meridian("proof", "verify", path, "--data-dir", world.root)
    assert result.exit_code == 1
    last = "invalid: document" if kind == "claim" else "invalid: node key"
    assert result.stdout.splitlines()[-1] == last
    path.write_bytes(b"\xff")
    assert meridian("proof", "verify", path).stdout.splitlines()[-1] == "invalid: document"


def test_a_proof_that_the_chain_does_not_know_is_invalid(world: World, tmp_path: Path) -> None:
    path = proof_file(world, tmp_path, "claim")
    world.chain.reported.pop()
    result = meridian("proof", "verify", path, "--data-dir", world.root)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1] == "invalid: chain"
    assert meridian("proof", "verify", path).exit_code == 0


def test_a_proof_goes_to_standard_output_without_a_file(world: World) -> None:
    result = meridian("proof", "node", *of(world), "--node", "gamma")
    assert json.loads(result.stdout)["kind"] == "node"


@pytest.mark.parametrize(
    "arguments",
    [
        ("job", "--node", "gamma", "--job", "nothing"),
        ("job", "--node", "nobody", "--job", "job-8-1"),
        ("node", "--node", "nobody"),
        ("claim", "--node", "nobody"),
    ],
)
def test_what_does_not_exist_cannot_be_proved(world: World, arguments: tuple[str, ...]) -> None:
    assert meridian("proof", *arguments, *of(world)).exit_code == 3


@pytest.mark.parametrize("more", [(), ("--job", "job-8-2")])
def test_what_exists_cannot_be_proved_absent(world: World, more: tuple[str, ...]) -> None:
    result = meridian("proof", "absent", *of(world), "--node", "gamma", *more)
    assert result.exit_code == 1
    assert "is not absent" in result.stderr
    assert result.stdout == ""


def test_a_proof_of_absence_says_what_is_absent(world: World, tmp_path: Path) -> None:
    job = meridian("proof", "verify", proof_file(world, tmp_path, "absent job"))
    assert "valid: job 'job-8-999' is none of the 7 jobs of node 'gamma' in epoch 8" in job.stdout
    node = meridian("proof", "verify", proof_file(world, tmp_path, "absent node"))
    assert "valid: node 'stranger' has no job in epoch 8" in node.stdout


def test_an_output_that_cannot_be_written_is_a_storage_failure(world: World) -> None:
    result = meridian(
        "proof", "node", *of(world), "--node", "gamma", "-o", world.root / "no" / "such" / "file"
    )
    assert result.exit_code == 5


def test_importing_the_commands_does_not_import_the_virtual_machine() -> None:
    """The audit only talks to a chain; py-evm would also raise the recursion limit that guards our decoders."""
    import subprocess

    code = "import sys, meridian.cli.audit_commands; sys.exit('eth' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("name", "more"), [("log", ()), ("consistency", ("--old-epoch", 7))])
def test_the_epoch_log_is_proved_and_compared_with_its_signed_checkpoint(
    world: World, tmp_path: Path, name: str, more: tuple[object, ...]
) -> None:
    path = tmp_path / "proof"
    made = meridian("proof", name, *of(world), *more, "-o", path, "--form", "binary")
    assert made.exit_code == 0, made.output
    checked = meridian("proof", "verify", path, "--data-dir", world.root)
    assert checked.exit_code == 0, checked.output
    assert "signed log" in checked.stdout
    assert ("ok   chain" in checked.stdout) == (name == "log")
    assert meridian("proof", name, *of(world)[:2], "--epoch", 99, *more).exit_code == 3
    world.chain.committed.clear()
    again = meridian("proof", "verify", path, "--data-dir", world.root)
    assert again.exit_code == (1 if name == "log" else 0)
