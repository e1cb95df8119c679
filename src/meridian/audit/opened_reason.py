"""Disputes about a sealed layer: an evaluator opens one job's true reason, and anybody checks it against the report.

The document is JSON: what the opening is about, and its numbers with byte strings in hexadecimal.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from meridian.audit.case import Case
from meridian.audit.epoch import audit_epoch
from meridian.audit.evidence import State
from meridian.audit.node_account import find_node
from meridian.audit.objects import fetch
from meridian.audit.source import EvidenceSource
from meridian.errors import InvalidInput, MeridianError, NotFound
from meridian.evaluate.layered import evaluate_with_reasons
from meridian.evaluate.sealed import Opening, check_opening, open_reason
from meridian.evaluate.sealed_layer import PrivateLayer
from meridian.evaluate.shipped_layers import active_layers
from meridian.evaluate.verdicts import evaluation_root
from meridian.measure.columns import column_values

_NEEDED: Final = ("jobs", "aggregation", "report", "contract")
_BYTES: Final = ("node_key", "salt", "codes_digest")
_PATHS: Final = ("path", "node_path")
_NUMBERS: Final = ("index", "jobs", "node_index", "nodes")


def open_job(
    source: EvidenceSource,
    epoch: int,
    node_id: str,
    job_id: str,
    private: Mapping[bytes, PrivateLayer],
) -> dict[str, Any]:
    """Return the document that opens one job's reason.

    Args:
        source: The publications and the chain.
        epoch: A reported epoch.
        node_id: The node.
        job_id: One of its jobs.
        private: Commitment -> private bundle of the sealed layers.

    Raises:
        NotFound: If there is no such node or job, or a private bundle is missing.
        InvalidInput: If no layer is sealed, or these bundles do not give the reported verdict root.
    """
    case = _audited(source, epoch)
    node, index = _place(case, node_id, job_id)
    layers = active_layers(
        case.parameters.layers, lambda digest: fetch(source, digest, "a fraud layer"), private
    )
    evaluation, secret = evaluate_with_reasons(
        case.function, case.input, case.parameters.function, layers
    )
    if secret is None:
        raise InvalidInput("layers", "none is sealed: every reason is public")
    if evaluation_root(case.input, evaluation) != case.verdict_root:
        raise InvalidInput("layers", "the private bundles do not give the reported verdict root")
    opening = open_reason(case.input, evaluation, secret, node, index)
    return {
        "network": source.network.network_id.hex(),
        "epoch": epoch,
        "node_id": case.nodes.ids[node],
        "job_id": job_id,
        "reason": opening.reason,
        **{name: getattr(opening, name) for name in _NUMBERS},
        **{name: getattr(opening, name).hex() for name in _BYTES},
        **{name: [item.hex() for item in getattr(opening, name)] for name in _PATHS},
        "counts": [list(count) for count in opening.counts],
    }


def check_opened(source: EvidenceSource, document: Any) -> str:
    """Return the reason that a document proves.

    Raises:
        InvalidInput: If it is malformed, is about another network, names another job than it opens, or proves nothing.
        NotFound: If the epoch has no such node or job.
    """
    opening = opening_of(document)
    if document.get("network") != source.network.network_id.hex():
        raise InvalidInput("network", "the document is about another one")
    case = _audited(source, document["epoch"])
    node, index = _place(case, document["node_id"], document["job_id"])
    stated = (opening.node_index, opening.index, opening.node_key)
    if stated != (node, index, bytes(case.nodes.keys[node])):
        raise InvalidInput("job_id", "the document opens another job than the one that it names")
    if not check_opening(opening, case.verdict_root):
        raise InvalidInput("opening", "the reason does not stand under the reported verdict root")
    return opening.reason


def opening_of(document: Any) -> Opening:
    """Read a document's opening.

    Raises:
        InvalidInput: If it is malformed.
    """
    try:
        values: dict[str, Any] = {name: _number(document[name]) for name in _NUMBERS}
        values |= {name: bytes.fromhex(document[name]) for name in _BYTES}
        values |= {name: tuple(bytes.fromhex(one) for one in document[name]) for name in _PATHS}
        values["counts"] = tuple((str(name), _number(count)) for name, count in document["counts"])
        return Opening(reason=str(document["reason"]), **values)
    except (TypeError, KeyError, ValueError) as error:
        raise InvalidInput("opening", f"is malformed: {error}") from error


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError(f"{value!r} is not a number")
    return value


def _audited(source: EvidenceSource, epoch: int) -> Case:
    """Return an epoch whose verdict root stands in the report that the chain accepted."""
    case, links = audit_epoch(source, epoch)
    for link in links:
        if link.name in _NEEDED and link.state is not State.HOLDS:
            raise MeridianError(f"epoch {epoch} cannot be recomputed: {link.name}: {link.detail}")
    return case


def _place(case: Case, node_id: str, job_id: str) -> tuple[int, int]:
    """Return the numbers of the node, and of the job among its jobs."""
    node = find_node(case.nodes.ids, node_id)
    rows = np.flatnonzero(column_values(case.jobs, "node") == node)
    ids = case.jobs.column("job_id").slice(int(rows[0]), len(rows)).to_pylist()
    if job_id not in ids:
        raise NotFound(f"node {case.nodes.ids[node]!r} has no job {job_id!r} in this epoch")
    return node, ids.index(job_id)
