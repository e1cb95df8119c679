"""What people see while a run works: one line for each step, with a bar where there is something to count."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)


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
