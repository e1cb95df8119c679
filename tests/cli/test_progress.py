"""What people see while a run works, where standard error is no terminal: plain lines."""

import re

import pytest

from meridian.cli.progress import ProgressDisplay


@pytest.fixture
def display(capsys: pytest.CaptureFixture[str]):
    with ProgressDisplay() as shown:
        yield shown


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == "", "standard output belongs to the result"
    return captured.err.splitlines()


def test_a_step_is_told_at_its_start_and_its_end_and_not_between(
    display: ProgressDisplay, capsys: pytest.CaptureFixture[str]
) -> None:
    for done in (0, 400, 800, 1_200):
        display.progress("jobs in", done, 1_200)
    first, second = lines(capsys)
    assert first == "  … jobs in"
    assert re.fullmatch(r"  ✓ jobs in \(1,200 in \d+\.\d s\)", second)


def test_a_step_that_was_done_already_is_one_line_and_is_not_repeated(
    display: ProgressDisplay, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        display.progress("register nodes", 7, 7)
    display.progress("nothing to do", 0, 0)
    assert [line[:19] for line in lines(capsys)] == ["  ✓ register nodes ", "  ✓ nothing to do ("]


def test_steps_may_overlap(display: ProgressDisplay, capsys: pytest.CaptureFixture[str]) -> None:
    display.progress("one", 0, 2)
    display.progress("two", 0, 1)
    display.progress("two", 1, 1)
    display.progress("one", 2, 2)
    assert [line[:7] for line in lines(capsys)] == ["  … one", "  … two", "  ✓ two", "  ✓ one"]


@pytest.mark.parametrize(
    "text",
    [
        "no report of epochs [1, 2] yet",
        "node [bold]x[/bold] and [/red] and [link=http://x]y",
        "a line that is " + "much " * 40 + "longer than a terminal is wide",
        "emoji :smile: stay as they are",
    ],
)
def test_a_note_is_one_line_exactly_as_it_was_given(
    display: ProgressDisplay, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    """Names from outside are in it: they must neither vanish nor break the display."""
    display.note(text)
    assert lines(capsys) == [f"  · {text}"]


def test_quiet_leaves_notes_only(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressDisplay(quiet=True) as display:
        display.progress("one", 0, 1)
        display.note("this")
        display.progress("one", 1, 1)
    assert lines(capsys) == ["  · this"]


def test_the_display_ends_also_after_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with ProgressDisplay() as display:
            display.progress("one", 0, 1)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert lines(capsys) == ["  … one"]
