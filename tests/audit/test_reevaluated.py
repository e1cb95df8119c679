"""Old epochs evaluated again: their own function gives what was paid, another one what plain Python says."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from tests.oracle import plain_functions
from tests.oracle.plain_reward import split

from audit.audit_world import (
    BUDGET,
    EVALUATORS,
    MEASURE,
    NODE_IDS,
    PARAMETERS,
    Rules,
    World,
    jobs_of,
    make_world,
)
from meridian.audit.difference import (
    Changed,
    EpochDifference,
    NodeDifference,
    Parts,
    ranks,
    totals,
)
from meridian.audit.evidence import Broken
from meridian.audit.reevaluated import Question, reevaluate
from meridian.errors import InvalidInput, NotFound
from meridian.evaluate.bundle import Bundle
from meridian.evaluate.own_functions import PYTHON_ENGINE, SQL_ENGINE
from meridian.evaluate.registry import FUNCTIONS, function_named
from meridian.explorer.difference_plot import draw_epoch, draw_epochs
from meridian.node.reevaluation import Published, Reevaluation
from meridian.primitives.ids import node_key
from meridian.reward.members import PayTerms

COUNT = function_named("count").digest
EVERY_JOB = Question(COUNT, None, {})
"""`count` without the schedule's condition: every job counts."""

BYTES = Bundle(
    name="bytes",
    version=1,
    kind="sql",
    engine=SQL_ENGINE,
    columns={"bytes": "num_bytes", "status": "status code"},
    inputs=(),
    reasons=("ok", "error"),
    parameters={},
    code={
        "verdict": "CASE WHEN status >= 500 THEN 1 ELSE 0 END",
        "weight": "coalesce(sum(bytes) FILTER (WHERE code = 0), 0)",
        "totals": {},
    },
)


def rows_of(epoch: int) -> list[dict[str, object]]:
    return jobs_of(epoch).to_pylist()


def expected(epoch: int, weights: dict[str, int]) -> dict[str, int]:
    """The budget split by weights, in the order of node keys, as the specification says."""
    names = sorted(NODE_IDS, key=node_key)
    return dict(zip(names, split([weights[name] for name in names], BUDGET), strict=True))


def would(found: EpochDifference) -> dict[str, int]:
    return {node.node_id: node.would for node in found.nodes}


def test_the_own_function_gives_what_was_paid(pristine: World) -> None:
    for epoch in (7, 8):
        found = reevaluate(pristine.source, epoch, Question())
        assert [node.difference for node in found.nodes] == [0] * len(NODE_IDS)
        assert found.paid == found.would == Parts(BUDGET, 0, 0)
        assert (found.moved, found.changed_jobs, found.jobs) == (0, 0, 48)
        paid = {node.node_id: node.paid for node in found.nodes}
        reasons, weights = plain_functions.count(
            rows_of(epoch), lambda job: job["status code"] == 200
        )
        assert paid == expected(epoch, weights)
        assert {one.was: one.jobs for one in found.verdicts} == Counter(reasons)
    # Named, it is the same question with the same answer.
    named = Question(COUNT, None, dict(PARAMETERS.function))
    assert reevaluate(pristine.source, 8, named) == found
    assert reevaluate(pristine.source, 8, Question(COUNT)) == found


def test_another_function_gives_what_plain_python_says(pristine: World) -> None:
    for epoch in (7, 8):
        found = reevaluate(pristine.source, epoch, EVERY_JOB)
        _, weights = plain_functions.count(rows_of(epoch), lambda _: True)
        assert would(found) == expected(epoch, weights)
        failed = sum(row["status code"] != 200 for row in rows_of(epoch))
        assert found.changed_jobs == failed > 0
        assert Changed("unsuccessful", "ok", failed) in found.verdicts
        assert found.would.total == found.paid.total == BUDGET


def test_a_published_function_is_found_by_its_digest_and_one_at_hand_needs_no_publication(
    world: World,
) -> None:
    asked = Question(BYTES.digest, None, None)
    with pytest.raises(NotFound, match="not published"):
        reevaluate(world.source, 8, asked)
    at_hand = reevaluate(world.source, 8, replace(asked, bundle=BYTES.encode()))
    world.put(MEASURE, BYTES.encode())
    assert reevaluate(world.source, 8, asked) == at_hand
    weights = dict.fromkeys(NODE_IDS, 0)
    for row in rows_of(8):
        weights[row["node_id"]] += row["num_bytes"] if row["status code"] < 500 else 0
    assert would(at_hand) == expected(8, weights)
    world.path(MEASURE, BYTES.digest).write_bytes(b"another")
    with pytest.raises(NotFound, match="other bytes than their name says"):
        reevaluate(world.source, 8, asked)


