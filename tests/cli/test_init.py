"""`meridian init`: nothing is replaced unsaid, what is missing is named, and it asks on a terminal.

That the files of every role start real processes is shown by tests/docs/test_own_network_page.py.
"""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from meridian.cli.main import main


def run(*words: object, code: int = 0) -> Result:
    """Run a command in this process."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == code, f"{words}\n{result.output}"
    return result


def test_nothing_is_replaced_unsaid_and_keys_never(tmp_path: Path) -> None:
    words = ["init", "sponsor", "--network-dir", tmp_path, "--network", "own", "--like", "saturn",
             "--aggregator", "0x" + "11" * 20]  # fmt: skip
    run(*words)
    config, key = tmp_path / "sponsor/sponsor.toml", tmp_path / "sponsor/keys/sponsor.key"
    secret = key.read_text()
    config.write_text("mine")
    refused = run(*words, code=2)
    assert "is there already; --overwrite replaces it" in str(refused.output)
    assert config.read_text() == "mine"
    run(*words, "--overwrite")
    assert 'like = "saturn"' in config.read_text()
    assert key.read_text() == secret


def test_without_a_terminal_what_is_needed_is_named(tmp_path: Path) -> None:
    refused = run("init", "sponsor", "--network-dir", tmp_path, code=2)
    assert "--aggregator: is needed" in refused.output
    early = run("init", "node", "--network-dir", tmp_path, "--node", "n")
    assert "run this command again" in early.output
    assert (tmp_path / "node/keys/operator.key").is_file()
    assert not (tmp_path / "node/node.toml").exists()


def test_wrong_answers_are_refused_before_a_file_is_written(tmp_path: Path) -> None:
    refused = run("init", "evaluator", "--network-dir", tmp_path, "--port", 70_000, code=2)
    assert "70000" in refused.output
    run("init", "sponsor", "--network-dir", tmp_path, "--network", "n" * 65, "--like", "saturn",
        "--aggregator", "x", code=2)  # fmt: skip
    assert not (tmp_path / "sponsor/sponsor.toml").exists()


def asked(role: str, place: Path, answers: list[str]) -> tuple[str, str]:
    """Answer the questions of `meridian init` on a terminal; returns what it wrote to output and errors."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "meridian.cli.main", "init", role, "--network-dir", str(place)]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    os.write(ours, "".join(f"{answer}\n" for answer in answers).encode())
    out, err = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 0, err
    return out, err


def test_it_asks_on_a_terminal(tmp_path: Path) -> None:
    answers = ["0x" + "11" * 20, "", "60", "", "bazaar", "", "3", ""]
    out, err = asked("sponsor", tmp_path, answers)
    assert "Name of the network" in err
    text = (tmp_path / "sponsor/sponsor.toml").read_text()
    for line in ('network = "bazaar"', "epoch_seconds = 60", 'like = "saturn"', "epochs = 3"):
        assert f"\n{line}\n" in text
    assert "wrote" in out


@pytest.mark.parametrize(
    ("role", "answers", "questions"),
    [
        ("aggregator", ["", "7391"], ["Address to listen on", "Port to listen on"]),
        ("evaluator", ["", "7401"], ["Address to listen on", "Port to listen on"]),
        ("node", ["12D3KooWMine"], ["The node's id"]),
    ],
)
def test_every_role_asks_what_it_needs_and_makes_its_keys(
    tmp_path: Path, role: str, answers: list[str], questions: list[str]
) -> None:
    out, err = asked(role, tmp_path, answers)
    for question in questions:
        assert question in err
    assert "run this command again" in out + err, "there is no network yet"
    assert list((tmp_path / role / "keys").glob("*.key"))
