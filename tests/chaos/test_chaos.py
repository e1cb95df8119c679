"""The chaos programme on a short run, and its judge on runs that somebody spoiled: it must be able to say no.

One run of about 35 seconds serves all tests of this file. Without root or namespaces the network's faults are left
out; those of processes and disks still happen.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.checker import Checker, fit, percentile
from chaos.failpoint import (
    Failpoint,
    NotDurable,
    WatchedLog,
    WatchedTransport,
    open_lines,
    read_lines,
)
from chaos.roster import Committee, RunConfig, row_body
from chaos.world import FaultRecord, Sample
from meridian.ephemera import evidence
from meridian.ephemera import frame as frames
from meridian.ephemera.context import Kind
from meridian.ephemera.effects import Record
from meridian.ephemera.journal import context_value
from meridian.ephemera.message import Reveal, Row
from meridian.ephemera.opening import NO_TRACE, Opening, commitment_of
from meridian.node.safety_log import SafetyLog

ROOT = Path(__file__).resolve().parents[2]
BOUND_S = 20.0

pytestmark = pytest.mark.journey


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The files of a short run without a violation, and its result."""
    directory = tmp_path_factory.mktemp("chaos") / "kept"
    command = [sys.executable, "-m", "tests.chaos", "--minutes", "0.4", "--epoch-ms", "1000"]
    done = subprocess.run(
        [*command, "--seed", "3", "--bound-s", str(BOUND_S), "--json", "--keep", str(directory)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return directory, json.loads(done.stdout)


def test_a_short_run_decides_every_epoch_under_faults(kept):
    _, document = kept
    assert document["violations"] == []
    assert document["epochs"] >= 20
    assert document["decisions"] >= 4 * 20
    assert document["faults_reached"] >= 3
    assert document["statements_compared"] >= 4 * 3 * document["epochs"]
    assert document["decide_ms"]["slowest_after_fault"] <= BOUND_S * 1000


@pytest.fixture
def spoiled(kept, tmp_path):
    """A copy of the run that may be changed, and a function that judges it."""
    directory = tmp_path / "run"
    shutil.copytree(kept[0], directory)
    document = json.loads((directory / "run.json").read_bytes())
    document["directory"] = str(directory)
    (directory / "run.json").write_text(json.dumps(document))
    config = RunConfig.load(directory / "run.json")

    def judge(*, more=(), bound_s=BOUND_S):
        faults = [FaultRecord(**line) for line in read_lines(directory / "faults.jsonl")]
        samples = [Sample(**line) for line in read_lines(directory / "samples.jsonl")]
        ended_s = max(line["at_s"] for i in range(4) for line in read_lines(config.results(i)))
        last = kept[1]["epochs"] - 2
        judged = Checker(config, [*faults, *more], samples)
        return judged.judge(last, ended_s + 1, bound_s).violations

    return config, judge


def change(path, index, **values):
    """Change one of the lines that say what `values` change."""
    lines = read_lines(path)
    chosen = [line for line in lines if all(name in line for name in values)][index]
    chosen.update(values)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_the_judge_finds_nothing_in_what_nobody_changed(spoiled):
    _, judge = spoiled
    assert judge() == []


def test_it_finds_a_decision_that_differs(spoiled):
    config, judge = spoiled
    change(config.results(1), 3, hash="00" * 32)
    found = judge()
    assert any("node 1 decided 00" in text for text in found)
    assert any("has another hash" in text for text in found)


def test_it_finds_a_forged_vote_in_a_certificate(spoiled):
    config, judge = spoiled
    lines = [line for line in read_lines(config.results(2)) if "certificate" in line]
    certificate = lines[0]["certificate"]
    flipped = certificate[:-1] + ("0" if certificate[-1] != "0" else "1")
    change(config.results(2), 0, certificate=flipped)
    assert any("does not verify" in text for text in judge())


def test_it_finds_an_attestation_of_something_else(spoiled):
    config, judge = spoiled
    change(config.results(0), 0, digest="11" * 32, signatures=[])
    found = judge()
    assert any("attests another block" in text for text in found)
    assert any("the attestation at node 0 does not verify" in text for text in found)


def test_it_finds_a_contradiction_and_a_signature_of_an_observer(spoiled):
    config, judge = spoiled
    path = config.statements(3)
    line = next(line for line in read_lines(path) if line["kind"] == "Echo")
    with path.open("a") as file:
        file.write(json.dumps(line | {"digest": "22" * 32, "run": -1}) + "\n")
    with config.results(3).open("a") as file:
        started = {"at_s": 0, "run": -1, "what": "started", "observe_through": 1_000}
        file.write(json.dumps(started) + "\n")
    found = judge()
    assert any("node 3 contradicts itself" in text for text in found)
    assert any("which it only observes" in text for text in found)


def test_it_finds_a_vote_that_is_denied(spoiled):
    config, judge = spoiled
    path = config.statements(0)
    vote = next(line for line in read_lines(path) if line["kind"] == "Vote")
    denial = vote | {"kind": "ViewChange", "view": vote["view"] + 1, "digest": "", "lock": None}
    with path.open("a") as file:
        file.write(json.dumps(denial) + "\n")
    assert any("node 0 denies its vote" in text for text in judge())


def test_it_finds_that_a_correct_member_is_accused(spoiled):
    """With its real key: also evidence that verifies is wrong about somebody who was never hostile."""
    config, judge = spoiled
    committee = Committee(config)
    context = committee.context(0)
    signed = [
        (digest, committee.keys[1].sign(context.statement(Kind.ECHO, 5, digest)))
        for digest in (bytes(32), b"\x01" * 32)
    ]
    proof = evidence.double(context, 1, Kind.ECHO, 5, *signed)
    line = {"at_s": 0, "run": 0, "what": "misbehaviour", "epoch": 0, "evidence": proof.hex()}
    with config.results(2).open("a") as file:
        file.write(json.dumps(line) + "\n")
        file.write(json.dumps(line | {"evidence": proof[:-1].hex() + "00"}) + "\n")
    hostile = FaultRecord("hostile", 1, config.opens_at_s(0), config.opens_at_s(1))
    found = judge()
    assert any("correct member 1 is accused: double_echo" in text for text in found)
    assert any("proves nothing" in text for text in found)
    assert not any("is accused" in text for text in judge(more=[hostile]))


def test_it_finds_epochs_that_are_late_or_never_decided(spoiled):
    config, judge = spoiled
    assert any("to decide" in text or "within" in text for text in judge(bound_s=0.001))
    lines = [line for line in read_lines(config.results(0)) if line.get("epoch") != 7]
    config.results(0).write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = judge()
    assert any(text.startswith("epoch 7: node 0 ") for text in found)


def test_it_finds_that_the_schedule_held_too_many(spoiled):
    config, judge = spoiled
    at_s = config.opens_at_s(2)
    more = [FaultRecord("killed", node, at_s, at_s + 0.1) for node in (0, 1)]
    assert any("nodes at a time" in text for text in judge(more=more))


def test_it_finds_growing_memory_and_descriptors(spoiled):
    config, judge = spoiled
    samples = [Sample(0, 1, 10.0 * i, 50_000 + 100 * i, 10 + i) for i in range(100)]
    with (Path(config.directory) / "samples.jsonl").open("a") as file:
        file.writelines(
            json.dumps({name: getattr(s, name) for name in Sample.__slots__}) + "\n"
            for s in samples
        )
    found = judge()
    assert any("node 0: memory grows by 600 KiB a minute" in text for text in found)
    assert any("node 0: descriptors grow from 59 to 109" in text for text in found)


def test_line_and_percentile():
    slope, level = fit([(1.0, 3.0), (2.0, 5.0), (3.0, 7.0)])
    assert (slope, level) == (2.0, 1.0)
    assert fit([(1.0, 3.0)]) == (0.0, 3.0)
    assert [percentile([5, 1, 3], share) for share in (0.0, 0.5, 0.99)] == [1, 3, 5]
    assert percentile([], 0.5) == 0


def test_a_failpoint_counts_what_it_names():
    point = Failpoint("send:after:vote:2")
    passages = [("send", "before", "vote"), ("send", "after", "echo"), ("send", "after", "vote")]
    assert [point.reached(a, b, [c]) for a, b, c in passages] == [False] * 3
    assert point.reached("send", "after", ["vote"])
    assert not Failpoint(None).reached("send", "after", ["vote"])
    assert Failpoint("persist:before:1").reached("persist", "before", ["row"])


def test_a_statement_that_is_not_durable_never_leaves(tmp_path):
    """The node's own watch: what it sends must be in its log."""
    config = RunConfig(1, (("127.0.0.1", 1),) * 4, 0, 0.0, 1000, 4, str(tmp_path))
    committee = Committee(config)
    context = committee.context(2)
    safety = SafetyLog(
        tmp_path / "log.sqlite", network=committee.network, member=committee.members[0]
    )
    log = WatchedLog(safety, Failpoint(None), committee.context, committee.members[0])
    left = []

    class Out:
        def send(self, address, frame, bulk=False, slot=None):
            left.append(frame)

    lines = open_lines(config.statements(0))
    transport = WatchedTransport(Out(), log, Failpoint(None), 0, lines, committee.context)
    opening = Opening(bytes(32), bytes(32), NO_TRACE)
    digest = commitment_of(committee.members[0], opening)
    signature = committee.keys[0].sign(context.statement(Kind.ROW, 0, digest))
    frame = frames.encode(Row(0, digest, signature), 2)
    revealed = frames.encode(Reveal(0, digest, signature, opening), 2)
    with pytest.raises(NotDurable):
        transport.send(committee.members[1], frame)
    assert left == []
    member = committee.members[0]
    log.write([Record(2, "context", b"", context_value(context, member, observer=False))])
    with pytest.raises(NotDurable):
        transport.send(committee.members[1], frame)
    log.write([Record(2, "row", b"", revealed)])
    transport.send(committee.members[1], frame)
    transport.send(committee.members[2], revealed)
    assert left == [frame, revealed], "the same statement"
    # An observer passes on what it said before it forgot, and signs nothing.
    log.write([Record(2, "context", b"", context_value(context, member, observer=True))])
    other = frames.encode(Row(0, b"\1" * 32, signature), 2)
    transport.send(committee.members[1], other)
    assert left[2:] == [other]
    [line] = read_lines(config.statements(0))
    assert (line["epoch"], line["kind"], line["digest"]) == (2, "Row", digest.hex())
    safety.close()


def test_rows_of_the_run_are_functions_of_epoch_member_and_variant():
    member = Committee(RunConfig(1, (("", 1),) * 4, 0, 0.0, 1000, 4, "")).members[0]
    assert row_body(1, member) == row_body(1, member)
    bodies = {row_body(e, member, v) for e in range(200) for v in (0, 1)}
    assert len(bodies) == 400
    assert {len(body) > 256 * 1024 for body in bodies} == {True, False}
