"""Bracha's rules at their thresholds, and what happens around them: crash, lost disk, catch-up, floods."""

from dataclasses import replace

import pytest
from broadcast_cluster import NETWORK, SETTINGS, Cluster, keys_of, message_of

from meridian.ephemera.broadcast.frame import (
    Certified,
    Echo,
    Fetch,
    Frontier,
    Payload,
    Send,
    Vote,
)
from meridian.ephemera.broadcast.slot import (
    NUMBER_MAX,
    DeliveryCertificate,
    Kind,
    Slot,
    signed,
    statement,
)
from meridian.ephemera.evidence import verify_evidence
from meridian.ephemera.messages.block import BLOCK_CHANNEL, MessageBlock, make_block
from meridian.ephemera.messages.store_channel import STORE_CHANNEL, StoreEntry, entry_digest
from meridian.errors import InvalidInput, Overloaded, StorageFailure

QUIET = replace(SETTINGS, producer=False, sync_ms=1_000_000)


def payload_of(value: bytes) -> bytes:
    return StoreEntry(b"key", value, 1).encode()


def digest_of(slot: Slot, payload: bytes) -> bytes:
    del slot
    return entry_digest(payload)


def send_of(cluster: Cluster, slot: Slot, payload: bytes) -> Send:
    digest = digest_of(slot, payload)
    signature = cluster.keys[slot.sender].sign(statement(cluster.context, Kind.SEND, slot, digest))
    return Send(slot, signature, payload)


def ballot(cluster: Cluster, kind: Kind, member: int, slot: Slot, digest: bytes) -> Echo | Vote:
    signature = cluster.keys[member].sign(statement(cluster.context, kind, slot, digest))
    made = Echo if kind is Kind.ECHO else Vote
    return made(member, slot, digest, signature)


def alone(count: int) -> Cluster:
    """A cluster in which only member 0 is real; the test speaks for the others."""
    return Cluster(count, settings=QUIET, silent=tuple(range(1, count)))


def said(cluster: Cluster, index: int, kind: str) -> list[bytes]:
    """What a member persisted as its own statements of a kind."""
    return [r.value for r in cluster.nodes[index].persisted if r.kind == kind]


@pytest.mark.parametrize("count", [4, 5, 6, 7, 10, 13, 31])
def test_a_vote_needs_a_quorum_of_echoes_and_a_delivery_a_quorum_of_votes(count):
    cluster = alone(count)
    quorum = cluster.context.quorum
    slot = Slot(STORE_CHANNEL, 1, 1)
    payload = payload_of(b"v")
    digest = digest_of(slot, payload)
    cluster.give(0, 1, send_of(cluster, slot, payload))
    assert said(cluster, 0, "echo") == [digest]  # its own ECHO is the first
    for member in range(1, quorum):
        assert not said(cluster, 0, "vote"), f"voted at {member} of {quorum} echoes"
        cluster.give(0, member, ballot(cluster, Kind.ECHO, member, slot, digest))
    assert said(cluster, 0, "vote") == [digest]
    for member in range(1, quorum):
        assert slot not in cluster.nodes[0].archive.deliveries
        cluster.give(0, member, ballot(cluster, Kind.VOTE, member, slot, digest))
    assert slot in cluster.nodes[0].archive.deliveries


@pytest.mark.parametrize("count", [4, 5, 6, 7, 10, 13, 31, 100])
def test_f_plus_1_votes_are_joined_and_f_are_not(count):
    cluster = alone(count)
    slot, digest = Slot(STORE_CHANNEL, 1, 1), bytes(31) + b"\x01"
    for member in range(1, cluster.context.f + 1):
        cluster.give(0, member, ballot(cluster, Kind.VOTE, member, slot, digest))
    assert not said(cluster, 0, "vote")
    member = cluster.context.f + 1
    cluster.give(0, member, ballot(cluster, Kind.VOTE, member, slot, digest))
    assert said(cluster, 0, "vote") == [digest]


