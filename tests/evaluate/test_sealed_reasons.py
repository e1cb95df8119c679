"""Sealed layers: what is said of them, what is hidden, and what an opening proves."""

from dataclasses import replace

import pyarrow as pa
import pytest
from tests.evaluate.epoch_builder import input_of_jobs

from meridian.errors import InvalidInput, NotFound
from meridian.evaluate.flagging import ActiveLayer
from meridian.evaluate.function import EpochInput
from meridian.evaluate.functions import count
from meridian.evaluate.layer import Column, Layer, Parameter
from meridian.evaluate.layered import UNDISCLOSED, evaluate_layered, evaluate_with_reasons
from meridian.evaluate.sealed import check_opening, open_reason
from meridian.evaluate.sealed_layer import PrivateLayer, SealedLayer
from meridian.evaluate.shipped_layers import active_layers, layer_named, resolve_layers
from meridian.evaluate.verdicts import evaluation_root, verdict_leaves, verdict_root
from meridian.primitives import dagcbor
from meridian.primitives.hashing import sha256

SECRET = PrivateLayer(
    Layer(
        name="hunch",
        version=1,
        reasons=("odd", "strange"),
        verdict="CASE WHEN size % $n = 1 THEN 1 WHEN size > 90 THEN 2 END",
        columns={"size": Column("size", "integer")},
        parameters={"n": Parameter("integer", 2)},
    ),
    {"n": 10},
    sha256(b"salt"),
)
PUBLIC = ActiveLayer(layer_named("self-requests"), {})
AFTER = ActiveLayer(Layer(name="after", version=1, reasons=("even",), verdict="node_id = 'b'"), {})
HIDDEN = ActiveLayer(SECRET.layer, SECRET.layer.values(SECRET.parameters), SECRET.salt)


def epoch_of(number: int = 1) -> EpochInput:
    jobs = [
        {"node_id": node, "job_id": f"{node}{size}", "size": size, "client_id": client}
        for node, sizes in (("a", range(7)), ("b", (11, 95)), ("c", (91,)), ("d", (5,)))
        for size in sizes
        for client in ("a" if size == 3 else "x",)
    ]
    types = {"size": pa.int64(), "client_id": pa.string()}
    return replace(input_of_jobs(jobs, types), epoch=number)


EPOCH = epoch_of()
LAYERS = (PUBLIC, HIDDEN, AFTER)
EVALUATION, REASONS = evaluate_with_reasons(count.FUNCTION, EPOCH, {}, LAYERS)


def test_public_codes_say_what_came_before_the_sealed_layer_and_nothing_else() -> None:
    ids = EPOCH.jobs.column("job_id").to_pylist()
    said = [EVALUATION.reasons[code] for code in EVALUATION.verdicts]
    assert dict(zip(ids, said, strict=True)) == {
        job: "self-requests: own_client" if job == "a3" else UNDISCLOSED for job in ids
    }
    assert not any("odd" in name or "strange" in name for name in EVALUATION.summary)
    assert EVALUATION.sealed is not None
    assert EVALUATION.sealed.counts == (("hunch", 4),)
    counted = {name: EVALUATION.summary[f"layer {name}"] for name in ("hunch", "after")}
    assert counted == {"hunch": 4, "after": 0}
    assert EVALUATION.summary["abuse"] == 5
    assert EVALUATION.summary[UNDISCLOSED] == 10
    open_one = evaluate_layered(
        count.FUNCTION, EPOCH, {}, [PUBLIC, replace(HIDDEN, salt=None), AFTER]
    )
    assert open_one.weights == EVALUATION.weights
    assert open_one.sealed is None


def test_an_opening_proves_one_reason_under_the_verdict_root_and_no_other() -> None:
    assert REASONS is not None
    root = evaluation_root(EPOCH, EVALUATION)
    found = {}
    for node in range(4):
        jobs = EPOCH.jobs.column("node").to_pylist().count(node)
        for index in range(jobs):
            opening = open_reason(EPOCH, EVALUATION, REASONS, node, index)
            assert check_opening(opening, root)
            found[(EPOCH.node_ids[node], index)] = opening.reason
            for wrong in (
                replace(opening, reason="ok" if opening.reason != "ok" else "hunch: odd"),
                replace(opening, index=opening.index + 1),
                replace(opening, salt=bytes(32)),
                replace(opening, node_key=bytes(32)),
                replace(opening, codes_digest=bytes(32)),
                replace(opening, counts=(("hunch", 5),)),
                replace(opening, path=(*opening.path, bytes(32))),
                replace(opening, node_path=opening.node_path[:-1]),
            ):
                assert not check_opening(wrong, root)
            assert not check_opening(opening, bytes(32))
    listed = sorted(found.values())
    assert listed == ["hunch: odd"] * 3 + ["hunch: strange"] + ["ok"] * 6 + [
        "self-requests: own_client"
    ]
    with pytest.raises(InvalidInput, match="index"):
        open_reason(EPOCH, EVALUATION, REASONS, 0, 99)
    plain = evaluate_layered(count.FUNCTION, EPOCH, {}, [PUBLIC])
    with pytest.raises(InvalidInput, match="none is sealed"):
        open_reason(EPOCH, plain, REASONS, 0, 0)


