"""Who wants to see a run while it happens."""

from typing import Protocol


class Watcher(Protocol):
    """Whoever wants to see the run."""

    def progress(self, step: str, done: int, total: int) -> None:
        """`done` of `total` of a step are done; equal numbers end it."""

    def note(self, text: str) -> None:
        """Something worth a line of its own."""
