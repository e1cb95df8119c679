"""The comparison of models: what is kept, what is done anew, what it says; the models here are made of cardboard."""

import json
from dataclasses import dataclass, field, replace

import pytest
from click.testing import CliRunner

from meridian.audit.evidence import Link, State
from meridian.cli.main import main
from meridian.errors import RemoteFault
from meridian.journey.models import comparison, registry
from meridian.journey.models.frauds import FRAUDS
from meridian.journey.models.model import (
    Costs,
    Ending,
    Facts,
    FraudOutcome,
    ModelRun,
    Phase,
    StepCost,
)
from meridian.node.durable_file import held_lock

FACTS = Facts(summary="s", public="p", hidden="h", trust={"t": "all"})


@dataclass
class Cardboard:
    """Counts jobs by node, and remembers what was asked of it."""

    name: str
    takes: frozenset[str] = frozenset()
    facts: Facts = FACTS
    extra: int = 0
    broken: str = ""
    runs: list = field(default_factory=list)
    played: list = field(default_factory=list)
    unplayable: set = field(default_factory=set)

    def run(self, source, options, watcher):
        if not options.relay and "no relay" in self.unplayable:
            raise RemoteFault("no setup")
        (options.data_dir / "something").write_text("here")
        self.runs.append((source.jobs, options.batch))
        watcher.progress("work", 1, 1)
        weights = dict.fromkeys(source.nodes, self.extra)
        for batch in source.batches():
            for line in batch.splitlines():
                weights[json.loads(line)["peer_id"]] += 1
        payees = [{"node_id": node, "weight": str(one)} for node, one in weights.items()]
        steps = [
            StepCost(name="deploy C", phase=Phase.SET_UP, transactions=1, gas=1_000, calldata_bytes=9),
            StepCost(
                name="C.submit", phase=Phase.EPOCH, transactions=source.jobs, gas=10 * source.jobs,
                calldata_bytes=7 * source.jobs,
            ),
            StepCost(
                name="D.take", phase=Phase.EPOCH, transactions=3, gas=5, calldata_bytes=1, chain="side"
            ),
        ]  # fmt: skip
        return ModelRun(
            result={"epochs": [{"epoch": 1, "payees": payees, "paid_atto": "12"}]},
            costs=Costs(steps=steps, stored_bytes=11, private_bytes=0, cpu_s={"nodes": 0.5}),
        )

    def verify(self, data_dir, epoch):
        assert (data_dir / "something").exists()
        state = State.BROKEN if self.broken else State.HOLDS
        return [Link(self.broken or "jobs", state, "")]

    def fraud(self, name, root):
        assert not [*root.iterdir()]
        self.played.append(name)
        if name in self.unplayable:
            raise RemoteFault("no chain")
        return FraudOutcome(fraud=name, ending=Ending.CAUGHT, by="verify", how="the link breaks")


@pytest.fixture
def models(monkeypatch):
    """Two models of cardboard by name; the first can send jobs one by one."""
    made = {
        "naive": Cardboard("naive", frozenset({"batch"})),
        "summary": Cardboard("summary", frozenset({"relay"})),
    }
    monkeypatch.setattr(comparison, "model_named", lambda name: made[name])
    monkeypatch.setattr(registry, "built", lambda: [*made])
    return made


def compare(root, *more):
    arguments = ["--jobs", "5000", "--nodes", "4", "--data-dir", str(root), *more]
    return CliRunner().invoke(main, ["models", "compare", *arguments])


def test_all_run_once_and_a_second_command_only_shows(models, tmp_path):
    first = compare(tmp_path, "--json")
    assert first.exit_code == 0, first.output
    document = json.loads(first.stdout)
    assert document["same_result"] is True
    assert models["naive"].runs == [(5_000, True), (2_000, False)]
    assert models["summary"].runs == [(5_000, True), (5_000, True)], "itself and without a relay"
    assert models["summary"].played == [*FRAUDS]
    extrapolated = document["models"][0]["variants"]["a transaction a job"]
    steps = {step["name"]: step for step in extrapolated["costs"]["steps"]}
    assert extrapolated["jobs_run"] == 2_000
    assert (steps["C.submit"]["transactions"], steps["C.submit"]["gas"]) == (5_000, 50_000)
    assert steps["deploy C"]["gas"] == 1_000, "what is done once does not grow with the jobs"
    assert extrapolated["costs"]["cpu_s"] == {"nodes": 1.25}
    again = compare(tmp_path, "--json")
    assert json.loads(again.stdout) == document
    assert len(models["summary"].runs) == 2
    assert len(models["summary"].played) == 10
    assert not (tmp_path / "summary-double-report").exists()


