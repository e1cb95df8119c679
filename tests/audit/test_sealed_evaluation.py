"""`verify` where a fraud layer is sealed: what can be recomputed holds or is broken, the rest is called sealed."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit.audit_world import EVALUATORS, PARAMETERS, Rules, World, make_world
from meridian.audit.epoch import audit_epoch, verify_epoch_evidence
from meridian.audit.evidence import Broken, State
from meridian.audit.node_account import account_of
from meridian.audit.opened_reason import check_opened, open_job
from meridian.audit.reevaluated import Question, reevaluate
from meridian.errors import InvalidInput, NotFound
from meridian.evaluate.flagging import ActiveLayer
from meridian.evaluate.layer import Column, Layer
from meridian.evaluate.layered import evaluate_with_reasons
from meridian.evaluate.registry import function_named
from meridian.evaluate.sealed import check_opening, open_reason
from meridian.evaluate.sealed_layer import PrivateLayer
from meridian.node.private_layers import load_private_layers
from meridian.primitives import dagcbor
from meridian.primitives.hashing import sha256

EPOCH = 8
SMALL = Layer(
    name="small",
    version=1,
    reasons=("tiny",),
    verdict="size < 2",
    columns={"size": Column("num_bytes", "integer")},
)
SECRET = PrivateLayer(
    Layer(
        name="hunch",
        version=1,
        reasons=("brno",),
        verdict="city = 'Brno'",
        columns={"city": Column("city", "text")},
    ),
    {},
    sha256(b"of the committee"),
)
RULES = Rules(
    parameters=replace(
        PARAMETERS,
        layers=[
            {"layer": SMALL.digest, "parameters": {}},
            {"layer": SECRET.public.digest, "parameters": {}},
        ],
    ),
    layers=(ActiveLayer(SMALL, {}), ActiveLayer(SECRET.layer, {}, SECRET.salt)),
    artefacts=(SMALL.encode(), SECRET.public.encode()),
)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("sealed"), rules=RULES)


def test_everything_holds_but_the_evaluation_is_sealed(sealed: World) -> None:
    links = {link.name: link for link in verify_epoch_evidence(sealed.source, EPOCH)}
    assert links.pop("evaluation").state is State.SEALED
    assert {link.state for link in links.values()} == {State.HOLDS}
    assert any("sealed under" in item for item in links["parameters"].items)


def test_whoever_has_the_private_bundle_recomputes_everything(sealed: World) -> None:
    links = verify_epoch_evidence(sealed.source, EPOCH, {SECRET.public.sealed: SECRET})
    assert {link.state for link in links} == {State.HOLDS}
    rows = next(link for link in links if link.name == "evaluation")
    assert rows.detail.startswith("3 of 4 rows are exactly what the jobs give here")


def test_such_an_epoch_is_evaluated_again_only_by_who_knows_the_rules(sealed: World) -> None:
    question = Question(function_named("count").digest, None, {})
    with pytest.raises(Broken, match="hunch are sealed"):
        reevaluate(sealed.source, EPOCH, question)
    found = reevaluate(sealed.source, EPOCH, question, {SECRET.public.sealed: SECRET})
    assert found.moved > 0
    assert {(one.was, one.would) for one in found.verdicts} == {
        ("small: tiny", "small: tiny"),
        ("undisclosed", "undisclosed"),
    }
    own = reevaluate(sealed.source, EPOCH, Question(), {SECRET.public.sealed: SECRET})
    assert own.moved == 0


def test_a_node_sees_what_is_public_of_its_jobs(sealed: World) -> None:
    account = account_of(sealed.source, EPOCH, "alpha")
    assert (account.jobs, account.succeeded) == (3, 0)
    assert account.failures == {"small: tiny": 2, "undisclosed": 1}
    assert account.weight is not None


def forged(world: World, change: Callable[[dict[str, Any]], None]) -> None:
    record = world.record(EVALUATORS[0], EPOCH)
    value = dagcbor.decode(world.read(EVALUATORS[0], record.verdicts))
    change(value)
    digest = world.put(EVALUATORS[1], dagcbor.encode(value))
    world.publish_record(EVALUATORS[1], replace(record, verdicts=digest))


def flip_code(value: dict[str, Any]) -> None:
    value["codes"] = bytes([value["codes"][0] ^ 1]) + value["codes"][1:]


def flip_root(value: dict[str, Any]) -> None:
    roots = value["sealed"]["roots"]
    value["sealed"]["roots"] = bytes([roots[0] ^ 1]) + roots[1:]


def lower_count(value: dict[str, Any]) -> None:
    value["sealed"]["counts"][0][1] -= 1
    value["summary"]["layer hunch"] -= 1


@pytest.mark.parametrize(
    "change",
    [
        flip_code,
        flip_root,
        lower_count,
        lambda value: value["summary"].update({"layer small": 0}),
        lambda value: value["summary"].update({"layer hunch": 0}),
        lambda value: value["nodes"][0].reverse(),
        lambda value: value.pop("sealed"),
        lambda value: value.update({"more": 1}),
        lambda value: value["sealed"].update({"counts": [["other", 16]]}),
    ],
)
def test_what_can_be_recomputed_is(
    change: Callable[[dict[str, Any]], None], tmp_path: Path, sealed: World
) -> None:
    world = sealed.copied_to(tmp_path)
    forged(world, change)
    links = {link.name: link for link in verify_epoch_evidence(world.source, EPOCH)}
    assert links["evaluation"].state is State.BROKEN


def test_an_evaluator_opens_one_reason_and_anybody_checks_it_against_the_report(
    sealed: World,
) -> None:
    case, _ = audit_epoch(sealed.source, EPOCH)
    evaluation, secret = evaluate_with_reasons(
        case.function, case.input, case.parameters.function, RULES.layers
    )
    assert secret is not None
    opening = open_reason(case.input, evaluation, secret, 0, 0)
    assert check_opening(opening, case.report.verdict_root)
    assert not check_opening(replace(opening, reason="small: tiny"), case.report.verdict_root)


def test_an_opening_as_a_file_names_its_job_and_nothing_else_passes(sealed: World) -> None:
    private = {SECRET.public.sealed: SECRET}
    made = open_job(sealed.source, EPOCH, "alpha", "job-8-0", private)
    assert check_opened(sealed.source, json.loads(json.dumps(made))) == made["reason"]
    for change in (
        {"reason": "ok" if made["reason"] != "ok" else "hunch: brno"},
        {"job_id": "job-8-1"},
        {"node_id": "beta"},
        {"network": "00" * 32},
        {"index": -1},
        {"path": ["zz"]},
        {"counts": [["hunch", 10**6]]},
    ):
        with pytest.raises(InvalidInput):
            check_opened(sealed.source, made | change)
    with pytest.raises(NotFound, match="no job"):
        open_job(sealed.source, EPOCH, "alpha", "job-8-77", private)
    with pytest.raises(NotFound, match="private bundle"):
        open_job(sealed.source, EPOCH, "alpha", "job-8-0", {})


def test_private_bundles_are_read_from_a_directory_that_nobody_else_reads(tmp_path: Path) -> None:
    assert load_private_layers(None) == {}
    path = tmp_path / "hunch.cbor"
    path.write_bytes(SECRET.encode())
    path.chmod(0o644)
    with pytest.raises(InvalidInput, match="mode must be 600"):
        load_private_layers(tmp_path)
    path.chmod(0o600)
    assert load_private_layers(tmp_path) == {SECRET.public.sealed: SECRET}
    path.write_bytes(SECRET.public.encode())
    with pytest.raises(InvalidInput, match=r"hunch.cbor"):
        load_private_layers(tmp_path)
