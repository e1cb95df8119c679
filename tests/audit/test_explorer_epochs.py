"""What the explorer reads of an epoch: one commitment, several, none with jobs, rows that lie, publications that are broken."""

import json
from dataclasses import replace

import numpy as np
import pytest

from audit.audit_world import EPOCHS, EVALUATORS, MEASURE, World, commit
from audit.test_several_commitments import EPOCH, SECOND, commit_itself, commit_too
from meridian.audit.epoch import audit_epoch
from meridian.audit.node_account import GoodCopies
from meridian.audit.proof_building import job_proof, node_proof
from meridian.explorer.columns import read_columns
from meridian.explorer.epoch_files import has_own_trees, measured_files
from meridian.explorer.epoch_page import Schedule, gathered_part
from meridian.explorer.gathered import gather
from meridian.measure.proof_form import encode_json
from meridian.node.explorer.site_files import SiteFiles
from meridian.primitives import dagcbor
from web.shipped_scripts import shipped_script

ALL = 10**6
SCHEDULE = Schedule(name="count", function=bytes(32), parameters=bytes(32), source=None)


def write_site(root, network, measured, decided=None):
    """As much of a site as proofs of one epoch need."""
    files = SiteFiles(root)
    folder = f"data/epoch/{measured.epoch:06}"
    for name, data in measured_files(measured, decided).items():
        files.write(f"{folder}/{name}", data)
    page = gathered_part(measured, decided, schedule=SCHEDULE, members=(), problem="")
    files.write_json(f"{folder}/epoch.json", page)
    said = {"network": network.name, "lanes": measured.lanes.value, "laneFields": ["num_bytes"]}
    files.write_json("data/network.json", said)


@pytest.fixture
def ask(tmp_path):
    place = tmp_path / "scripts"
    place.mkdir()
    script = shipped_script(place, "site.js", "site_driver.mjs")

    def answers(*questions):
        root = str(tmp_path / "site")
        return script([{"site": root, "ask": what, "with": given} for what, *given in questions])

    return answers


def test_what_is_gathered_is_what_the_audit_computes(world: World) -> None:
    for epoch in EPOCHS:
        case, _ = audit_epoch(GoodCopies(world.source), epoch)
        measured, decided, problem = gather(world.source, epoch, ALL)
        assert problem == ""
        assert measured is not None
        assert decided is not None
        assert measured.trees[0].root == case.committed.root
        assert decided.weights == case.weights
        assert decided.claims == case.outcome.claims
        assert decided.codes == case.evaluation.verdicts
        assert not has_own_trees(measured)
        late = {name: int(n) for name, n in zip(measured.nodes.ids, measured.late, strict=True)}
        assert late == dict.fromkeys(measured.nodes.ids, 0) | ({"beta": 1} if epoch == 8 else {})
        assert [voice.member for voice in decided.voices] == list(case.context.members)


def test_cells_that_differ_are_in_the_matrix_and_no_others(world: World) -> None:
    measured, decided, _ = gather(world.source, EPOCH, ALL)
    assert measured is not None
    assert decided is not None
    table = read_columns(measured_files(measured, decided)["matrix.col"])
    said = {}
    columns = [table.numbers(name).values() for name in ("member", "node", "said")]
    for member, node, value in zip(*columns, strict=True):
        said[member, node] = value
    for at, voice in enumerate(decided.voices):
        if voice.body is None:
            continue
        for node, weight in enumerate(voice.weights):
            assert said.get((at, node), decided.weights[node]) == weight


def test_proofs_from_files_with_one_commitment(world: World, tmp_path, ask) -> None:
    measured, decided, _ = gather(world.source, EPOCH, ALL)
    write_site(tmp_path / "site", world.network, measured, decided)
    assert_same_proofs(world, measured, ask)


