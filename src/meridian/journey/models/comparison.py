"""All models on the same jobs: each runs, verifies itself, and has the ten frauds played against it.

What is done is kept in the comparison's directory, a file for each model, so that the same command goes on where it was
stopped. A run that was stopped in the middle is made anew: its processor time could not be told otherwise.
"""

import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import msgspec

from meridian.audit.evidence import State
from meridian.errors import InvalidInput, MeridianError
from meridian.journey.models.frauds import FRAUDS
from meridian.journey.models.model import (
    Costs,
    Facts,
    FraudOutcome,
    Model,
    ModelOptions,
    ModelRun,
    Phase,
)
from meridian.journey.models.registry import model_named
from meridian.journey.watching import Watcher
from meridian.networks import comparison as made_up
from meridian.networks.definition import JobSource
from meridian.networks.generator import Traffic
from meridian.node.durable_file import held_lock, read_whole, write_durably


@dataclass(frozen=True, slots=True)
class Variant:
    """Another way of using a model, whose costs are shown beside."""

    options: Mapping[str, Any]
    """Fields of `ModelOptions`."""
    jobs_max: int | None = None
    """Run only so many jobs; what all would cost is extrapolated."""


VARIANTS: Final[Mapping[str, Mapping[str, Variant]]] = {
    "naive": {"a transaction a job": Variant({"batch": False}, 2_000)},
    "summary": {"no relay": Variant({"relay": False})},
}
"""Model -> name -> variant. Not here: KZG commitments of `summary`, as one process that answers for all nodes is late on large runs."""
ABOUT: Final = "comparison.json"
FILE_BYTES_MAX: Final = 1 << 26


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantRun:
    """What a variant cost, and whether it came to the same."""

    jobs_run: int
    costs: Costs
    """Where fewer than all jobs were run: those of an epoch, times all / run; those of set-up and payment as they were."""
    same_result: bool
    """Whether the weights are those of the model's own run; of fewer jobs: whether they are the numbers of jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One model's part of a comparison."""

    model: str
    facts: Facts
    weights: dict[str, str]
    """Node -> weight, decimal; nodes without any are left out."""
    paid_atto: str
    """What was paid in all."""
    costs: Costs
    seconds: float
    """How long the run took by the clock."""
    links: dict[str, str]
    """Link of the chain of evidence -> its state, of an outsider's check after the run."""
    broken: str | None
    """The first link that breaks."""
    variants: dict[str, VariantRun] = field(default_factory=dict)
    frauds: dict[str, FraudOutcome] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """Variant or fraud -> why it could not be run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All models that were compared."""

    jobs: int
    nodes: int
    seed: int
    models: list[Compared]

    @property
    def same_result(self) -> bool:
        """Whether all models, in all variants, give every node the same weight."""
        return all(
            one.weights == self.models[0].weights
            and all(variant.same_result for variant in one.variants.values())
            for one in self.models
        )

    @property
    def holds(self) -> bool:
        """Whether nothing went wrong: one result, every chain of evidence whole, every fraud played."""
        whole = all(one.broken is None and not one.failed for one in self.models)
        return self.same_result and whole

    def document(self) -> dict[str, Any]:
        """Return the comparison for machines."""
        return {**msgspec.to_builtins(self), "same_result": self.same_result}


def compare(
    traffic: Traffic,
    names: Sequence[str],
    root: Path,
    watcher: Watcher,
    *,
    frauds: bool,
) -> Comparison:
    """Compare models; what the directory holds already is not done again.

    Args:
        traffic: Seed, number of jobs and of nodes.
        names: Of the models.
        root: The comparison's directory; made when absent.
        watcher: Sees the progress.
        frauds: Also play the frauds.

    Raises:
        NotFound: If there is no such model.
        InvalidInput: If the directory holds a comparison of other jobs.
        StorageFailure: If another comparison works there on the same model.
    """
    models = [model_named(name) for name in names]
    _take(root, traffic)
    source = _held(made_up.generate(traffic))
    done = []
    for model in models:
        told = _Prefixed(watcher, model.name)
        lock = root / f"{model.name}.lock"
        with held_lock(lock, "another comparison is at this model"):
            compared = _load(root, model.name) or _run(model, source, root, told)
            compared = _run_variants(model, compared, traffic, root, told)
            if frauds:
                compared = _play(model, compared, root, told)
        done.append(compared)
    return Comparison(jobs=traffic.jobs, nodes=traffic.nodes, seed=traffic.seed, models=done)


def _take(root: Path, traffic: Traffic) -> None:
    root.mkdir(parents=True, exist_ok=True)
    path = root / ABOUT
    asked = {"jobs": traffic.jobs, "nodes": traffic.nodes, "seed": traffic.seed}
    if not path.exists():
        if any(root.iterdir()):
            raise InvalidInput("--data-dir", f"{root} is not empty and holds no comparison")
        write_durably(path, msgspec.json.encode(asked) + b"\n")
        return
    known = msgspec.json.decode(read_whole(path))
    if known != asked:
        raise InvalidInput("--data-dir", f"{root} holds a comparison of {known}, not of {asked}")


def _held(source: JobSource) -> JobSource:
    """Return the source with its batches made already: making them up is no part of any model's work."""
    batches = list(source.batches())
    return replace(source, batches=lambda: iter(batches))


@dataclass(frozen=True, slots=True)
class _Prefixed:
    """Tells a watcher which model is at work."""

    watcher: Watcher
    model: str

    def progress(self, step: str, done: int, total: int) -> None:
        self.watcher.progress(f"{self.model}: {step}", done, total)

    def note(self, text: str) -> None:
        self.watcher.note(f"{self.model}: {text}")


