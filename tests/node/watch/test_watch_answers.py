"""An honest aggregator's service answers challenges by itself, from what it has published."""

from typing import Any

from watch_world import (
    AGGREGATOR,
    BOND,
    NODES,
    RESPONSE_S,
    SCHEMA,
    STAKE,
    VICTIM,
    WATCHER,
    Heard,
    WatchWorld,
)

from meridian.contracts.artefact import load
from meridian.disputes.commitment_faults import challenge_job, challenge_node
from meridian.disputes.ways import node_row_tree
from meridian.node.chain.contract import Contract
from meridian.node.chain_view import Commitment
from meridian.node.measure.answering import Answering
from meridian.node.watch.published import published_epoch
from meridian.primitives.cid import digest_of
from meridian.primitives.ids import node_key


def answering(world: WatchWorld, heard: Heard) -> Answering:
    place = world.network.contracts.commitments
    return Answering(
        commitments=Contract(world.chain, place, load("Commitments")),
        deploy_block=0,
        sender=world.sender(AGGREGATOR),
        publication=world.measured,
        schema=SCHEMA,
        on_event=heard,
        now_s=world.clock,
    )


def challenge(world: WatchWorld, commitment: Commitment, node: int, job: int | None) -> None:
    epoch = published_epoch(commitment, SCHEMA.digest, world.measured.get)
    made = challenge_node(epoch.commitment, node)
    if job is not None:
        rows = node_row_tree(epoch.node_rows, epoch.lanes)
        made = challenge_job(epoch.commitment, rows, node, job)
    world.send(WATCHER, world.contract("Disputes"), "challenge", *made.arguments, value=BOND)


def stake_and_bonds(world: WatchWorld) -> tuple[int, int]:
    stake: Any = world.view.commitments.read("aggregator", AGGREGATOR.address)[1]
    return int(stake), int(world.contract("Disputes").read("locked"))


def test_every_row_that_is_asked_for_is_shown_once(world: WatchWorld) -> None:
    first, second = world.commit(1), world.commit(2)
    heard = Heard()
    service = answering(world, heard)
    assert service.look(), "there may be challenges"
    for commitment, node, job in ((first, 0, None), (first, 4, 1), (second, 2, 0)):
        challenge(world, commitment, node, job)
    before = world.sent_by(AGGREGATOR)
    assert service.look()
    assert service.look()
    said = [(one["epoch"], one["node"], one.get("job")) for one in heard.of("answered")]
    assert said == [(1, 0, None), (1, 4, 1), (2, 2, 0)]
    assert world.sent_by(AGGREGATOR) - before == 3
    assert answering(world, heard).look(), "a service that starts again has nothing to answer"
    assert world.sent_by(AGGREGATOR) - before == 3
    assert (heard.of("unanswered"), stake_and_bonds(world)) == ([], (STAKE, 0))
    world.wait(RESPONSE_S)
    watcher = world.watcher(Heard())
    watcher.round()
    watcher.close()
    assert set(world.view.standing()) == {1, 2}


def test_a_lost_file_is_named_and_answered_from_when_it_is_back(world: WatchWorld) -> None:
    commitment = world.commit(1)
    challenge(world, commitment, 1, 0)
    objects = world.measured.root / "objects"
    [segment] = [path for path in objects.iterdir() if path.read_bytes()[:4] == b"PAR1"]
    data = segment.read_bytes()
    segment.unlink()
    heard = Heard()
    service = answering(world, heard)
    service.look()
    service.look()
    [said] = heard.of("unanswered")
    assert segment.name in said["reason"]
    world.measured.put(data)
    assert world.measured.path(digest_of(data)) == segment
    service.look()
    assert [one["job"] for one in heard.of("answered")] == [0]
    assert stake_and_bonds(world) == (STAKE, 0)


def test_what_is_too_late_is_said_and_not_sent(world: WatchWorld) -> None:
    challenge(world, world.commit(1), 1, None)
    before = world.sent_by(AGGREGATOR)
    world.wait(RESPONSE_S)
    heard = Heard()
    service = answering(world, heard)
    service.look()
    service.look()
    assert [one["reason"] for one in heard.of("unanswered")] == ["its time is over"]
    assert world.sent_by(AGGREGATOR) == before


def test_rows_that_do_not_lead_to_the_root_answer_nothing(world: WatchWorld) -> None:
    commitment = world.commit(1, lie="inflates-sum")
    challenge(world, commitment, sorted(NODES, key=node_key).index(VICTIM), 3)
    heard = Heard()
    answering(world, heard).look()
    [said] = heard.of("unanswered")
    assert "do not lead to the node's row" in said["reason"]
