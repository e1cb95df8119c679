"""`meridian init`: nothing is replaced unsaid, what is missing is named, and it asks on a terminal.

That the files of every role start real processes is shown by tests/docs/test_own_network_page.py.
"""

import os
import pty
import subprocess
import sys
from pathlib import Path

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


def test_it_asks_on_a_terminal(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "meridian.cli.main",
        "init",
        "sponsor",
        "--network-dir",
        str(tmp_path),
    ]
    asked = subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    answers = ["0x" + "11" * 20, "", "60", "", "bazaar", "", "3", ""]
    os.write(ours, "".join(f"{answer}\n" for answer in answers).encode())
    out, err = asked.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert asked.returncode == 0, err
    assert "Name of the network" in err
    text = (tmp_path / "sponsor/sponsor.toml").read_text()
    for line in ('network = "bazaar"', "epoch_seconds = 60", 'like = "saturn"', "epochs = 3"):
        assert f"\n{line}\n" in text
    assert "wrote" in out
