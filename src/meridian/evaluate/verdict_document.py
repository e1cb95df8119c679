"""The verdicts artefact: what an evaluator publishes about every job and every node, beside its row.

A node reads its own line of `nodes` and sees how many of its jobs counted and why the others did not, without any other
node's jobs; everybody reads the summary of the epoch. The codes are there for whoever wants to check one.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from meridian.errors import InvalidInput
from meridian.evaluate.function import EpochInput, Evaluation, SealedVerdicts
from meridian.evaluate.verdicts import verdict_leaf, verdicts_by_node
from meridian.primitives.hashing import DIGEST_BYTES, SEALED_VERDICTS, tagged


def counts_by_node(epoch: EpochInput, evaluation: Evaluation) -> list[list[int]]:
    """Return, for each node in order, the number of its jobs with each code."""
    width = len(evaluation.reasons)
    return [
        np.bincount(np.frombuffer(codes, dtype=np.uint8), minlength=width).tolist()
        for codes in verdicts_by_node(epoch, evaluation.verdicts)
    ]


def verdict_document(epoch: EpochInput, evaluation: Evaluation) -> dict[str, Any]:
    """Return the artefact's map: ``reasons``, ``codes``, ``summary``, ``nodes``, and ``sealed`` where a layer is."""
    document: dict[str, Any] = {
        "reasons": list(evaluation.reasons),
        "codes": evaluation.verdicts,
        "summary": evaluation.summary,
        "nodes": counts_by_node(epoch, evaluation),
    }
    if evaluation.sealed is not None:
        document["sealed"] = {
            "roots": b"".join(evaluation.sealed.roots),
            "counts": [[name, count] for name, count in evaluation.sealed.counts],
        }
    return document


def document_leaves(document: Any, node_keys: Sequence[bytes]) -> list[bytes]:
    """Return the verdict leaves that a published document gives for the committed nodes.

    Raises:
        InvalidInput: If it has not a line for each node, or not a code for each job.
    """
    lines, codes = document["nodes"], document["codes"]
    if len(lines) != len(node_keys) or sum(map(sum, lines)) != len(codes):
        raise InvalidInput("nodes", "do not go with the committed nodes and the codes")
    ends = list(accumulate(map(sum, lines)))
    cut = zip([0, *ends], ends, strict=False)
    leaves = [
        verdict_leaf(key, codes[start:end])
        for key, (start, end) in zip(node_keys, cut, strict=True)
    ]
    if "sealed" not in document:
        return leaves
    roots = sealed_part(document, len(node_keys)).roots
    return [tagged(SEALED_VERDICTS, leaf, root) for leaf, root in zip(leaves, roots, strict=True)]


def sealed_part(document: Any, nodes: int) -> SealedVerdicts:
    """Read what a published document says of true reasons.

    Args:
        document: The decoded artefact.
        nodes: Number of committed nodes.

    Raises:
        InvalidInput: If it says nothing, or is malformed.
    """
    part = document.get("sealed") if isinstance(document, dict) else None
    if not isinstance(part, dict) or set(part) != {"roots", "counts"}:
        raise InvalidInput("sealed", "the verdicts say nothing of the sealed layers")
    roots, counts = part["roots"], part["counts"]
    if not isinstance(roots, bytes) or len(roots) != nodes * DIGEST_BYTES:
        raise InvalidInput("sealed.roots", f"are not {nodes} roots of {DIGEST_BYTES} bytes")
    if not isinstance(counts, list) or not all(_is_count(entry) for entry in counts):
        raise InvalidInput("sealed.counts", "are not pairs of a layer's name and a number")
    cut = range(0, len(roots), DIGEST_BYTES)
    return SealedVerdicts(
        tuple(roots[at : at + DIGEST_BYTES] for at in cut),
        tuple((name, count) for name, count in counts),
    )


def _is_count(entry: Any) -> bool:
    return (
        isinstance(entry, list)
        and [type(item) for item in entry] == [str, int]
        and 0 <= entry[1] < 1 << 64
    )
