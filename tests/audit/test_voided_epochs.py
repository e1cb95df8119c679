"""Audits after a verdict: what was voided proves nothing, what replaced it must stand in the digest."""

from dataclasses import replace

from audit.audit_world import World, address
from meridian.audit.epoch import verify_epoch_evidence
from meridian.audit.evidence import Link, State
from meridian.audit.measured import epoch_digest, folded
from meridian.audit.source import standing_commitments
from meridian.contracts.events import Committed, Voided
from meridian.primitives.hashing import VOID_DIGEST, tagged

EPOCH = 8


def link(world: World, name: str) -> Link:
    [found] = [one for one in verify_epoch_evidence(world.source, EPOCH) if one.name == name]
    return found


def void(world: World) -> Voided:
    """Let a verdict void the epoch's commitment."""
    event = world.chain.commitments(EPOCH)[0]
    digest = tagged(VOID_DIGEST, event.digest, event.aggregator, event.root)
    gone = Voided(EPOCH, event.aggregator, event.root, digest)
    world.chain.later_changes[EPOCH] = [gone]
    return gone


def replacement(world: World, digest: bytes) -> Committed:
    """The same commitment, made again by another aggregator after `digest`."""
    event = replace(world.chain.commitments(EPOCH)[0], aggregator=address(77))
    return replace(event, digest=epoch_digest(digest, event))


def test_an_epoch_whose_only_commitment_was_voided_has_none(world: World) -> None:
    void(world)
    found = link(world, "commitment")
    assert (found.state, "was voided, and none has replaced it" in found.detail) == (
        State.BROKEN,
        True,
    )


def test_a_replacement_stands_with_a_note_of_what_was_voided(world: World) -> None:
    gone = void(world)
    again = replacement(world, gone.digest)
    assert standing_commitments([world.chain.commitments(EPOCH)[0], gone, again]) == [again]
    assert folded(gone.digest, again) == again.digest
    world.chain.later_changes[EPOCH].append(again)
    world.chain.stored_digest[EPOCH] = again.digest
    found = link(world, "commitment")
    assert found.state is State.BROKEN
    assert "not an aggregator of the network" in found.detail
    world.chain.aggregators = (*world.chain.aggregators, again.aggregator)
    found = link(world, "commitment")
    assert found.state is State.HOLDS, found.detail
    assert any("was voided" in item for item in found.items)


def test_a_void_that_the_digest_does_not_hold_is_no_void(world: World) -> None:
    gone = void(world)
    again = replacement(world, world.chain.commitments(EPOCH)[0].digest)
    world.chain.later_changes[EPOCH].append(again)
    world.chain.stored_digest[EPOCH] = again.digest
    found = link(world, "commitment")
    assert found.state is State.BROKEN
    assert "what follows is" in found.detail
    world.chain.later_changes[EPOCH] = [replace(gone, digest=bytes(32))]
    assert link(world, "commitment").state is State.BROKEN


def test_an_agreement_of_another_term_proves_nothing(world: World) -> None:
    assert link(world, "block").state is State.HOLDS
    world.chain.terms[EPOCH] = 1
    assert link(world, "block").state is State.BROKEN


def test_the_outcome_of_a_voided_report_is_passed_over(world: World) -> None:
    stale = world.chain.reported[0].report_hash
    name = f"epochs/{EPOCH:06d}.outcome.json"
    publication = "evaluators/2/public"
    record = world.record(publication, EPOCH)
    path = world.root / publication / name
    path.write_bytes(
        path.read_bytes().replace(record.report_hash.hex().encode(), stale.hex().encode())
    )
    assert link(world, "report").state is State.BROKEN
    world.chain.void_reports[EPOCH] = [stale]
    assert link(world, "report").state is State.HOLDS