def test_salts_differ_from_epoch_to_epoch_and_reasons_change_the_root() -> None:
    again = evaluate_layered(count.FUNCTION, epoch_of(2), {}, LAYERS)
    assert again.verdicts == EVALUATION.verdicts
    assert again.sealed is not None
    assert EVALUATION.sealed is not None
    assert not set(again.sealed.roots) & set(EVALUATION.sealed.roots)
    other = replace(HIDDEN, values={"n": 11})
    changed = evaluate_layered(count.FUNCTION, EPOCH, {}, (PUBLIC, other, AFTER))
    assert changed.verdicts == EVALUATION.verdicts
    assert evaluation_root(EPOCH, changed) != evaluation_root(EPOCH, EVALUATION)
    public = verdict_root(verdict_leaves(EPOCH, EVALUATION.verdicts))
    assert evaluation_root(EPOCH, EVALUATION) != public


def test_a_private_bundle_is_found_by_its_commitment_and_the_public_artefact_tells_nothing() -> (
    None
):
    public = SECRET.public
    assert SealedLayer.decode(public.encode()) == public
    assert PrivateLayer.decode(SECRET.encode()) == SECRET
    assert SECRET.salt.hex() not in repr(SECRET)
    assert set(dagcbor.decode(public.encode())) == {"name", "version", "sealed"}
    assert replace(SECRET, salt=bytes(32)).public.sealed != public.sealed
    uses = [{"layer": public.digest, "parameters": {}}]
    known = {public.sealed: SECRET}
    assert active_layers(uses, lambda _: public.encode(), known) == (HIDDEN,)
    assert resolve_layers(uses, lambda _: public.encode()) == (public,)
    with pytest.raises(NotFound, match="'hunch'"):
        active_layers(uses, lambda _: public.encode())
    with pytest.raises(InvalidInput, match="bundle"):
        resolve_layers([uses[0] | {"parameters": {"n": 3}}], lambda _: public.encode())


@pytest.mark.parametrize(
    "change", [{"salt": b"short"}, {"salt": "text"}, {"parameters": {"m": 1}}, {"more": 1}]
)
def test_a_malformed_private_bundle_is_refused(change: dict[str, object]) -> None:
    value = dagcbor.decode(SECRET.encode()) | change
    with pytest.raises(InvalidInput):
        PrivateLayer.decode(dagcbor.encode(value))
    with pytest.raises(InvalidInput):
        SealedLayer.decode(dagcbor.encode({"name": "x", "version": 1, "sealed": b""}))


def test_a_sealed_limit_is_found_from_the_weights_alone() -> None:
    """Why a sealed layer is no safe: 20 bits in two epochs of 1,024 jobs, by whoever knows its own jobs and weight."""
    secret = 777_123
    limit = Layer(
        name="limit",
        version=1,
        reasons=("big",),
        verdict="size > $n",
        columns={"size": Column("size", "integer")},
        parameters={"n": Parameter("integer", secret)},
    )
    low, high = 0, 1 << 20
    for number in (1, 2):
        step = (high - low) // 1_024
        probes = [low + step * at for at in range(1, 1_025)]
        jobs = [{"node_id": "a", "job_id": str(size), "size": size} for size in probes]
        epoch = replace(input_of_jobs(jobs, {"size": pa.int64()}), epoch=number)
        layers = [ActiveLayer(limit, limit.values({}), sha256(b"unknown"))]
        (weight,) = evaluate_layered(count.FUNCTION, epoch, {}, layers).weights
        assert weight is not None
        low, high = low + step * weight, low + step * (weight + 1)
    assert (low, high) == (secret, secret + 1)
