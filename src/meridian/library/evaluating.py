"""An evaluation function over jobs of one's own: no chain, no service, the same integers as every evaluator computes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from meridian.evaluate.function import EpochInput, Evaluation
from meridian.evaluate.registry import function_named
from meridian.library.frames import Form, in_form, shares, table, whole
from meridian.measure.columns import column_values
from meridian.networks.function_folder import read_bundle
from meridian.networks.function_trial import trial
from meridian.networks.sources import load


@dataclass(frozen=True, slots=True)
class EvaluatedEpoch:
    """What a function made of one epoch's jobs."""

    given: EpochInput
    """The jobs, as the function was given them."""
    result: Evaluation
    """Weights and verdicts."""

    @property
    def epoch(self) -> int:
        """The epoch's number."""
        return self.given.epoch

    @property
    def summary(self) -> Mapping[str, int]:
        """Number of jobs and nodes, the function's own totals, and a count for each reason."""
        return self.result.summary

    def nodes(self, form: Form = "arrow") -> Any:
        """Return node_id, weight (null: no jobs) and share (float).

        Args:
            form: ``arrow``, ``pandas`` or ``polars``.
        """
        weights = self.result.weights
        columns = {
            "node_id": self.given.node_ids,
            "weight": whole(weights),
            "share": shares(weights),
        }
        return in_form(table(columns), form)

    def jobs(self, form: Form = "arrow") -> Any:
        """Return the jobs with the node's id and the verdict: ``ok``, or why the job does not count.

        Args:
            form: ``arrow``, ``pandas`` or ``polars``.
        """
        batches = list(self.given.jobs.to_batches())
        jobs = pa.Table.from_batches(batches, self.given.jobs.schema)
        ids = pa.array(self.given.node_ids).take(pa.array(column_values(jobs, "node")))
        codes = pa.array(list(self.result.verdicts), pa.int32())
        verdicts = pa.DictionaryArray.from_arrays(codes, pa.array(self.result.reasons))
        kept = [name for name in jobs.column_names if name not in {"node", "node_id", "index"}]
        jobs = jobs.select(kept).add_column(0, "node_id", ids)
        return in_form(jobs.append_column("verdict", verdicts.cast(pa.string())), form)


def evaluate_jobs(
    jobs: str | Path | Iterable[str | Path],
    *,
    network: str = "saturn",
    function: str | Path | None = None,
    parameters: Mapping[str, Any] | None = None,
    epoch_seconds: int | None = None,
) -> list[EvaluatedEpoch]:
    """Evaluate files of jobs, epoch by epoch.

    Args:
        jobs: The files, plain or gzipped, in the form of the network.
        network: A network that ships: whose records they are.
        function: A function that ships, by name, or the folder or bundle of one of your own (docs/functions.md); by default the
            network's own, with its parameters.
        parameters: Of the function; with None its defaults.
        epoch_seconds: Length of an epoch; with None the network's own.

    Returns:
        One result for each epoch that has jobs. Fraud layers are not applied: they are part of a network's rules, which
        `meridian run` and `Epoch.nodes` follow.

    Raises:
        NotFound: If there is no such network, function or file.
        InvalidInput: If a file is malformed, a parameter is refused, or not one record is acceptable.
    """
    files = [jobs] if isinstance(jobs, str | Path) else list(jobs)
    source = load(network, [Path(file) for file in files], epoch_seconds=epoch_seconds)
    definition = source.definition
    if function is None:
        chosen = dict(definition.function_parameters if parameters is None else parameters)
    else:
        chosen = dict(parameters or {})
        if Path(function).exists():
            definition = definition.with_function(read_bundle(Path(function)).encode(), chosen)
        else:
            own = function_named(str(function))
            definition = replace(
                definition, function=own.name, bundle=None, function_parameters=chosen
            )
    found, _ = trial(source, definition.evaluation_function, chosen)
    return [EvaluatedEpoch(given, result) for given, result in found]
