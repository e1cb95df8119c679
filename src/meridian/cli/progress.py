"""What people see while a run works: one line for each step, with a bar where there is something to count."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

PLAIN_EVERY_S: Final = 10.0
"""How often a long work without a terminal says where it is."""


class ProgressDisplay:
    """Shows steps and notes on standard error; with `quiet` it shows nothing but notes."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓[/green]"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
        )
        self._plain = not quiet and not self._console.is_terminal
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def stop(self) -> None:
        """Leave the bars as they are; notes still show."""
        self._progress.stop()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def progress(self, step: str, done: int, total: int) -> None:
        """Show that `done` of `total` of a step are done; equal numbers end the step."""
        if step not in self._tasks:
            self._tasks[step] = self._progress.add_task(step, total=total)
            self._started[step] = time.monotonic()
            if self._plain and done < total:
                self._say(f"  … {step}")
        self._progress.update(self._tasks[step], completed=done, total=total)
        if self._plain and done >= total and self._started[step] >= 0:
            seconds = time.monotonic() - self._started[step]
            self._say(f"  ✓ {step} ({total:,} in {seconds:.1f} s)")
            self._started[step] = -1.0

    def note(self, text: str) -> None:
        """Show one line that stays."""
        self._say(f"  · {text}")

    def _say(self, line: str) -> None:
        # As it is: names from outside are no markup, and a log's line is not cut at column 80.
        self._console.print(line, markup=False, emoji=False, soft_wrap=True)


def counting(display: ProgressDisplay, step: str, total: int) -> Callable[[int], None]:
    """Return what a pure computation calls with the number of things that are done."""

    def count(done: int) -> None:
        display.progress(step, done, total)

    return count


class JobsDisplay:
    """Shows how many jobs are done, at what rate, and how long the rest takes where its size is known.

    Args:
        step: What is done.
        size: All that there is, in any unit; None: nobody knows.
        quiet: Show nothing.
    """

    def __init__(self, step: str, size: int | None, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, highlight=False)
        terminal = self._console.is_terminal
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓[/green]"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            TextColumn("{task.fields[jobs]:,} jobs, {task.fields[rate]:,.0f}/s"),
            TimeElapsedColumn(),
            *([] if size is None else [TextColumn("left"), TimeRemainingColumn()]),
            console=self._console,
            disable=quiet or not terminal,
        )
        self._plain = not quiet and not terminal
        self._step, self._started = step, time.monotonic()
        self._said = self._started
        self._task = self._progress.add_task(step, total=size, jobs=0, rate=0.0)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show(self, jobs: int, position: int) -> None:
        """Show that so many jobs are done, and how far that is in the unit of the size."""
        now = time.monotonic()
        rate = jobs / max(now - self._started, 1e-3)
        self._progress.update(self._task, completed=position, jobs=jobs, rate=rate)
        if self._plain and now - self._said >= PLAIN_EVERY_S:
            self._said = now
            self._console.print(f"  … {self._step}: {jobs:,} jobs, {rate:,.0f}/s", markup=False)