def test_the_tables_say_what_was_run_and_what_was_extrapolated(models, tmp_path):
    shown = compare(tmp_path).stdout
    assert "naive, a transaction a job: 2,000 jobs were run" in shown
    assert "times 5,000 / 2,000" in shown
    assert "summary, no relay" in shown
    assert "on the chain side: transactions" in shown
    assert shown.count("caught (verify)") == 20
    assert "same result: yes; broken links: none" in shown


def test_another_result_or_a_broken_link_ends_with_1(models, tmp_path):
    models["summary"].extra = 1
    ran = compare(tmp_path / "a", "--no-frauds")
    assert (ran.exit_code, "same result: no" in ran.stdout) == (1, True)
    models["summary"].extra, models["summary"].broken = 0, "claims"
    ran = compare(tmp_path / "b", "--no-frauds")
    assert (ran.exit_code, "broken links: summary: claims" in ran.stdout) == (1, True)
    assert "caught" not in ran.stdout


def test_a_fraud_that_cannot_be_played_is_said_and_tried_again(models, tmp_path):
    models["summary"].unplayable = {"stolen-job"}
    ran = compare(tmp_path, "--models", "summary")
    assert ran.exit_code == 1
    assert "stolen-job could not be played: no chain" in ran.stderr
    assert "failed" in ran.stdout
    models["summary"].unplayable = set()
    models["summary"].played.clear()
    assert compare(tmp_path, "--models", "summary").exit_code == 0
    assert models["summary"].played == ["stolen-job"]


def test_a_run_that_was_stopped_is_made_anew(models, tmp_path):
    compare(tmp_path, "--models", "summary", "--no-frauds")
    (tmp_path / "summary.json").unlink()
    (tmp_path / "summary" / "torn").write_text("x")
    assert compare(tmp_path, "--models", "summary", "--no-frauds").exit_code == 0
    assert not (tmp_path / "summary" / "torn").exists()


def test_a_directory_of_something_else_is_refused(models, tmp_path):
    (tmp_path / "letter").write_text("dear")
    ran = compare(tmp_path)
    assert (ran.exit_code, "is not empty and holds no comparison" in ran.stderr) == (2, True)
    compare(tmp_path / "c", "--no-frauds")
    ran = compare(tmp_path / "c", "--seed", "2")
    assert (ran.exit_code, "holds a comparison of" in ran.stderr) == (2, True)
    (tmp_path / "c" / "naive.json").write_text("{}")
    assert compare(tmp_path / "c").exit_code == 2
    assert compare(tmp_path / "d", "--models", "naive,naive").exit_code == 2


def test_what_a_comparison_says_can_be_read_again(models, tmp_path):
    document = json.loads(compare(tmp_path, "--json").stdout)
    read = comparison.read_comparison(document)
    assert read.document() == document
    assert read.holds
    assert not replace(read, models=[replace(read.models[0], weights={}), read.models[1]]).holds


def test_the_models_are_listed_with_what_they_trust():
    ran = CliRunner().invoke(main, ["models", "list", "--json"])
    assert "aggregator" in json.loads(ran.stdout)["orchestrator"]["trust"]
    assert "orchestrator" in CliRunner().invoke(main, ["models", "list"]).stdout


def test_a_variant_that_cannot_be_run_is_said_and_tried_again(models, tmp_path):
    models["summary"].unplayable = {"no relay"}
    ran = compare(tmp_path, "--models", "summary", "--no-frauds")
    assert (ran.exit_code, "no relay could not be run: no setup" in ran.stderr) == (1, True)
    models["summary"].unplayable = set()
    ran = compare(tmp_path, "--models", "summary", "--no-frauds")
    assert (ran.exit_code, "summary, no relay" in ran.stdout) == (0, True)
    assert len(models["summary"].runs) == 2


def test_two_comparisons_are_not_at_one_model_together(models, tmp_path):
    with held_lock(tmp_path / "summary.lock", "taken"):
        ran = compare(tmp_path, "--models", "summary")
    assert (ran.exit_code, "is not empty and holds no comparison" in ran.stderr) == (2, True)
    assert compare(tmp_path / "e", "--models", "naive", "--no-frauds").exit_code == 0
    with held_lock(tmp_path / "e" / "summary.lock", "taken"):
        ran = compare(tmp_path / "e", "--models", "summary", "--no-frauds")
    assert (ran.exit_code, "another comparison is at this model" in ran.stderr) == (5, True)
    assert not models["summary"].runs
