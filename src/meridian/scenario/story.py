"""A story: what happened, in sentences, and what had to be so."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from meridian.errors import MeridianError


class WrongEnd(MeridianError):
    """Something did not happen as it must; the story ends here."""


@dataclass(slots=True)
class Story:
    """The record of one scenario while it happens.

    Args:
        name: Of the scenario.
        show: Called with every sentence as it is told.
    """

    name: str
    show: Callable[[str], None]
    sentences: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    """What had to be so and was."""
    started_s: float = field(default_factory=time.monotonic)

    def tell(self, sentence: str) -> None:
        """Say what happened."""
        self.sentences.append(sentence)
        self.show(f"{self.seconds:6.1f} s  {sentence}")

    def must(self, holds: bool, fact: str) -> None:
        """Require a fact.

        Raises:
            WrongEnd: If it does not hold.
        """
        if not holds:
            raise WrongEnd(f"{self.name}: this had to be so and is not: {fact}")
        self.held.append(fact)
        self.show(f"{self.seconds:6.1f} s  ✓ {fact}")

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.started_s

    def document(self, ended_well: bool, problem: str = "") -> dict[str, Any]:
        """Return the story for machines."""
        return {
            "scenario": self.name,
            "ended_well": ended_well,
            "problem": problem,
            "sentences": self.sentences,
            "held": self.held,
            "seconds": round(self.seconds, 1),
        }
