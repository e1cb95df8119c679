"""Link `evaluation` where a fraud layer is sealed: its weights cannot be recomputed, what surrounds them can.

Everybody can check the public codes (what the public layers in front decided, and that all the rest is undisclosed), that
the decided verdict root binds exactly these codes, the published roots of true reasons and the published counts, and
that the counts go with the jobs. What a sealed layer flagged, and so the weights, are the evaluators' word.
"""

from typing import Any

import numpy as np

from meridian.audit.case import Case
from meridian.audit.evidence import Broken, Finding, require
from meridian.audit.objects import fetch
from meridian.errors import InvalidInput
from meridian.evaluate.flagging import flag, flag_reasons
from meridian.evaluate.function import Evaluation
from meridian.evaluate.layered import UNDISCLOSED, disclosed, layer_count, open_layers
from meridian.evaluate.sealed_layer import SealedLayer
from meridian.evaluate.verdict_document import sealed_part, verdict_document
from meridian.evaluate.verdicts import evaluation_root
from meridian.primitives import dagcbor


def sealed_names(case: Case) -> list[str]:
    """Return the names of the layers that cannot be run here."""
    return [layer.name for layer in case.layers if isinstance(layer, SealedLayer)]


def check_sealed_evaluation(case: Case) -> Finding:
    """Check what the public can of an evaluation with sealed layers; `case.input` is there already.

    Raises:
        Broken: If the published verdicts are not those of the decided verdict root, or do not go with the jobs.
    """
    known = open_layers(case.layers)
    flags = flag(case.jobs, known) if known else np.zeros(case.jobs.num_rows, dtype=np.uint8)
    codes, reasons = disclosed(flags, case.layers)
    found = np.bincount(flags, minlength=len(reasons)).tolist()
    counted = dict(zip(flag_reasons(known), found[1:], strict=False))
    for use in known:
        counted[layer_count(use.layer.name)] = sum(counted[name] for name in flag_reasons([use]))
    counted |= {"jobs": len(flags), UNDISCLOSED: codes.count(len(reasons) - 1)}
    for file, record in case.records:
        data = fetch(case.source, record.verdicts, f"the verdicts that {file} names")
        case.evaluation = _published(case, file, dagcbor.decode(data), codes, reasons)
        problems = _summary_problems(case.evaluation, counted, sealed_names(case), codes)
        require(problems, f"the verdicts that {file} names do not go with the jobs")
        if evaluation_root(case.input, case.evaluation) != case.verdict_root:
            raise Broken(f"the verdicts that {file} names are not those of the decided root")
    names = ", ".join(sealed_names(case))
    summary = ", ".join(f"{name} {count}" for name, count in case.evaluation.summary.items())
    return Finding(
        f"weights cannot be recomputed: layers {names} are sealed; public codes, commitment and counts hold ({summary})",
        sealed=True,
    )


def _published(
    case: Case, file: str, document: Any, codes: bytes, reasons: tuple[str, ...]
) -> Evaluation:
    """Return the evaluation that a document shows, checked where it can be recomputed."""
    sealed = sealed_part(document, len(case.nodes.ids))
    summary = document.get("summary")
    if not isinstance(summary, dict) or any(type(count) is not int for count in summary.values()):
        raise InvalidInput("summary", "is not a map of numbers")
    evaluation = Evaluation(case.weights, codes, reasons, summary, sealed)
    own = verdict_document(case.input, evaluation)
    if document != own:
        parts = [f"{part} differ" for part in sorted(own) if document.get(part) != own[part]]
        raise Broken(
            f"the verdicts that {file} names are not what the jobs give", parts or ["more parts"]
        )
    return evaluation


def _summary_problems(
    evaluation: Evaluation, counted: dict[str, int], names: list[str], codes: bytes
) -> list[str]:
    assert evaluation.sealed is not None
    summary, counts = evaluation.summary, evaluation.sealed.counts
    problems = [
        f"summary: {name} is {summary.get(name)}, the jobs give {count}"
        for name, count in counted.items()
        if summary.get(name) != count
    ]
    if [name for name, _ in counts] != names:
        problems.append("the counts are not those of the sealed layers")
    problems += [
        f"summary: {layer_count(name)} is not {count}"
        for name, count in counts
        if summary.get(layer_count(name)) != count
    ]
    hidden = codes.count(len(evaluation.reasons) - 1)
    if sum(count for _, count in counts) > hidden:
        problems.append(f"sealed layers flag more than the {hidden} jobs that reached them")
    return problems