def test_a_delivery_takes_at_least_the_votes_that_bracha_asks_for():
    for count in [*range(1, 32), 100]:
        context = Cluster(1).context if count == 1 else alone(count).context
        assert context.quorum >= 2 * context.f + 1
        assert context.n - context.f >= context.quorum, "correct members alone must suffice"


def test_one_member_alone_delivers_its_own():
    cluster = Cluster(1)
    cluster.put(0, b"key", b"value")
    cluster.submit(0, message_of(cluster.keys[0]))
    cluster.pass_time(200)
    assert len(cluster.nodes[0].archive.deliveries) == 2


@pytest.mark.parametrize("count", [4, 7])
def test_every_member_delivers_every_block_with_a_certificate(count):
    cluster = Cluster(count)
    for index, key in enumerate(cluster.keys):
        cluster.submit(index, message_of(key, label=f"of {index}"))
    cluster.pass_time(400)
    first = cluster.nodes[0].archive.deliveries
    assert len(first) == count, "one block of every member"
    for node in cluster.nodes:
        assert node.archive.deliveries.keys() == first.keys()
        for creator in range(count):
            (block,) = node.blocks(creator)
            block.verify(cluster.context)
            assert len(block.messages) == count
        assert not node.rejected


def test_the_blocks_of_a_creator_are_chained_and_repeat_no_message():
    cluster = Cluster(4)
    for number in range(3):
        cluster.submit(0, message_of(cluster.keys[0], label=f"m{number}"))
        cluster.pass_time(200)
    blocks = cluster.nodes[3].blocks(0)
    assert [block.header.height for block in blocks] == [1, 2, 3]
    assert blocks[0].header.previous == cluster.context.digest
    assert [b.header.previous for b in blocks[1:]] == [b.hash for b in blocks[:-1]]
    assert [[m.label for m in block.messages] for block in blocks] == [["m0"], ["m1"], ["m2"]]
    with pytest.raises(InvalidInput) as refused:
        cluster.submit(0, message_of(cluster.keys[0], label="m1"))
    assert refused.value.field == "replay"


def test_a_second_payload_in_a_slot_is_evidence_and_not_echoed():
    cluster = alone(4)
    slot = Slot(STORE_CHANNEL, 1, 1)
    cluster.give(0, 1, send_of(cluster, slot, payload_of(b"a")))
    cluster.give(0, 1, send_of(cluster, slot, payload_of(b"b")))
    assert len(said(cluster, 0, "echo")) == 1
    (proof,) = cluster.nodes[0].evidence
    assert verify_evidence(cluster.context, proof) == verify_evidence(cluster.context, proof)
    guilt = verify_evidence(cluster.context, proof)
    assert (guilt.member, guilt.kind) == (1, "broadcast_send")


@pytest.mark.parametrize("kind", [Kind.ECHO, Kind.VOTE])
def test_a_second_ballot_is_evidence_and_does_not_count(kind):
    cluster = alone(4)
    slot = Slot(STORE_CHANNEL, 1, 1)
    first, second = digest_of(slot, payload_of(b"a")), digest_of(slot, payload_of(b"b"))
    cluster.give(0, 2, ballot(cluster, kind, 2, slot, first))
    cluster.give(0, 2, ballot(cluster, kind, 2, slot, second))
    (proof,) = cluster.nodes[0].evidence
    guilt = verify_evidence(cluster.context, proof)
    assert (guilt.member, guilt.kind) == (2, f"broadcast_{kind.name.lower()}")
    cluster.give(0, 3, ballot(cluster, kind, 3, slot, second))
    assert not said(cluster, 0, "vote"), "one vote or echo for each digest is no threshold"


@pytest.mark.parametrize("kind", [Kind.SEND, Kind.ECHO, Kind.VOTE])
def test_a_forged_statement_is_refused_and_changes_nothing(kind):
    cluster = alone(4)
    slot, payload = Slot(STORE_CHANNEL, 1, 1), payload_of(b"a")
    if kind is Kind.SEND:
        message = replace(send_of(cluster, slot, payload), signature=bytes(64))
    else:
        of_3 = ballot(cluster, kind, 3, slot, digest_of(slot, payload))
        message = replace(of_3, member=2)
    cluster.give(0, 3, message)
    assert [r.field for r in cluster.nodes[0].rejected] == ["signature"]
    assert not cluster.nodes[0].replica.status().member_sets[0].unfinished


