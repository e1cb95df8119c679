"""`./dev`: the README's front door."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def dev(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(ROOT / "dev"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture(autouse=True)
def _environment() -> None:
    stamp = ROOT / ".venv" / ".locked"
    if not stamp.is_file() or stamp.read_bytes() != (ROOT / "requirements/dev.txt").read_bytes():
        pytest.skip("the checkout has no environment of its own; ./dev would make one first")


def test_it_explains_itself() -> None:
    shown = dev("help")
    assert shown.returncode == 0
    assert "./dev demo" in shown.stdout
    assert "./dev test" in shown.stdout


def test_it_hands_on_to_any_command() -> None:
    assert dev("meridian", "--version").stdout.startswith("meridian, version ")


def test_an_unknown_word_is_refused_with_the_help() -> None:
    shown = dev("dance")
    assert shown.returncode == 2
    assert "./dev demo" in shown.stdout
