"""The `meridian` command itself: help everywhere, one line for every error, and its exit code."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from meridian import __version__, errors
from meridian.cli.main import EPILOG, main

CONTEXT = click.Context(main)


def meridian(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def commands(group: click.Command, *path: str) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(group, click.Group):
        for name in group.list_commands(CONTEXT):
            command = group.get_command(CONTEXT, name)
            assert command is not None
            yield from commands(command, *path, name)


@pytest.mark.parametrize("path", list(commands(main)), ids=" ".join)
def test_every_command_has_help_that_says_something(path: tuple[str, ...]) -> None:
    if path == ("serve", "chain"):
        return  # its help is the chain's own: see below
    result = meridian(*path, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: {' '.join(('main', *path))}")
    command: click.Command = main
    for name in path:
        assert isinstance(command, click.Group)
        command = command.get_command(CONTEXT, name) or command
        assert command.name == name
    assert command.help
    assert command.help.split()[0] in result.stdout
    for option in command.params:
        if isinstance(option, click.Option) and option.name not in {"path", "help", "version"}:
            assert option.help, f"{path} {option.name} has no help"


def test_the_chain_shows_its_own_help() -> None:
    result = meridian("serve", "chain", "--", "--help")
    assert result.exit_code == 0
    assert "--chain-id" in result.stdout


def test_the_version_is_the_packages() -> None:
    assert meridian("--version").stdout == f"meridian, version {__version__}\n"


def test_without_a_command_the_help_is_shown_and_the_code_is_2() -> None:
    result = meridian()
    assert result.exit_code == 2
    assert "Start here" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("--bogus",),
        ("demo", "--bogus"),
        ("nonsense",),
        ("run",),
        ("demo", "--jobs", "many"),
        ("verify", "--epoch", "1"),
        ("serve", "evaluator", "--config", "no/such/file"),
        ("serve", "measure"),
    ],
)
def test_a_wrong_use_is_told_with_code_2_and_no_traceback(arguments: tuple[str, ...]) -> None:
    result = meridian(*arguments)
    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert "Traceback" not in result.output


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> click.Command:
    """A command whose callback a test replaces."""

    @click.command()
    def command() -> None:
        """Do what the test says."""

    monkeypatch.setitem(main.commands, "probe", command)
    return command


CODES = {
    errors.MeridianError("it failed"): 1,
    errors.InvalidInput("--thing", "is wrong"): 2,
    errors.NotFound("no such thing"): 3,
    errors.RemoteFault("away"): 4,
    errors.StorageFailure("disk full"): 5,
    errors.Overloaded(2.0): 6,
    errors.Reverted("registry: stake"): 7,
}


@pytest.mark.parametrize("error", CODES, ids=lambda error: type(error).__name__)
def test_every_error_of_ours_is_one_line_and_its_code(
    probe: click.Command, error: errors.MeridianError
) -> None:
    def fail() -> None:
        raise error

    probe.callback = fail
    result = meridian("probe")
    assert result.exit_code == error.exit_code == CODES[error]
    assert result.stderr == f"meridian: {error}\n"
    assert result.stdout == ""


def test_the_codes_of_the_help_are_those_of_the_errors() -> None:
    for code in CODES.values():
        assert f"{code} " in EPILOG


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interruption_says_how_to_resume(probe: click.Command, error: BaseException) -> None:
    def fail() -> None:
        raise error

    probe.callback = fail
    result = meridian("probe")
    assert result.exit_code == 130
    assert "run the same command again to resume" in result.stderr


def test_a_failing_file_is_a_storage_failure_by_its_name(
    probe: click.Command, tmp_path: Path
) -> None:
    probe.callback = lambda: (tmp_path / "gone" / "file").write_text("x")
    result = meridian("probe")
    assert result.exit_code == 5
    assert result.stderr == f"meridian: {tmp_path}/gone/file: No such file or directory\n"


def test_what_nobody_foresaw_is_not_hidden(probe: click.Command) -> None:
    def fail() -> None:
        raise OSError("out of the blue")

    probe.callback = fail
    with pytest.raises(OSError, match="out of the blue"):
        meridian("probe")


@pytest.mark.parametrize(("value", "code"), [(None, 0), (0, 0), (3, 3), ("text", 0)])
def test_a_command_may_return_its_code(probe: click.Command, value: object, code: int) -> None:
    probe.callback = lambda: value
    assert meridian("probe").exit_code == code


def test_a_reader_that_has_had_enough_ends_the_command_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as output:
        done = subprocess.run(
            [sys.executable, "-m", "meridian.cli.main", "--help"],
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "")  # click's own code for it