def test_a_python_function_runs_in_the_sandbox_only(pristine: World) -> None:
    source = (
        "def evaluate(nodes, jobs, parameters, inputs):\n"
        "    open('/etc/passwd')\n    return [1] * len(nodes), [0] * len(jobs['node'])\n"
    )
    spy = replace(BYTES, kind="python", engine=PYTHON_ENGINE, code={"source": source})
    with pytest.raises(InvalidInput):
        reevaluate(pristine.source, 8, Question(spy.digest, spy.encode()))
    fair = replace(spy, code={"source": source.replace("    open('/etc/passwd')\n", "")})
    found = reevaluate(pristine.source, 8, Question(fair.digest, fair.encode()))
    assert would(found) == expected(8, dict.fromkeys(NODE_IDS, 1))


def test_what_lying_evaluators_took_is_the_difference_to_the_own_function(tmp_path: Path) -> None:
    world = make_world(tmp_path, liars=3)
    found = reevaluate(world.source, 7, Question())
    _, honest = plain_functions.count(rows_of(7), lambda job: job["status code"] == 200)
    first = min(NODE_IDS, key=node_key)
    assert would(found) == expected(7, honest)
    assert {n.node_id: n.paid for n in found.nodes} == expected(7, {**honest, first: 99})
    assert found.moved > 0 == found.changed_jobs


