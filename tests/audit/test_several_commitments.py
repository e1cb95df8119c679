"""Audits where more than one commitment stands: what does not count is a note, who was not listed is named."""

from dataclasses import replace

import pytest

from audit.audit_world import SCHEMA, World, address, jobs_of
from meridian.audit.case import Case
from meridian.audit.epoch import MEASURED_STEPS
from meridian.audit.evidence import Link, State, run_steps
from meridian.audit.measured import epoch_digest
from meridian.contracts.events import Committed, SelfCommitted
from meridian.measure.columns import write_segment
from meridian.measure.epoch import Calendar
from meridian.measure.epoch_digest import fold_self
from meridian.measure.own_jobs import own_jobs
from meridian.primitives.ids import NodeKey, address_text, node_key

EPOCH, SECOND = 8, address(88)


def links_of(world: World) -> dict[str, Link]:
    return {link.name: link for link in run_steps(Case(world.source, EPOCH), MEASURED_STEPS)}


def commit_too(
    world: World, publication: str = "evaluators/4/public", **other: object
) -> Committed:
    """Let a second aggregator commit to the same jobs, some fields of which may be others."""
    manifest = replace(world.manifest(EPOCH), aggregator=SECOND, **other)
    world.point_manifest(EPOCH, world.put(publication, manifest.encode()), publication)
    event = Committed(
        EPOCH, SECOND, manifest.root, manifest.n_nodes, manifest.annotation, manifest.digest, b""
    )
    before = world.chain.history(EPOCH)[-1].digest
    event = replace(event, digest=epoch_digest(before, event))
    world.chain.later_changes.setdefault(EPOCH, []).append(event)
    world.chain.stored_digest[EPOCH] = event.digest
    world.chain.aggregators = (*world.chain.aggregators, SECOND)
    return event


def commit_itself(world: World, node: str) -> SelfCommitted:
    table = jobs_of(EPOCH)
    mine = table.filter([name == node for name in table.column("node_id").to_pylist()])
    segment = write_segment(mine.slice(1))
    world.put("evaluators/4/public", segment)
    network = world.network
    calendar = Calendar(network.genesis_s, network.epoch_seconds, network.first_epoch)
    own = own_jobs(segment, SCHEMA, calendar, EPOCH, node)
    said = (NodeKey(node_key(node)), own.tree_hash, own.annotation, own.segment)
    digest = fold_self(world.chain.history(EPOCH)[-1].digest, *said)
    event = SelfCommitted(EPOCH, *said, digest)
    world.chain.later_changes.setdefault(EPOCH, []).append(event)
    world.chain.stored_digest[EPOCH] = digest
    return event


def test_a_second_commitment_to_the_same_jobs_adds_nothing(world: World) -> None:
    commit_too(world)
    links = links_of(world)
    assert {link.state for link in links.values()} == {State.HOLDS}
    assert "48 jobs of 6 nodes, the union of 2" in links["jobs"].detail
    assert any("48 jobs, 0 counted, 48 repeated" in item for item in links["jobs"].items)


@pytest.mark.parametrize(
    ("other", "link", "reason"),
    [
        ({"root": bytes(32)}, "jobs", "root is not that of the nodes"),
        ({"schema": bytes(32)}, "manifest", "another schema than chain and schedule"),
    ],
)
def test_a_wrong_one_beside_a_right_one_does_not_count_and_is_named(
    world: World, other: dict[str, object], link: str, reason: str
) -> None:
    commit_too(world, **other)
    links = links_of(world)
    assert {one.state for one in links.values()} == {State.HOLDS}
    [item] = [item for item in links[link].items if reason in item]
    assert address_text(SECOND) in item
    assert "does not count" in item
    assert f"give root {world.manifest(EPOCH).root.hex()}" in links["jobs"].detail


def test_an_aggregator_that_does_not_list_who_had_committed_itself_is_named(world: World) -> None:
    commit_itself(world, "gamma")
    commit_too(world)
    items = links_of(world)["jobs"].items
    unlisted = [item for item in items if "does not list node" in item]
    assert [address_text(SECOND) in item for item in unlisted] == [True]
    assert any("own minus committed of gamma: jobs -1" in item for item in items)


def test_a_segment_of_its_own_that_nobody_publishes_does_not_count(world: World) -> None:
    event = commit_itself(world, "gamma")
    world.path("evaluators/4/public", event.segment).unlink()
    links = links_of(world)
    assert links["jobs"].state is State.HOLDS
    assert any("nobody publishes its segment" in item for item in links["jobs"].items)
