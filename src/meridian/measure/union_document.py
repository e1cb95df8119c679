"""What is published of an epoch that several contributed to: who, how much of it counted, and what was left out.

One canonical DAG-CBOR map. It follows from the chain and from what was published, so an auditor makes it again and
compares. An epoch with a single commitment and no node's own has none.
"""

from typing import Any, Final

from meridian.measure.union_epoch import FromNode, Source, UnionEpoch, unlisted
from meridian.primitives import dagcbor
from meridian.primitives.ids import address_text

VERSION: Final = 1


def union_document(epoch: int, union: UnionEpoch[Any]) -> bytes | None:
    """Return the document of an epoch; None where there is one contribution alone."""
    if len(union.sources) < 2:
        return None
    return dagcbor.encode(
        {
            "v": VERSION,
            "epoch": epoch,
            "root": union.root,
            "n_nodes": len(union.nodes.ids),
            "annotation": union.annotation,
            "contributions": [_contribution(union, place) for place in range(len(union.sources))],
            "unlisted": [list(pair) for pair in unlisted(union.sources)],
        }
    )


def _contribution(union: UnionEpoch[Any], place: int) -> dict[str, object]:
    source, share = union.sources[place], union.shares[place]
    problems = union.left_out.get(place, ())
    return {
        "by": source.node_key if isinstance(source, FromNode) else source.account,
        "self": isinstance(source, FromNode),
        "jobs": share.jobs,
        "counted": share.counted,
        "repeated": share.repeated,
        "differing": share.differing,
        "left_out": [str(problem) for problem in problems],
    }


def union_lines(union: UnionEpoch[Any]) -> tuple[str, ...]:
    """Return the same for people, a line for each contribution and for each node that an aggregator did not list."""
    lines = [_line(union, place) for place in range(len(union.sources))]
    lines += [
        f"aggregator {address_text(account)} does not list node {node.hex()}, which had committed itself before"
        for account, node in unlisted(union.sources)
    ]
    return tuple(lines)


def _line(union: UnionEpoch[Any], place: int) -> str:
    source: Source = union.sources[place]
    if place in union.left_out:
        reasons = "; ".join(str(problem) for problem in union.left_out[place])
        return f"{source.name} does not count: {reasons}"
    share = union.shares[place]
    return (
        f"{source.name}: {share.jobs} jobs, {share.counted} counted, {share.repeated} repeated, "
        f"{share.differing} under the key of another row"
    )
