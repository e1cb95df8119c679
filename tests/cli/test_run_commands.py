"""`run` and `demo`: what they refuse before anything is started, and what they hand to the run."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from meridian.cli import run_commands
from meridian.cli.main import main
from meridian.errors import InvalidInput, RemoteFault
from meridian.journey import run as journey_run
from meridian.journey.options import Options
from meridian.journey.run import RunResult
from meridian.journey.stream import Ingested

SMALL = ("--jobs", "20", "--nodes", "2", "--epochs", "1")


@dataclass
class Runs:
    """What was asked of the run, which itself does nothing here."""

    asked: list[tuple[Any, Options]] = field(default_factory=list)
    error: Exception | None = None
    broken: dict[int, str] = field(default_factory=dict)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    made = Runs()

    class Journey:
        def __init__(self, source: Any, options: Options, watcher: Any) -> None:
            made.asked.append((source, options))
            watcher.note("working")

        def run(self, show: Callable[[RunResult], None]) -> RunResult:
            if made.error is not None:
                raise made.error
            result = RunResult({"epochs": []}, Ingested(), [], broken=made.broken)
            show(result)
            return result

    monkeypatch.setattr(journey_run, "Journey", Journey)
    return made


def meridian(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_an_unknown_network_is_not_found_and_the_known_ones_are_named(
    runs: Runs, tmp_path: Path
) -> None:
    result = meridian("run", "--network", "nope", "--jobs", tmp_path / "x", "--data-dir", tmp_path)
    assert result.exit_code == 3
    assert result.stderr == (
        "meridian: no network 'nope'; known are attestation, nym, saturn, spark, spark-chain, worldcup\n"
    )
    assert not runs.asked


@pytest.mark.parametrize("network", ["saturn", "spark", "attestation", "worldcup"])
def test_a_missing_file_is_not_found(runs: Runs, tmp_path: Path, network: str) -> None:
    missing, home = tmp_path / "missing", tmp_path / "home"
    result = meridian("run", "--network", network, "--jobs", missing, "--data-dir", home)
    assert result.exit_code == 3
    assert str(missing) in result.stderr
    assert not home.exists(), "nothing is made before the input is good"


@pytest.mark.parametrize("network", ["saturn", "spark", "attestation", "worldcup"])
@pytest.mark.parametrize("content", [b"", b"no jobs\n", b"{}\n", b"\x1f\x8bnot gzip", b"\xff\x00"])
def test_a_file_without_jobs_of_the_network_is_bad_input(
    runs: Runs, tmp_path: Path, network: str, content: bytes
) -> None:
    path = tmp_path / "jobs"
    path.write_bytes(content)
    result = meridian("run", "--network", network, "--jobs", path, "--data-dir", tmp_path / "home")
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("meridian: ")
    assert not runs.asked


@pytest.mark.parametrize(
    "text", ["4", "dead:4", "4:", ":dead", "4:dead:5", "4:asleep", "0:dead", "5:dead", "-1:dead"]
)
def test_a_wrong_sabotage_is_bad_input_by_its_option(runs: Runs, tmp_path: Path, text: str) -> None:
    result = meridian("demo", *SMALL, "--data-dir", tmp_path / "home", "--sabotage", text)
    assert result.exit_code == 2
    assert result.stderr.startswith("meridian: --sabotage: ")
    assert not runs.asked
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--evaluators", "0"),
        ("--evaluators", "32"),
        ("--budget-atto", "-1"),
        ("--challenge-seconds", "-1"),
        ("--claims", "-1"),
        ("--decide-timeout-s", "nan"),
        ("--jobs", "0"),
        ("--nodes", "0"),
        ("--epochs", "0"),
    ],
)
def test_a_value_out_of_range_is_bad_input(
    runs: Runs, tmp_path: Path, option: str, value: str
) -> None:
    result = meridian("demo", *SMALL, "--data-dir", tmp_path / "home", option, value)
    assert result.exit_code == 2
    assert option.removeprefix("--") in result.stderr
    assert not runs.asked


@pytest.mark.parametrize("options", [("--jobs", "0"), ("--evaluators", "0"), ("--sabotage", "x")])
def test_a_demo_that_does_not_start_leaves_no_directory_behind(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, str]
) -> None:
    monkeypatch.setattr(run_commands.tempfile, "tempdir", str(tmp_path))
    assert meridian("demo", *SMALL, *options).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_data_directory_that_is_a_file_is_bad_input(runs: Runs, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    result = meridian("demo", *SMALL, "--data-dir", tmp_path / "file")
    assert result.exit_code == 2
    assert (tmp_path / "file").read_text() == "mine"


def test_the_options_arrive(runs: Runs, tmp_path: Path) -> None:
    result = meridian(
        "demo", *SMALL, "--data-dir", tmp_path / "home", "--evaluators", 7, "--budget-atto", 5,
        "--challenge-seconds", 9, "--claims", 2, "--kill-evaluator", "--sabotage", "3:dead",
        "--sabotage", "4:garbage", "--decide-timeout-s", 1.5, "--keep", "--live-seconds", 0, "--web-port", 8001, "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    [(source, options)] = runs.asked
    assert options == Options(
        data_dir=tmp_path / "home",
        evaluators=7,
        budget_atto=5,
        challenge_seconds=9,
        claims_max=2,
        kill_evaluator=True,
        sabotage=((3, "dead"), (4, "garbage")),
        decide_timeout_s=1.5,
        keep=True,
        web_port=8001,
    )
    assert (source.jobs, len(source.nodes), source.n_epochs) == (20, 2, 1)


def test_a_kept_demo_goes_on_with_epochs_of_the_same_nodes(runs: Runs, tmp_path: Path) -> None:
    home = tmp_path / "home"
    result = meridian("demo", *SMALL, "--data-dir", home, "--keep", "--live-seconds", 7)
    assert result.exit_code == 0, result.output
    [(source, options)] = runs.asked
    assert options.live_seconds == 7
    later = options.following(source.epochs[-1] + 4)
    assert later.nodes == source.nodes
    assert (later.jobs, later.epochs) == (20, range(5, 6))


def test_json_is_alone_on_standard_output(runs: Runs, tmp_path: Path) -> None:
    result = meridian("demo", *SMALL, "--data-dir", tmp_path / "home", "--json")
    assert json.loads(result.stdout) == {"epochs": []}
    assert "working" in result.stderr


def test_without_json_people_are_told_where_to_look(runs: Runs, tmp_path: Path) -> None:
    home = tmp_path / "a home [bold] of it"
    result = meridian("demo", *SMALL, "--data-dir", home)
    assert result.exit_code == 0
    assert f"meridian verify --data-dir '{home}' --epoch" in result.stdout
    assert f"Everything lies in {home}." in result.stdout


def test_a_broken_link_makes_the_run_fail(runs: Runs, tmp_path: Path) -> None:
    runs.broken = {3: "block"}
    result = meridian("demo", *SMALL, "--data-dir", tmp_path / "home")
    assert result.exit_code == 1
    assert "broken: block in epoch 3" in result.stdout


@pytest.mark.parametrize(("error", "code"), [(RemoteFault("away"), 4), (InvalidInput("x", "y"), 2)])
def test_an_error_of_the_run_keeps_its_code_and_a_given_directory(
    runs: Runs, tmp_path: Path, error: Exception, code: int
) -> None:
    (tmp_path / "kept").write_text("mine")
    runs.error = error
    result = meridian("demo", *SMALL, "--data-dir", tmp_path)
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (code, f"meridian: {error}")
    assert (tmp_path / "kept").exists()


def test_files_may_follow_the_options(runs: Runs, tmp_path: Path) -> None:
    """A shell's ``--jobs day-*.gz`` becomes one option and further arguments."""
    result = meridian(
        "run", "--network", "saturn", "--data-dir", tmp_path / "home",
        "--jobs", tmp_path / "one", tmp_path / "two",
    )  # fmt: skip
    assert result.exit_code == 3
    (tmp_path / "one").write_text("")
    result = meridian(
        "run", "--network", "saturn", "--data-dir", tmp_path / "home",
        "--jobs", tmp_path / "one", tmp_path / "two",
    )  # fmt: skip
    assert str(tmp_path / "two") in result.stderr