def test_proofs_from_files_with_several_commitments(world: World, tmp_path, ask) -> None:
    """A proof stands under the first commitment that has the node, as the command has it."""
    commit_itself(world, "gamma")
    commit_too(world)
    measured, _, problem = gather(world.source, EPOCH, ALL)
    assert measured is not None, problem
    assert has_own_trees(measured)
    assert [tree.account for tree in measured.trees][1] == SECOND
    write_site(tmp_path / "site", world.network, measured)
    assert_same_proofs(world, measured, ask)
    assert problem != "", "the published outcome is that of other commitments"


def assert_same_proofs(world, measured, ask):
    places = range(len(measured.nodes.ids))
    nodes = ask(*(("nodeProof", EPOCH, place) for place in places))
    jobs = ask(*(("jobs", EPOCH, place) for place in places))
    asked = [(place, job) for place in places for job in jobs[place][:3]]
    of_jobs = ask(*(("jobProof", EPOCH, place, job["index"]) for place, job in asked))
    for name, made in zip(measured.nodes.ids, nodes, strict=True):
        assert made.encode() == encode_json(node_proof(world.source, EPOCH, name))
    for (place, job), made in zip(asked, of_jobs, strict=True):
        name = measured.nodes.ids[place]
        assert made.encode() == encode_json(job_proof(world.source, EPOCH, name, job["jobId"]))


def test_an_epoch_without_jobs_has_files_too(world: World) -> None:
    empty = max(EPOCHS) + 1
    world.chain.budgets[empty] = 0
    commit(world, empty)
    measured, decided, problem = gather(world.source, empty, ALL)
    assert (problem, decided) == ("", None)
    assert measured is not None
    files = measured_files(measured, decided)
    assert read_columns(files["top-0.col"]).fixed("node").shape == (0, 56)
    assert not [name for name in files if name.startswith(("nodes-", "jobs-"))]


def test_jobs_beyond_the_bound_are_not_kept(world: World) -> None:
    measured, _, _ = gather(world.source, EPOCH, 47)
    assert measured is not None
    assert measured.jobs is None
    assert measured.trees[0].jobs is None
    assert np.asarray(measured.nodes.job_counts).sum() == 48


def test_one_whole_outcome_is_enough_and_none_is_told(world: World) -> None:
    first, *others = EVALUATORS
    for publication in others:
        record = world.record(publication, EPOCH)
        world.path(publication, record.digest).write_bytes(b"nonsense")
    _, decided, problem = gather(world.source, EPOCH, ALL)
    assert (decided is not None, problem) == (True, "")
    record = world.record(first, EPOCH)
    for publication in (MEASURE, *EVALUATORS):
        world.path(publication, record.verdicts).unlink(missing_ok=True)
    measured, decided, problem = gather(world.source, EPOCH, ALL)
    assert measured is not None
    assert decided is None
    assert "verdicts is not published" in problem.replace("the verdicts", "verdicts")


def test_verdicts_that_do_not_give_the_decided_root_are_not_shown(world: World) -> None:
    for publication in EVALUATORS:
        record = world.record(publication, EPOCH)
        document = dagcbor.decode(world.find(record.verdicts))
        codes = bytearray(document["codes"])
        codes[0] ^= 1
        line = document["nodes"][0]
        line[codes[0]] += 1
        line[codes[0] ^ 1] -= 1
        changed = dagcbor.encode(document | {"codes": bytes(codes)})
        other = replace(record, verdicts=world.put(publication, changed))
        world.publish_record(publication, other)
    _, decided, problem = gather(world.source, EPOCH, ALL)
    assert decided is None
    assert "verdict root" in problem


def test_a_segment_that_is_gone_leaves_the_chains_part_alone(world: World) -> None:
    for segment in world.manifest(EPOCH).segments:
        world.path(MEASURE, segment.digest).unlink()
    measured, decided, problem = gather(world.source, EPOCH, ALL)
    assert (measured, decided) == (None, None)
    assert problem.startswith("segments: ")
    page = gathered_part(None, None, schedule=SCHEDULE, members=(SECOND,), problem=problem)
    assert json.loads(json.dumps(page))["members"][0]["present"] is False