def test_an_epoch_of_a_function_that_is_gone_is_evaluated_under_a_new_one(
    pristine: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    both_known = reevaluate(pristine.source, 8, Question(BYTES.digest, BYTES.encode()))
    monkeypatch.delitem(FUNCTIONS, "count")
    with pytest.raises(Broken, match="does not run here"):
        reevaluate(pristine.source, 8, Question())
    found = reevaluate(pristine.source, 8, Question(BYTES.digest, BYTES.encode()))
    assert (found.nodes, found.would) == (both_known.nodes, both_known.would)
    assert found.verdicts == ()
    assert "verdicts are not compared" in found.notes[0]


def test_an_epoch_without_jobs_leaves_everything_in_the_pool(tmp_path: Path) -> None:
    world = make_world(tmp_path, epochs=(7, 8, 9))
    empty = reevaluate(world.source, 9, EVERY_JOB)  # an epoch without jobs
    assert (empty.nodes, empty.verdicts, empty.paid) == ((), (), Parts(0, 0, BUDGET))
    svg = draw_epochs([empty], "count")
    assert svg.startswith("<svg") and "0.00 %" in svg  # noqa: PT018
    assert draw_epoch(empty, "count").endswith("</svg>\n")


@pytest.mark.parametrize(
    ("which", "says"),
    [("segment", "segments: "), ("row", "rows: "), ("claims", "rewards: ")],
)
def test_what_is_damaged_is_named(world: World, which: str, says: str) -> None:
    record = world.record(EVALUATORS[0], 8)
    path = {
        "segment": world.path(MEASURE, world.manifest(8).segments[1].digest),
        "row": world.path(EVALUATORS[0], record.rows[0]),
        "claims": world.path(EVALUATORS[0], record.claims),
    }[which]
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(Broken, match=says) as broken:
        reevaluate(world.source, 8, EVERY_JOB)
    assert path.name in str(broken.value.items)
    assert reevaluate(world.source, 7, EVERY_JOB).changed_jobs > 0


def test_a_result_is_kept_and_answers_only_its_own_question(world: World, tmp_path: Path) -> None:
    call = Reevaluation(Published(world.root, None), EVERY_JOB, tmp_path / "out")
    first = call.answer(world.source, 8)
    again = call.answer(world.source, 8)
    assert (first.is_kept, again.is_kept) == (False, True)
    assert again.difference == first.difference
    (file,) = (tmp_path / "out/epochs").iterdir()
    file.write_bytes(file.read_bytes()[:-9])  # cut: made again
    assert not call.answer(world.source, 8).is_kept
    # Another question or another report meets nothing of it.
    other = replace(call, question=Question())
    assert not other.answer(world.source, 8).is_kept
    world.chain.reported = [
        replace(event, report_hash=bytes(32)) if event.epoch == 8 else event
        for event in world.chain.reported
    ]
    assert call.answer(world.source, 8).difference is None
    assert call.answer(world.source, 9).problem == "no report of it is accepted on chain"


def test_kept_results_cannot_be_changed_unseen(pristine: World) -> None:
    found = reevaluate(pristine.source, 8, EVERY_JOB)
    value = json.loads(json.dumps(found.encode()))
    assert EpochDifference.decode(value) == found
    value["nodes"][0]["would_atto"] = str(int(value["nodes"][0]["would_atto"]) + 1)
    with pytest.raises(InvalidInput, match="would"):  # money is conserved, or it is no result
        EpochDifference.decode(value)
    for broken in ({}, None, {**found.encode(), "more": 1}):
        with pytest.raises(InvalidInput):
            EpochDifference.decode(broken)


def test_ranks_and_totals() -> None:
    assert ranks([5, 9, 5, 0]) == [2, 1, 2, 4]
    assert ranks([]) == []

    def epoch(number: int, *amounts: tuple[int, int]) -> EpochDifference:
        nodes = tuple(
            NodeDifference(f"n{place}", paid, then) for place, (paid, then) in enumerate(amounts)
        )
        paid = sum(node.paid for node in nodes)
        then = sum(node.would for node in nodes)
        return EpochDifference(
            epoch=number, jobs=1, function_was=bytes(32), function_would=bytes(32),
            report_hash=bytes(32), budget=100, paid=Parts(paid, 0, 100 - paid),
            would=Parts(then, 1, 99 - then), nodes=nodes, verdicts=(Changed("ok", "late", 1),),
        )  # fmt: skip

    both = totals([epoch(1, (10, 5), (0, 7)), epoch(2, (10, 15))])
    assert [(n.paid, n.would, n.rank_was, n.rank_would) for n in both.nodes] == [
        (20, 20, 1, 1),
        (0, 7, 2, 2),
    ]
    assert (both.moved, both.budget, both.would.members) == (5, 200, 2)
    assert both.verdicts == (Changed("ok", "late", 2),)
    svg = draw_epochs([epoch(1, (10, 5)), epoch(2, (10, 15))], "<mine>")
    assert "&lt;mine&gt;" in svg
    assert svg == draw_epochs([epoch(1, (10, 5)), epoch(2, (10, 15))], "<mine>")


def test_dust_of_another_split_stays_in_the_pool(tmp_path: Path) -> None:
    world = make_world(tmp_path, rules=Rules(replace(PARAMETERS, allocation="floor")))
    found = reevaluate(world.source, 7, EVERY_JOB)
    assert found.would.left > 0
    assert found.would.total == BUDGET


def test_collateral_before_the_epoch_is_the_real_one(tmp_path: Path) -> None:
    economy = {"collateral": {"factor": 1, "release_after": 9}}
    world = make_world(tmp_path, rules=Rules(replace(PARAMETERS, economy=economy)))
    first = reevaluate(world.source, 7, EVERY_JOB)
    assert first.would == Parts(0, 0, BUDGET)  # the first shares all stand as collateral
    own = reevaluate(world.source, 8, Question())
    assert own.moved == 0
    assert own.paid == own.would
    found = reevaluate(world.source, 8, EVERY_JOB)
    assert found.paid == own.paid
    assert found.would.total == BUDGET
    assert 0 < found.would.nodes < BUDGET
    assert any("those that really were" in note for note in found.notes)


def test_members_are_paid_on_both_sides(tmp_path: Path) -> None:
    world = make_world(tmp_path, rules=Rules(pay=PayTerms(evaluators_ppm=100_000)))
    pool = BUDGET // 10
    own = reevaluate(world.source, 8, Question())
    assert own.moved == 0
    assert own.paid.nodes == own.would.nodes == BUDGET - pool
    # The member whose row differs lost a part of its pay; the other side takes all rows to be one honest one.
    assert pool * 3 // 4 < own.paid.members < own.would.members <= pool
    assert own.paid.total == own.would.total == BUDGET
