"""With one node chosen, a watcher checks that node's inclusion, receipts and rewards, and nothing else."""

from typing import Any

import pytest
from watch_world import BUDGET, COIN, NODES, SCHEMA, VICTIM, Heard, WatchWorld, payee_of, shares

from meridian.cli.watch_commands import event_text
from meridian.measure.manifest import Manifest, Nodes
from meridian.node.evaluator.artefacts import ArtefactClient
from meridian.node.measure import sorted_columns
from meridian.node.watch.published import missing_row, place_of_node
from meridian.primitives.ids import node_key
from meridian.scenario.jobs import JOBS

OTHER = NODES[0]


def look(world: WatchWorld, node: str, **options: Any) -> Heard:
    heard = Heard()
    watcher = world.watcher(heard, name=f"of {node}", node_id=node, **options)
    watcher.round()
    watcher.close()
    return heard


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of four jobs: eight of them for thirty jobs."""
    monkeypatch.setattr(sorted_columns, "SEGMENT_ROWS_MAX", 4)


def segments_without(world: WatchWorld, name: str) -> list[bytes]:
    """The segments of the first epoch in which a node has no job."""
    manifest = Manifest.decode(world.measured.get(world.view.standing()[1].manifest))
    nodes = Nodes.decode(world.measured.get(manifest.nodes))
    place = nodes.ids.index(name)
    first = sum(nodes.job_counts[:place])
    needed = range(first // 4, (first + nodes.job_counts[place] - 1) // 4 + 1)
    return [one.digest for at, one in enumerate(manifest.segments) if at not in needed]


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize("name", [OTHER, VICTIM])
def test_only_the_segments_with_its_jobs_are_needed(world: WatchWorld, name: str) -> None:
    world.commit(1)
    for digest in segments_without(world, name):
        world.measured.path(digest).unlink()
    world.report(1, shares())
    heard = look(world, name, dry_run=True)
    assert [one["faults"] for one in heard.of("commitment")] == [[]]
    assert heard.of("commitment")[0]["jobs"] == JOBS[name]
    assert heard.of("accusation") == []
    [reward] = heard.of("reward")
    assert (reward["amount"], reward["share"]) == (shares()[name], shares()[name])
    assert reward["payee"] == payee_of(name)
    assert event_text("reward", reward) == (
        f"epoch 1: {name} gets {shares()[name] // COIN} for {JOBS[name]} jobs, "
        f"its share is {shares()[name] // COIN}"
    )


@pytest.mark.usefixtures("small_segments")
def test_a_challenge_asks_for_what_is_missing(world: WatchWorld) -> None:
    """For everybody: a row of a missing segment; for a node: a row of its own, if it has any."""
    commitment = world.commit(1)
    manifest = Manifest.decode(world.measured.get(commitment.manifest))
    world.measured.path(manifest.segments[5].digest).unlink()
    network = world.network
    fetch = ArtefactClient(network.measure_url, network.places(world.data)).fetch
    where = commitment, SCHEMA.digest, fetch
    nodes = Nodes.decode(world.measured.get(manifest.nodes))

    def asked(accusation: Any) -> int:
        _, node, _, _, job = accusation.arguments
        return sum(nodes.job_counts[:node]) + int(job)

    assert asked(missing_row(*where)) == 5 * 4
    place = place_of_node(nodes.rows, node_key(VICTIM))
    assert place is not None
    assert asked(missing_row(*where, node_key(VICTIM))) == sum(nodes.job_counts[:place])
    assert missing_row(*where, node_key("nobody")) is None


def test_a_lie_about_others_is_theirs_to_find(world: WatchWorld) -> None:
    world.commit(1, lie="inflates-sum")
    assert [one["faults"] for one in look(world, OTHER).of("commitment")] == [[]]
    assert look(world, VICTIM).results() == ["proven"]


def test_only_its_own_reward_is_disputed(world: WatchWorld) -> None:
    world.commit(1)
    right = shares()
    world.report(1, right | {VICTIM: right[VICTIM] + COIN, OTHER: right[OTHER] - COIN})
    assert look(world, NODES[4]).results() == []
    heard = look(world, OTHER)
    [said] = heard.of("accusation")
    assert (said["kind"], said["result"]) == ("wrong_reward", "proven")
    assert node_key(OTHER).hex() in said["reason"]
    [reward] = heard.of("reward")
    assert reward["share"] - reward["amount"] == COIN


def test_a_node_without_jobs_or_reward_is_told_so(world: WatchWorld) -> None:
    world.commit(1)
    without = {name: amount for name, amount in shares().items() if name != VICTIM}
    world.report(1, without)
    [reward] = look(world, VICTIM).of("reward")
    assert (reward["amount"], reward["share"]) == (0, BUDGET * JOBS[VICTIM] // sum(JOBS.values()))
    assert "deferred" in event_text("reward", reward)
    heard = look(world, "nobody")
    assert (heard.of("commitment")[0]["jobs"], heard.of("reward")[0]["share"]) == (0, 0)
