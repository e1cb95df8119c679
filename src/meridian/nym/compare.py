"""The ways against each other: one seed, so one set of measurements; honest, and with f Nym-Apis that lie.

How far an accepted value is from the truth, how far the liars moved it, and whether it left the range of what the honest
Nym-Apis measured: in `quorum` it must not, and that is checked.
"""

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from meridian.errors import InvalidInput
from meridian.journey.watching import Watcher
from meridian.nym.acceptance import Mode
from meridian.nym.mixnodes import World
from meridian.nym.rows import SCALE, Values
from meridian.nym.run import NymOptions, NymResult, NymRun
from meridian.nym.stored import StoredSystem
from meridian.primitives.quorum import faults_max

AT_ONCE: Final = 3
"""Systems that run at the same time."""

BIAS: Final = {
    Mode.STANDALONE: "the one Nym-Api that reports decides every value alone, and nobody can tell",
    Mode.RACE: "every liar moves every mean; the winner chose the last rows of its block",
    Mode.QUORUM: "nobody: every value lies between two values that honest Nym-Apis measured",
}


@dataclass(frozen=True, slots=True)
class Deviation:
    """Distances at 10^-6 percent points; None of none."""

    greatest: int | None
    mean: int | None

    @staticmethod
    def of(distances: Sequence[int]) -> "Deviation":
        """Return the greatest and the mean, rounded down."""
        if not distances:
            return Deviation(None, None)
        return Deviation(max(distances), sum(distances) // len(distances))


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: what was accepted, and what every honest Nym-Api had measured."""

    mode: Mode
    liars: int
    accepted: dict[int, Values]
    """Epoch -> values."""
    honest: dict[int, dict[int, Values]]
    """Epoch -> number -> row."""


def deviation(world: World, run: Measured, mixnode: int | None = None) -> Deviation:
    """Return how far accepted values are from the truth, of one mixnode or of all."""
    return Deviation.of(
        [
            abs(value - world.truth(node, epoch) * SCALE)
            for epoch, values in run.accepted.items()
            for node, value in enumerate(values)
            if value is not None and mixnode in {None, node}
        ]
    )


def moved(honest: Measured, lying: Measured) -> Deviation:
    """Return how far liars moved what was accepted."""
    return Deviation.of(
        [
            abs(a - b)
            for epoch in honest.accepted.keys() & lying.accepted.keys()
            for a, b in zip(honest.accepted[epoch], lying.accepted[epoch], strict=True)
            if a is not None and b is not None
        ]
    )


def outside_honest_range(run: Measured) -> int:
    """Count accepted values below or above all that honest Nym-Apis measured."""
    count = 0
    for epoch, values in run.accepted.items():
        for node, value in enumerate(values):
            said = [row[node] for row in run.honest[epoch].values()]
            known = [one for one in said if one is not None]
            if value is not None and not (known and min(known) <= value <= max(known)):
                count += 1
    return count


class Comparison:
    """All runs under one data directory.

    Args:
        options: As for one run; mode, aggregate and liars are the comparison's own.

    Raises:
        InvalidInput: If there are too few Nym-Apis for one to lie.
    """

    def __init__(self, options: NymOptions, watcher: Watcher) -> None:
        self._liars = faults_max(options.apis)
        if self._liars < 1:
            raise InvalidInput(
                "--apis", f"{options.apis} do not bear one that lies; give 4 or more"
            )
        self._options = options
        self._watcher = watcher
        self._world = World(options.seed, options.mixnodes)

    def run(self) -> NymResult:
        """Run every way, honest and with liars, and compare."""
        wanted = [self._run_options(mode, liars) for mode in Mode for liars in (0, self._liars)]
        problems: list[str] = []
        runs: list[Measured] = []
        self._watcher.progress("runs", 0, len(wanted))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            results = pool.map(lambda options: NymRun(options, _Silent()).run(), wanted)
            for options, result in zip(wanted, results, strict=True):
                name = options.data_dir.name
                problems += [f"{name}: {problem}" for problem in result.problems]
                runs.append(_measured(options, result))
                self._watcher.progress("runs", len(runs), len(wanted))
        return self._compare(runs, problems)

    def _run_options(self, mode: Mode, liars: int) -> NymOptions:
        name = f"{mode.value}-{'lying' if liars else 'honest'}"
        directory = self._options.data_dir / name
        return dataclasses.replace(self._options, mode=mode, liars=liars, data_dir=directory)

    def _compare(self, runs: list[Measured], problems: list[str]) -> NymResult:
        if not _same_measurements(runs):
            problems.append("the runs did not measure the same")
        documents = []
        for run in runs:
            outside = outside_honest_range(run)
            if run.mode is Mode.QUORUM and outside:
                problems.append(
                    f"quorum, {run.liars} liars: {outside} values no honest one measured"
                )
            nodes = [
                {"mixnode": node} | dataclasses.asdict(deviation(self._world, run, node))
                for node in range(self._options.mixnodes)
            ]
            documents.append(
                {
                    "mode": run.mode.value,
                    "liars": run.liars,
                    "deviation": dataclasses.asdict(deviation(self._world, run)),
                    "missing": sum(v is None for values in run.accepted.values() for v in values),
                    "outside_honest_range": outside,
                    "mixnodes": nodes,
                }
            )
        pairs = zip(runs[::2], runs[1::2], strict=True)
        bias = {
            honest.mode.value: dataclasses.asdict(moved(honest, lying)) | {"who": BIAS[honest.mode]}
            for honest, lying in pairs
        }
        document: dict[str, Any] = {
            "apis": self._options.apis,
            "mixnodes": self._options.mixnodes,
            "epochs": self._options.epochs,
            "seed": self._options.seed,
            "liars": self._liars,
            "runs": documents,
            "bias": bias,
            "problems": problems,
        }
        return NymResult(document, problems)


def _measured(options: NymOptions, result: NymResult) -> Measured:
    accepted = {epoch["epoch"]: tuple(epoch["rewards"]) for epoch in result.document["epochs"]}
    return Measured(
        options.mode, options.liars, accepted, _honest_rows(options.data_dir, list(accepted))
    )


def _honest_rows(root: Path, epochs: Sequence[int]) -> dict[int, dict[int, Values]]:
    """Return what honest Nym-Apis measured, made again from their readings."""
    with StoredSystem(root) as stored:
        network = stored.network
        honest = [number for number in network.numbers if number > network.liars]
        return {
            epoch: {number: stored.row(number, epoch).spread(network.mixnodes) for number in honest}
            for epoch in epochs
        }


def _same_measurements(runs: Sequence[Measured]) -> bool:
    """Tell whether those that were honest in two runs measured the same in both."""
    first, *others = runs
    return all(
        run.honest[epoch][number] == first.honest[epoch][number]
        for run in others
        for epoch in run.honest.keys() & first.honest.keys()
        for number in run.honest[epoch].keys() & first.honest[epoch].keys()
    )


class _Silent:
    """Shows nothing of the single runs."""

    def progress(self, step: str, done: int, total: int) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Show nothing."""