def test_a_vote_is_no_echo_and_binds_its_slot_and_channel():
    cluster = alone(4)
    slot, digest = Slot(STORE_CHANNEL, 1, 1), bytes(32)
    vote = ballot(cluster, Kind.VOTE, 2, slot, digest)
    context = cluster.context
    assert signed(context, 2, Kind.VOTE, slot, digest, vote.signature)
    assert not signed(context, 2, Kind.ECHO, slot, digest, vote.signature)
    for other in (Slot(BLOCK_CHANNEL, 1, 1), Slot(STORE_CHANNEL, 2, 1), Slot(STORE_CHANNEL, 1, 2)):
        assert not signed(context, 2, Kind.VOTE, other, digest, vote.signature)


def test_a_certificate_with_too_few_or_forged_votes_is_refused():
    cluster = alone(4)
    slot = Slot(STORE_CHANNEL, 1, 1)
    digest = digest_of(slot, payload_of(b"a"))
    votes = tuple(
        (member, ballot(cluster, Kind.VOTE, member, slot, digest).signature) for member in (1, 2, 3)
    )
    few = DeliveryCertificate(slot, digest, votes[:2])
    echoes = tuple(
        (member, ballot(cluster, Kind.ECHO, member, slot, digest).signature) for member in (1, 2, 3)
    )
    for bad in (few, DeliveryCertificate(slot, digest, echoes)):
        cluster.give(0, 3, Certified(bad))
    fields = [r.field for r in cluster.nodes[0].rejected]
    assert fields == ["certificate.votes", "certificate.signature"]
    cluster.give(0, 3, Certified(DeliveryCertificate(slot, digest, votes)))
    assert len(cluster.nodes[0].rejected) == 2


@pytest.mark.parametrize("forgotten", ["echo", "vote", "send"])
def test_a_restart_never_says_something_else(forgotten):
    """What was said is on disk before it leaves: after a restart the other payload gets nothing."""
    cluster = alone(4)
    node, slot = cluster.nodes[0], Slot(STORE_CHANNEL, 1, 1)
    a, b = payload_of(b"a"), payload_of(b"b")
    if forgotten == "send":
        cluster.put(0, b"key", b"a")
        cluster.start(0)
        cluster.put(0, b"key", b"b")
        numbers = [r.key for r in node.persisted if r.kind == "send"]
        assert len(set(numbers)) == 2, "the second write takes the next slot"
        return
    if forgotten == "echo":
        cluster.give(0, 1, send_of(cluster, slot, a))
    else:
        for member in (1, 2):
            cluster.give(0, member, ballot(cluster, Kind.VOTE, member, slot, digest_of(slot, a)))
    before = len(said(cluster, 0, forgotten))
    assert before == 1
    cluster.start(0)
    if forgotten == "echo":
        cluster.give(0, 1, send_of(cluster, slot, b))
    else:
        for member in (1, 2, 3):
            cluster.give(0, member, ballot(cluster, Kind.VOTE, member, slot, digest_of(slot, b)))
    assert len(said(cluster, 0, forgotten)) == before


def test_the_statement_is_durable_before_it_leaves():
    """In every list of effects a SEND, ECHO or VOTE stands behind its record."""
    cluster = Cluster(4, settings=QUIET)
    order: list[tuple[str, str]] = []
    do = cluster.do

    def watched(index, effects):
        for effect in effects:
            name = type(effect).__name__
            if name == "Persist":
                order.append((effect.record.kind, "durable"))
            elif name == "Broadcast" and effect.frame[1] in (32, 33, 34):
                order.append((Kind(effect.frame[1]).name.lower(), "left"))
                assert (order[-1][0], "durable") in order[:-1]
        do(index, effects)

    cluster.do = watched
    cluster.put(0, b"key", b"value")
    assert ("vote", "left") in order