def _run(model: Model, source: JobSource, root: Path, watcher: Watcher) -> Compared:
    started = time.monotonic()
    done = _fresh(model, source, root / model.name, watcher)
    seconds = time.monotonic() - started
    [entry] = done.result["epochs"]
    links = model.verify(root / model.name, source.first_epoch)
    compared = Compared(
        model=model.name,
        facts=model.facts,
        weights=_weights(entry),
        paid_atto=str(entry["paid_atto"]),
        costs=done.costs,
        seconds=round(seconds, 1),
        links={link.name: link.state.value for link in links},
        broken=next((link.name for link in links if link.state is State.BROKEN), None),
    )
    _save(root, compared)
    return compared


def _fresh(
    model: Model, source: JobSource, directory: Path, watcher: Watcher, **options: Any
) -> ModelRun:
    """Run a model on a new directory; one that an interrupted comparison left is deleted."""
    if directory.exists():
        shutil.rmtree(directory)
    directory.mkdir()
    return model.run(source, ModelOptions(data_dir=directory, **options), watcher)


def _weights(entry: Mapping[str, Any]) -> dict[str, str]:
    return {row["node_id"]: str(row["weight"]) for row in entry["payees"] if int(row["weight"])}


def _run_variants(
    model: Model, compared: Compared, traffic: Traffic, root: Path, watcher: Watcher
) -> Compared:
    """Run the variants that were not run yet."""
    done, failed = dict(compared.variants), {}
    for name, variant in VARIANTS.get(model.name, {}).items():
        if name in done or not variant.options.keys() <= model.takes:
            continue
        try:
            done[name] = _run_variant(
                model,
                variant,
                compared,
                traffic,
                root / f"{model.name}-variant",
                _Prefixed(watcher, name),
            )
        except MeridianError as problem:
            failed[name] = str(problem)
            watcher.note(f"{name} could not be run: {problem}")
            continue
        compared = replace(compared, variants=done)
        _save(root, compared)
    return replace(compared, failed=failed)


def _run_variant(
    model: Model,
    variant: Variant,
    compared: Compared,
    traffic: Traffic,
    directory: Path,
    watcher: Watcher,
) -> VariantRun:
    some = min(variant.jobs_max or traffic.jobs, traffic.jobs)
    source = _held(made_up.generate(replace(traffic, jobs=some)))
    run = _fresh(model, source, directory, watcher, **variant.options)
    [entry] = run.result["epochs"]
    whole = some == traffic.jobs
    expected = compared.weights if whole else _counts(source)
    costs = run.costs if whole else _scaled(run.costs, traffic.jobs, some)
    shutil.rmtree(directory)
    same = _weights(entry) == expected and not run.broken
    return VariantRun(jobs_run=some, costs=costs, same_result=same)


def _counts(source: JobSource) -> dict[str, str]:
    """Return the number of jobs of each node, as weights."""
    lines = (line for batch in source.batches() for line in batch.splitlines())
    counts = Counter(msgspec.json.decode(line, type=_Named).peer_id for line in lines)
    return {node: str(count) for node, count in counts.items()}


class _Named(msgspec.Struct):
    """The one field of a record that is counted."""

    peer_id: str


def _scaled(costs: Costs, jobs: int, some: int) -> Costs:
    """Return what `jobs` cost where `some` cost so much: an epoch's steps and processor time grow with the jobs."""

    def times(amount: int) -> int:
        return amount * jobs // some

    steps = [
        replace(
            step,
            transactions=times(step.transactions),
            gas=times(step.gas),
            calldata_bytes=times(step.calldata_bytes),
        )
        if step.phase is Phase.EPOCH
        else step
        for step in costs.steps
    ]
    cpu_s = {party: spent * jobs / some for party, spent in costs.cpu_s.items()}
    return replace(
        costs,
        steps=steps,
        stored_bytes=times(costs.stored_bytes),
        private_bytes=times(costs.private_bytes),
        cpu_s=cpu_s,
    )


def _play(model: Model, compared: Compared, root: Path, watcher: Watcher) -> Compared:
    """Play the frauds that were not played yet; one that cannot be played is tried again the next time."""
    outcomes, failed = dict(compared.frauds), dict(compared.failed)
    for place, fraud in enumerate(FRAUDS):
        watcher.progress("frauds", place, len(FRAUDS))
        if fraud in outcomes:
            continue
        directory = root / f"{model.name}-{fraud}"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        try:
            outcomes[fraud] = model.fraud(fraud, directory)
        except MeridianError as problem:
            failed[fraud] = str(problem)
            watcher.note(f"{fraud} could not be played: {problem}")
            continue
        shutil.rmtree(directory)
        _save(root, replace(compared, frauds=outcomes, failed={}))
    watcher.progress("frauds", len(FRAUDS), len(FRAUDS))
    return replace(compared, frauds=outcomes, failed=failed)


def _path(root: Path, model: str) -> Path:
    return root / f"{model}.json"


def _save(root: Path, compared: Compared) -> None:
    write_durably(_path(root, compared.model), msgspec.json.encode(compared) + b"\n")


def _load(root: Path, model: str) -> Compared | None:
    path = _path(root, model)
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(read_whole(path, FILE_BYTES_MAX), type=Compared)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(str(path), f"is no result of a comparison: {error}") from error


def read_comparison(document: Mapping[str, Any]) -> Comparison:
    """Return what `Comparison.document` wrote.

    Raises:
        InvalidInput: If it is not of that form.
    """
    try:
        return msgspec.convert(dict(document), Comparison)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("comparison", str(error)) from error
