"""Every model that is built gives the same jobs the same weights, and its own check holds; real chains and processes."""

import json
from collections import Counter
from itertools import chain

import pytest
from watching import Watching

from meridian.audit.evidence import State
from meridian.journey.models.model import ModelOptions, Phase
from meridian.journey.models.registry import MODELS, built, model_named
from meridian.networks import comparison
from meridian.networks.generator import Traffic

SOURCE = comparison.generate(Traffic(jobs=400, nodes=4))


@pytest.mark.journey
@pytest.mark.parametrize("name", MODELS)
def test_the_weights_are_the_numbers_of_jobs(name, tmp_path):
    if name not in built():
        pytest.skip(f"the model {name} is not built yet")
    model = model_named(name)
    few = {"evaluators": 1, "challenge_seconds": 1} if name == "orchestrator" else {}
    done = model.run(SOURCE, ModelOptions(data_dir=tmp_path, **few), Watching())
    lines = chain.from_iterable(batch.splitlines() for batch in SOURCE.batches())
    jobs = Counter(json.loads(line)["peer_id"] for line in lines)
    [epoch] = done.result["epochs"]
    weights = {row["node_id"]: int(row["weight"]) for row in epoch["payees"]}
    assert weights == jobs
    assert epoch["jobs"] == 400
    assert int(epoch["total_atto"]) >= int(epoch["paid_atto"]) > 999 * 10**18
    assert not done.broken
    links = model.verify(tmp_path, 1)
    assert links
    assert {link.state for link in links} <= {State.HOLDS, State.SEALED}, links
    assert sum(step.gas for step in done.costs.of(Phase.EPOCH)) > 0
    assert done.costs.cpu_s["chain"] > 0


@pytest.mark.journey
def test_a_claim_cannot_be_stolen_from_the_orchestrator(tmp_path):
    outcome = model_named("orchestrator").fraud("stolen-claim", tmp_path)
    assert (outcome.ending.value, outcome.by, outcome.gain_atto) == ("prevented", "contract", 0)
    assert "rewards: proof" in outcome.how