def test_a_lost_disk_observes_and_still_delivers():
    cluster = Cluster(4)
    cluster.submit(0, message_of(cluster.keys[0]))
    cluster.pass_time(300)
    node = cluster.nodes[3]
    node.disk.clear()
    node.archive.deliveries.clear()
    cluster.start(3, observer=True)
    node.persisted.clear()
    cluster.put(1, b"key", b"value")
    cluster.pass_time(2_000)
    assert node.archive.deliveries.keys() == cluster.nodes[0].archive.deliveries.keys()
    assert {record.kind for record in node.persisted} <= {"context"}
    with pytest.raises(InvalidInput, match="observes"):
        cluster.put(3, b"key", b"mine")
    cluster.start(3)
    assert cluster.nodes[3].replica.status().member_sets[0].observer, "a restart does not cure it"


def test_an_own_statement_that_is_not_remembered_makes_an_observer():
    cluster = alone(4)
    slot = Slot(STORE_CHANNEL, 1, 1)
    cluster.give(0, 1, ballot(cluster, Kind.VOTE, 0, slot, bytes(32)))
    assert cluster.nodes[0].replica.status().member_sets[0].observer
    cluster.give(0, 1, send_of(cluster, slot, payload_of(b"a")))
    assert not said(cluster, 0, "echo")


def test_records_of_another_member_set_stop_the_node():
    cluster, other = Cluster(4), Cluster(5)
    node = cluster.nodes[0]
    with pytest.raises(StorageFailure):
        node.made().open(other.context, list(node.disk.values()), 0)
    bare = [record for record in node.disk.values() if record.kind != "context"]
    cluster.put(0, b"key", b"value")
    bare = [record for record in node.persisted if record.kind != "context"]
    with pytest.raises(StorageFailure):
        node.made().open(cluster.context, bare, 0)


def test_a_member_away_for_300_slots_catches_up():
    cluster = Cluster(4, settings=replace(SETTINGS, producer=False))
    cluster.silent = {3}
    for number in range(300):
        cluster.put(number % 3, b"key %d" % (number % 5), b"%d" % number)
    cluster.silent = set()
    cluster.pass_time(3_000)
    late, early = cluster.nodes[3].archive, cluster.nodes[0].archive
    assert len(late.deliveries) == 300
    assert late.deliveries.keys() == early.deliveries.keys()
    assert late.values == early.values


@pytest.mark.parametrize("gives", [0, 1])
def test_a_liar_about_its_frontier_does_not_hold_up_who_catches_up(gives):
    """It claims to have everything again and again, and gives nothing, or one certificate for each question."""
    cluster = Cluster(4, settings=replace(SETTINGS, producer=False, sync_ms=2_000))
    cluster.silent = {3}
    for number in range(200):
        cluster.put(0, b"key", b"%d" % number)
    cluster.silent = set()
    left = [0]

    def stingy(sender, to, message):
        if (sender, to) == (3, 1) and isinstance(message, Frontier):
            left[0] = gives
        if (sender, to) == (1, 3) and isinstance(message, Certified):
            left[0] -= 1
            return left[0] < 0
        return (sender, to) == (1, 3) and not isinstance(message, Payload)

    cluster.drop = stingy
    everything = tuple((c, m, NUMBER_MAX) for c in (1, 2) for m in range(4))
    for _ in range(100):
        cluster.give(3, 1, Frontier(everything))
        cluster.pass_time(100)
    assert len(cluster.nodes[3].archive.deliveries) == 200


def test_a_dead_minority_holds_nothing_up_and_a_dead_majority_all():
    cluster = Cluster(7, silent=(5, 6))
    cluster.put(0, b"key", b"value")
    assert all(len(node.archive.deliveries) == 1 for node in cluster.nodes[:5])
    cluster = Cluster(7, silent=(4, 5, 6))
    cluster.put(0, b"key", b"value")
    cluster.pass_time(1_000)
    assert not any(node.archive.deliveries for node in cluster.nodes)
    cluster.silent = {5, 6}
    cluster.pass_time(3_000)
    assert all(len(node.archive.deliveries) == 1 for node in cluster.nodes[:5])


