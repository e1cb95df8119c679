"""Examples of page 05: bundles, parameters, inputs, verdicts, rows, averages."""

import spec_world as w
from spec_layout import Cbor, Example, Values, layout

from meridian.evaluate.aggregate import mean, median, trimmed, wmedian
from meridian.evaluate.flagging import ActiveLayer
from meridian.evaluate.layer import Column, Group, Layer, Parameter
from meridian.evaluate.layered import evaluate_with_reasons
from meridian.evaluate.registry import FUNCTIONS
from meridian.evaluate.sealed import check_opening, open_reason
from meridian.evaluate.sealed_layer import PrivateLayer, SealedLayer
from meridian.evaluate.trace import check_spot, open_spot, trace_root, work_root
from meridian.evaluate.verdicts import (
    evaluation_root,
    verdict_leaf,
    verdict_leaves,
    verdict_root,
)
from meridian.primitives import dagcbor, hashing
from meridian.primitives.cid import digest_of
from meridian.primitives.hashing import sha256, tagged

LAYER = Layer(
    name="few-bytes",
    version=1,
    reasons=("small",),
    verdict="bytes < $share * nodes.bytes // 100",
    columns={"bytes": Column("num_bytes_sent", "integer")},
    parameters={"share": Parameter("integer", 20, maximum=100)},
    groups=(Group("nodes", "jobs", ("node",), {"bytes": "sum(bytes)"}),),
)
SEALED = PrivateLayer(LAYER, {"share": 34}, sha256(b"salt of few-bytes"))
# The engine's name stands still, so that the page does not change with every release of it.
LAYER_SHOWN = dagcbor.encode(dagcbor.decode(LAYER.encode()) | {"engine": "duckdb 1.2.3"})


def sealed_reasons() -> Values:
    use = ActiveLayer(LAYER, {"share": 34}, SEALED.salt)
    function, parameters = FUNCTIONS["count"], w.PARAMETERS.function
    made, secret = evaluate_with_reasons(function, w.EPOCH_INPUT, parameters, [use])
    assert made.sealed is not None
    assert secret is not None
    opening = open_reason(w.EPOCH_INPUT, made, secret, 0, 1)
    root = evaluation_root(w.EPOCH_INPUT, made)
    assert check_opening(opening, root)
    return Values(
        {
            "public reasons": ", ".join(made.reasons),
            "public codes": made.verdicts,
            "true reasons": ", ".join(secret.reasons[code] for code in secret.codes),
            "count of few-bytes": str(made.sealed.counts[0][1]),
            "epoch seed": secret.seed,
            "root of the true reasons of node-a": made.sealed.roots[0],
            "root of the true reasons of node-b": made.sealed.roots[1],
            "verdict root": root,
            "opening of job 1 of node-a, reason": opening.reason,
            "opening, salt": opening.salt,
            **{f"opening, sibling {at}": hash_ for at, hash_ in enumerate(opening.path)},
            "opening, sibling among nodes": opening.node_path[0],
        }
    )


def evaluation() -> dict[str, Example]:
    header, row = w.HEADER, w.ROW
    leaves = verdict_leaves(w.EPOCH_INPUT, w.EVALUATION.verdicts)
    name, digest = b"health-checks", digest_of(w.INPUTS["health-checks"])
    data = b"\x0f" + len(name).to_bytes(4, "big") + name + digest
    assert sha256(data) == w.INPUTS_ROOT
    codes = (w.EVALUATION.verdicts[:3], w.EVALUATION.verdicts[3:])
    for key, leaf, part in zip(row.node_keys, leaves, codes, strict=True):
        assert verdict_leaf(key, part) == leaf
    spot = open_spot(leaves, 0, codes[0])
    traces = [trace_root(member, work_root(leaves)) for member in w.MEMBERS[:2]]
    assert check_spot(traces[0], w.MEMBERS[0], row.node_keys[0], 0, len(leaves), spot)
    assert not check_spot(traces[1], w.MEMBERS[0], row.node_keys[0], 0, len(leaves), spot)
    matrix = [(2, 1), (2, 1), (2, 1), (9, None)]
    return {
        "bundle": Cbor(w.BUNDLE),
        "parameters": Cbor(w.PARAMETERS.encode()),
        "layer": Cbor(LAYER_SHOWN),
        "sealed-layer": Cbor(SealedLayer("few-bytes", 1, sha256(b"stands for one")).encode()),
        "sealed-reasons": sealed_reasons(),
        "inputs-root": layout(
            data,
            ("tag", "u8", hashing.INPUTS_ROOT),
            ("name", "blob", name),
            ("digest", "bytes32", digest),
            inputs_root=w.INPUTS_ROOT,
            without_inputs=sha256(b"\x0f"),
        ),
        "verdict-tree": Values(
            {
                "codes of node-a": codes[0],
                "codes of node-b": codes[1],
                "leaf of node-a": leaves[0],
                "leaf of node-b": leaves[1],
                "verdict root": verdict_root(leaves),
                "verdict root of no nodes": verdict_root([]),
            }
        ),
        "trace-root": Values(
            {
                "work root": work_root(leaves),
                "trace root of member 0": traces[0],
                "trace root of member 1": traces[1],
                "spot challenge about node-a, codes": spot.codes,
                "spot challenge about node-a, sibling": spot.path[0],
            }
        ),
        "row-body": layout(
            w.BODIES[0],
            ("version", "u16", 1),
            ("network", "bytes32", header.network),
            ("epoch", "u64", header.epoch),
            ("commitment", "bytes32", header.commitment),
            ("function", "bytes32", header.function),
            ("parameters", "bytes32", header.parameters),
            ("inputs_root", "bytes32", header.inputs_root),
            ("verdict_root", "bytes32", row.verdict_root),
            ("n", "u32", 2),
            ("node_key 0", "bytes32", row.node_keys[0]),
            ("node_key 1", "bytes32", row.node_keys[1]),
            ("present 0", "u8", 1),
            ("present 1", "u8", 1),
            ("weight 0", "u128", 2),
            ("weight 1", "u128", 1),
            row_root=tagged(hashing.ROW_BODY, w.BODIES[0]),
            object_digest=digest_of(w.BODIES[0]),
        ),
        "aggregation": Values(
            {
                "rows": "[2, 1], [2, 1], [2, 1], [9, abstains]",
                "wmedian": str(wmedian(matrix, 4)),
                "median": str(median(matrix, 4)),
                "trimmed": str(trimmed(matrix, 4)),
                "mean": str(mean(matrix, 4)),
            }
        ),
        "aggregation-deferred": Values(
            {
                "rows": "[2], [abstains], [abstains], [9]",
                "wmedian": str(wmedian([(2,), (None,), (None,), (9,)], 4)),
                "median": str(median([(2,), (None,), (None,), (9,)], 4)),
            }
        ),
    }
