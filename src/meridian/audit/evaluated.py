"""Links `function`, `parameters`, `inputs` and `evaluation`: we evaluate the epoch ourselves and compare.

A member whose row differs is named, and that is a note: the average is made so that a minority cannot move it. The link
breaks where the decided weights or verdicts are not those that the jobs give.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

from meridian.audit.case import Case
from meridian.audit.evidence import Broken, Finding, require
from meridian.audit.objects import fetch
from meridian.audit.sealed import check_sealed_evaluation, sealed_names
from meridian.errors import InvalidInput, NotFound
from meridian.evaluate.flagging import ActiveLayer, check_columns
from meridian.evaluate.function import EpochInput
from meridian.evaluate.inputs import inputs_root_of
from meridian.evaluate.layered import evaluate_layered, open_layers, runnable_layers
from meridian.evaluate.parameters import EvaluationParameters
from meridian.evaluate.registry import resolve
from meridian.evaluate.row import Row, RowHeader
from meridian.evaluate.sealed_layer import SealedLayer
from meridian.evaluate.shipped_layers import resolve_layers
from meridian.evaluate.trace import Traces, work_root
from meridian.evaluate.verdict_document import verdict_document
from meridian.evaluate.verdicts import evaluation_leaves, evaluation_root
from meridian.measure.columns import segment_columns
from meridian.measure.union_epoch import union_inputs
from meridian.primitives import dagcbor
from meridian.primitives.ids import NodeKey, address_text


def check_function(case: Case) -> Finding:
    """Check that the function of the schedule is code that this installation has, or a published bundle that it can run.

    Raises:
        Broken: If it is not, or if a published copy of its code is another.
    """
    case.schedule = case.source.chain.schedule(case.epoch)
    digest = case.schedule.function

    def published(wanted: bytes) -> bytes:
        return fetch(case.source, wanted, "the function that the schedule names")

    try:
        case.function = resolve(digest, published, case.source.run_python)
    except NotFound as error:
        raise Broken(
            f"the schedule names function {digest.hex()}, which cannot be run here", [str(error)]
        ) from None
    copies = case.source.object(digest)
    require(
        [copy.file for copy in copies if copy.data != case.function.bundle],
        "the published code is another",
    )
    return Finding(
        f"schedule version {case.schedule.version} names {case.function.name} version {case.function.version}, "
        f"code {digest.hex()}, which is the code that runs here",
        tuple(f"published as {copy.file}" for copy in copies),
    )


def check_parameters(case: Case) -> Finding:
    """Check that the published parameters are those of the schedule, name the manifest's schema, and suit the function.

    Fraud layers that do not ship are read from their published bytes.

    Raises:
        Broken: If a copy is another, or a layer is not published.
    """
    finding = load_parameters(case)
    case.function.check(case.parameters.function)
    return finding


def load_parameters(case: Case) -> Finding:
    """Check the same, but for what the function takes, so that it need not be known here.

    Raises:
        Broken: If a copy is another, or a layer is not published.
    """
    data = fetch(case.source, case.schedule.parameters, "the parameters")
    parameters = EvaluationParameters.decode(data)
    if parameters.schema != case.source.network.schema_digest:
        raise Broken("the manifest has another schema than the scheduled parameters name")
    case.parameters = parameters
    case.layers = resolve_layers(
        parameters.layers,
        lambda digest: fetch(case.source, digest, "a fraud layer"),
        case.private,
    )
    check_columns(open_layers(case.layers), segment_columns(case.schema))
    return Finding(
        f"average {parameters.aggregate}, allocation {parameters.allocation}, "
        f"function parameters {parameters.function or 'none'}, {len(case.layers)} fraud layers",
        tuple(_layer_note(layer) for layer in case.layers),
    )


def _layer_note(layer: ActiveLayer | SealedLayer) -> str:
    if isinstance(layer, SealedLayer):
        return f"layer {layer.name} version {layer.version}: sealed under {layer.sealed.hex()}"
    values = dict(layer.values) or "no parameters"
    return f"layer {layer.layer.name} version {layer.layer.version}: {values}"


def check_inputs(case: Case) -> Finding:
    """Check the auxiliary inputs that the manifests name, and compute their root.

    Raises:
        Broken: If a copy of an input is another.
    """
    counting = case.sources if case.union is None else case.union.counting
    inputs = {
        name: fetch(case.source, digest, f"input {name!r}")
        for name, digest in union_inputs(counting).items()
    }
    root = inputs_root_of(inputs)
    case.header = RowHeader(
        network=case.source.network.network_id,
        epoch=case.epoch,
        commitment=case.committed.digest,
        function=case.schedule.function,
        parameters=case.schedule.parameters,
        inputs_root=root,
    )
    case.inputs = inputs
    return Finding(
        f"{len(inputs)} inputs under root {root.hex()}",
        tuple(f"{name}: {len(data)} bytes" for name, data in sorted(inputs.items())),
    )


def check_evaluation(case: Case) -> Finding:
    """Evaluate, and compare with every evaluator's row, with the decided weights and with the published verdicts.

    Raises:
        Broken: If what was decided does not follow from the jobs, or a published verdict object is another.
    """
    case.input = epoch_input(case)
    if sealed_names(case):
        finding = check_sealed_evaluation(case)
        return replace(finding, items=(*finding.items, *_check_traces(case)))
    case.evaluation = evaluate_layered(
        case.function, case.input, case.parameters.function, runnable_layers(case.layers)
    )
    untraced = _check_traces(case)
    own = Row.of(case.header, case.input, case.evaluation)
    body = own.encode()
    agreeing = [address_text(member) for member, row in case.rows if row == body]
    notes = [
        f"{address_text(member)} differs: {_difference(case, row, own)}"
        for member, row in case.rows
        if row != body
    ]
    problems = _weight_differences(case, own.weights)
    if case.verdict_root != own.verdict_root:
        problems.append(
            f"verdict root {case.verdict_root.hex()}, the jobs give {own.verdict_root.hex()}"
        )
    require(
        [*problems, *notes] if problems else [], "what was decided does not follow from the jobs"
    )
    document = verdict_document(case.input, case.evaluation)
    expected = dagcbor.encode(document)
    for file, record in case.records:
        if fetch(case.source, record.verdicts, f"the verdicts that {file} names") != expected:
            _refuse_verdicts(case, file, record.verdicts, document)
    reasons = ", ".join(f"{name} {count}" for name, count in case.evaluation.summary.items())
    return Finding(
        f"{len(agreeing)} of {len(case.rows)} rows are exactly what the jobs give here ({reasons})",
        (*(f"{member} agrees" for member in agreeing), *notes, *untraced),
    )


def epoch_input(case: Case) -> EpochInput:
    """Return what a function is given of the epoch; the links `jobs` and `inputs` hold."""
    return EpochInput(
        epoch=case.epoch,
        node_ids=case.nodes.ids,
        node_keys=tuple(case.nodes.keys),
        payees=case.nodes.payees,
        jobs=case.jobs,
        inputs=case.inputs,
    )


def _check_traces(case: Case) -> list[str]:
    """Check every member's trace root by our own work, and return who is not paid for none."""
    leaves = evaluation_leaves(case.input, case.evaluation)
    roots = {case.context.members[row.member]: row.opening.trace_root for row in case.block.rows}
    root = evaluation_root(case.input, case.evaluation)
    case.traces = Traces(roots, root, work_root(leaves))
    return [
        f"{address_text(member)}: its trace root does not follow from the verdicts, so it is not paid as evaluator"
        for member in case.traces.unproved(roots, case.verdict_root)
    ]