def test_a_partition_never_delivers_on_both_sides():
    """n is the registered number: in a split of 7 into 4 and 3 neither side has a quorum of 5."""
    cluster = Cluster(7, settings=QUIET)
    left = {0, 1, 2, 3}
    cluster.drop = lambda sender, to, _: (sender in left) != (to in left)
    cluster.put(0, b"key", b"left")
    cluster.put(6, b"key", b"right")
    cluster.pass_time(500)
    assert not any(node.archive.deliveries for node in cluster.nodes)
    cluster.drop = lambda *_: False
    cluster.pass_time(3_000)
    assert len({repr(sorted(node.archive.values.items())) for node in cluster.nodes}) == 1
    assert all(len(node.archive.deliveries) == 2 for node in cluster.nodes)


def test_frames_too_far_ahead_are_refused_and_held_payloads_are_few():
    cluster = alone(4)
    ahead = SETTINGS.slots_ahead_max
    for number in range(1, 5_000):
        slot = Slot(STORE_CHANNEL, 1, number)
        cluster.give(0, 2, ballot(cluster, Kind.ECHO, 2, slot, bytes(32)))
        if number > 40:
            break
    assert len(cluster.nodes[0].replica.status().member_sets[0].unfinished) == ahead
    assert {r.field for r in cluster.nodes[0].rejected} == {"slot"}


def test_own_writes_under_way_are_bounded():
    cluster = alone(4)
    for number in range(SETTINGS.slots_ahead_max):
        cluster.put(0, b"key", b"%d" % number)
    with pytest.raises(Overloaded):
        cluster.put(0, b"key", b"one more")


def test_a_payload_that_nobody_asked_for_is_refused():
    cluster = alone(4)
    slot, payload = Slot(STORE_CHANNEL, 1, 1), payload_of(b"a")
    cluster.give(0, 2, Payload(slot, digest_of(slot, payload), payload))
    assert [r.field for r in cluster.nodes[0].rejected] == ["payload"]


def test_a_fetch_of_something_unknown_gets_no_answer():
    cluster = alone(4)
    cluster.silent = set()
    cluster.give(0, 2, Fetch(Slot(STORE_CHANNEL, 1, 9), bytes(32)))
    assert not cluster.nodes[0].rejected


def test_a_stranger_and_oneself_are_refused():
    cluster = alone(4)
    stranger = keys_of(1, first=99)[0].address
    frame = b"\x01\x21" + bytes(200)
    replica = cluster.nodes[0].replica
    for sender in (stranger, cluster.keys[0].address):
        (effect,) = replica.receive(sender, frame[:2] + (1).to_bytes(8, "big") + bytes(110), 0)
        assert effect.field == "sender"


def test_a_block_by_an_honest_member_cannot_be_forged():
    """D5 of the original: any member could broadcast a block in another's name and crash it."""
    cluster = Cluster(4, settings=QUIET)
    block = make_block(
        cluster.context, 1, 1, cluster.context.digest, 5, [message_of(cluster.keys[2])]
    )
    slot = block.header.slot
    forged = cluster.keys[2].sign(statement(cluster.context, Kind.SEND, slot, block.hash))
    for to in (0, 1, 3):
        cluster.give(to, 2, Send(slot, forged, block.encode()))
    cluster.pass_time(300)
    assert not any(node.archive.deliveries for node in cluster.nodes)
    assert [r.field for r in cluster.nodes[1].rejected] == ["signature"]
    cluster.put(1, b"key", b"value")
    assert all(node.archive.deliveries for node in cluster.nodes), "the victim is alive"


def test_the_network_is_bound():
    assert len(NETWORK) == 32
    cluster = Cluster(4)
    block = make_block(cluster.context, 0, 1, cluster.context.digest, 1, [])
    other = MessageBlock(replace(block.header, context=bytes(32)), ())
    with pytest.raises(InvalidInput, match="another member set"):
        other.verify(cluster.context)
