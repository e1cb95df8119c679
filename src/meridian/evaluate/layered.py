"""An evaluation with fraud layers in front: what a layer flags counts for nothing, the rest goes to the function.

The function sees only the jobs that no layer flagged; it need not know that there are layers. Codes are dense: the
function's own reasons first, then the layers' in order. A node all of whose jobs are flagged has weight 0: it has jobs,
so it does not abstain.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Final

import numpy as np
import numpy.typing as npt

from meridian.errors import InvalidInput
from meridian.evaluate.flagging import ActiveLayer, flag, flag_reasons
from meridian.evaluate.function import (
    REASONS_MAX,
    EpochInput,
    Evaluation,
    EvaluationFunction,
    Parameters,
)
from meridian.evaluate.jobs import NODE, keep_rows
from meridian.evaluate.sealed import TrueReasons, epoch_seed, sealed_verdicts
from meridian.evaluate.sealed_layer import SealedLayer

ABUSE: Final = "abuse"
"""Summary: jobs that a layer flagged."""


UNDISCLOSED: Final = "undisclosed"
"""The public reason of a job that a sealed layer may have decided."""


def layer_count(name: str) -> str:
    """Return the summary's key for the number of jobs that a layer flagged."""
    return f"layer {name}"


def evaluate_layered(
    function: EvaluationFunction,
    epoch: EpochInput,
    parameters: Parameters,
    layers: Sequence[ActiveLayer],
    *,
    threads: int = 1,
) -> Evaluation:
    """Evaluate an epoch.

    Args:
        function: The function of the schedule.
        epoch: The epoch.
        parameters: The function's own.
        layers: In the order in which they decide.
        threads: May change the speed and nothing else.

    Raises:
        InvalidInput: If the function or a layer refuses the parameters or the jobs, or a sum overflows.
    """
    return evaluate_with_reasons(function, epoch, parameters, layers, threads=threads)[0]


def evaluate_with_reasons(
    function: EvaluationFunction,
    epoch: EpochInput,
    parameters: Parameters,
    layers: Sequence[ActiveLayer],
    *,
    threads: int = 1,
    flags: npt.NDArray[np.uint8] | None = None,
) -> tuple[Evaluation, TrueReasons | None]:
    """Evaluate an epoch, and return also the true reasons where a layer is sealed.

    The arguments are those of `evaluate_layered`; `flags` are what `flag` gives, where it was called before.
    """
    if not layers:
        return function.evaluate(epoch, parameters, threads=threads), None
    if flags is None:
        flags = flag(epoch.jobs, layers, threads)
    kept = flags == 0
    inner = function.evaluate(
        replace(epoch, jobs=keep_rows(epoch.jobs, kept)), parameters, threads=threads
    )
    reasons = inner.reasons + flag_reasons(layers)
    if len(reasons) > REASONS_MAX:
        raise InvalidInput("layers", f"{len(reasons)} reasons; at most {REASONS_MAX} are allowed")
    if len(set(reasons)) < len(reasons):
        raise InvalidInput("layers", "two of them have the same name")
    codes = flags + np.uint8(len(inner.reasons) - 1)
    codes[kept] = np.frombuffer(inner.verdicts, dtype=np.uint8)
    weights = _without_abstentions(epoch, inner.weights, ~kept)
    summary = _summary(inner, layers, flags, weights)
    salts = [use.salt for use in layers if use.salt is not None]
    if not salts:
        return Evaluation(weights, codes.tobytes(), reasons, summary), None
    secret = TrueReasons(epoch_seed(epoch.epoch, salts), codes.tobytes(), reasons)
    counts = [(u.layer.name, summary[layer_count(u.layer.name)]) for u in layers if u.salt]
    public, public_reasons = disclosed(flags, layers)
    summary[UNDISCLOSED] = public.count(len(public_reasons) - 1)
    sealed = sealed_verdicts(epoch, secret, counts)
    return Evaluation(weights, public, public_reasons, summary, sealed), secret


def runnable_layers(layers: Sequence[ActiveLayer | SealedLayer]) -> tuple[ActiveLayer, ...]:
    """Return the layers whose rules are known here."""
    return tuple(use for use in layers if isinstance(use, ActiveLayer))


def open_layers(layers: Sequence[ActiveLayer | SealedLayer]) -> tuple[ActiveLayer, ...]:
    """Return the public layers that decide before the first sealed one: what anybody can recompute."""
    known = takewhile(lambda use: isinstance(use, ActiveLayer) and use.salt is None, layers)
    return tuple(use for use in known if isinstance(use, ActiveLayer))


def disclosed(
    flags: npt.NDArray[np.uint8], layers: Sequence[ActiveLayer | SealedLayer]
) -> tuple[bytes, tuple[str, ...]]:
    """Return the public codes and reasons where a layer is sealed.

    What a public layer in front of it decided is said; whatever reached the sealed layer is `UNDISCLOSED`, flagged or
    not: otherwise one could learn by trial what it flags.

    Args:
        flags: Of all layers, or of those before the first sealed one.
        layers: All layers.
    """
    reasons = ("ok", *flag_reasons(open_layers(layers)), UNDISCLOSED)
    last = len(reasons) - 1
    public = np.where((flags > 0) & (flags < last), flags, np.uint8(last))
    return public.astype(np.uint8).tobytes(), reasons


def _without_abstentions(
    epoch: EpochInput, weights: tuple[int | None, ...], flagged: npt.NDArray[np.bool_]
) -> tuple[int | None, ...]:
    """Give weight 0 to the nodes that have jobs, but only flagged ones."""
    silent = {node for node, weight in enumerate(weights) if weight is None}
    if not silent or not flagged.any():
        return weights
    at, judged = 0, set[int]()
    for batch in epoch.jobs.select([NODE]).to_batches():
        nodes = batch.column(0).to_numpy(zero_copy_only=False)
        judged |= set(np.unique(nodes[flagged[at : at + len(nodes)]]).tolist())
        at += len(nodes)
    return tuple(0 if node in silent & judged else weight for node, weight in enumerate(weights))


def _summary(
    inner: Evaluation,
    layers: Sequence[ActiveLayer],
    flags: npt.NDArray[np.uint8],
    weights: Sequence[int | None],
) -> dict[str, int]:
    names = flag_reasons(layers)
    counts = np.bincount(flags, minlength=len(names) + 1).tolist()
    summary = dict(inner.summary)
    summary["jobs"] = len(flags)
    summary["nodes"] = sum(weight is not None for weight in weights)
    summary[ABUSE] = len(flags) - counts[0]
    first = 1
    for use in layers:
        last = first + len(use.layer.reasons)
        summary[layer_count(use.layer.name)] = sum(counts[first:last])
        first = last
    secret = {name for use in layers if use.salt is not None for name in flag_reasons([use])}
    found = dict(zip(names, counts[1:], strict=True))
    return summary | {name: count for name, count in found.items() if name not in secret}
