"""Who plays in a story, and the processes that they are."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from meridian.journey.processes import module_command
from meridian.journey.servers import Fleet
from meridian.scenario import jobs as work


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Who plays in a story."""

    evaluators: int = 4
    committee_size: int = 0
    """0: all are members."""
    lying_evaluators: Mapping[int, str] = dataclasses.field(default_factory=dict)
    """Number of an evaluator -> its lie; low numbers are members first."""
    late_evaluators: frozenset[int] = frozenset()
    """Numbers of evaluators that the story itself starts."""
    aggregator_lie: str | None = None
    lying_epoch: int = work.FIRST_EPOCH
    victim: str = work.NODES[2]
    epochs: int = 1
    challenge_seconds: int = 20
    response_seconds: int = 3
    """How long a challenged aggregator may take to answer."""
    rule: int = work.RULE_JOBS
    """How the contracts compute a node's weight; 0: not at all."""
    escalates: bool = False
    """Whether the watcher brings before the referees what arithmetic cannot settle."""
    patience_s: float = 600.0
    """Of the watcher, with artefacts that are missing."""


class Ensemble(Fleet):
    """The processes of a story; some of them end before it does."""

    def run_process(self, name: str, *command: str) -> None:
        """Start a process of another module."""
        self._start(name, module_command(*command))

    def stop_process(self, name: str) -> None:
        """End a process cleanly."""
        self._children.pop(name).stop()

    def may_end(self, name: str) -> None:
        """A process is expected to end by itself from now on."""
        self._expected_dead.add(name)

    def is_running(self, name: str) -> bool:
        """Whether a process runs."""
        return self._children[name].alive

    def start_lying_evaluator(self, number: int, lie: str) -> None:
        """Start a liar in an evaluator's place."""
        config = str(self._config(number))
        self.run_process(
            f"evaluator-{number}",
            "meridian.scenario.lying_evaluator",
            "--config", config, "--lie", lie,
        )  # fmt: skip