def _weight_differences(case: Case, own: Sequence[int | None]) -> list[str]:
    """Return the nodes whose decided weight is not what the jobs give; a deferred node has none yet."""
    return [
        f"{case.name_of(NodeKey(key))}: decided {decided}, the jobs give {weight}"
        for key, decided, weight in zip(case.nodes.keys, case.weights, own, strict=True)
        if decided is not None and decided != weight
    ]


def _difference(case: Case, body: bytes, own: Row) -> str:
    try:
        row = Row.decode(body)
    except InvalidInput as error:
        return f"it cannot be read ({error})"
    if row.header != own.header:
        return "it speaks about another evaluation"
    theirs = dict(zip(row.node_keys, row.weights, strict=True))
    nodes = [
        case.name_of(NodeKey(key))
        for key, weight in zip(own.node_keys, own.weights, strict=True)
        if theirs.get(key) != weight
    ]
    parts = (
        [f"{len(nodes)} weights ({', '.join(nodes[:3])}{', ...' if len(nodes) > 3 else ''})"]
        if nodes
        else []
    )
    parts += ["verdict root"] if row.verdict_root != own.verdict_root else []
    return " and ".join(parts) or "it names other nodes"


def _refuse_verdicts(case: Case, file: str, digest: bytes, own: Mapping[str, Any]) -> NoReturn:
    """Say in which parts published verdicts are not `own`.

    Raises:
        Broken: Always.
    """
    published = dagcbor.decode(fetch(case.source, digest, f"the verdicts that {file} names"))
    theirs = published if isinstance(published, dict) else {}
    parts = [f"{name} differ" for name, value in own.items() if theirs.get(name) != value]
    raise Broken(
        f"the verdicts that {file} names are not what the jobs give", parts or ["more is said"]
    )
