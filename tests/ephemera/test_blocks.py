"""The way of a message: who may send it, what waits, when a block is made, and what the application decides."""

from dataclasses import replace

import pytest
from broadcast_cluster import REALM, SETTINGS, Cluster, context_of, keys_of, message_of

from meridian.ephemera.broadcast.frame import Echo
from meridian.ephemera.effects import Broadcast, Rejected
from meridian.ephemera.messages.hooks import Accept, AcceptAll, Reject, RejectAndRemove
from meridian.ephemera.messages.message import sign_message
from meridian.ephemera.messages.replica import BlockReplica
from meridian.ephemera.messages.settings import MempoolLimits
from meridian.errors import InvalidInput, Overloaded
from meridian.sim.broadcast_hosts import MemoryArchive


class Scripted(AcceptAll):
    """Hooks that answer what the test wrote down."""

    def __init__(self):
        self.tx = lambda _: None
        self.block = lambda block, own: Accept() if block.messages else Reject("empty")
        self.asked: list[tuple[bool, tuple[str, ...]]] = []

    def check_tx(self, message):
        return self.tx(message)

    def check_block(self, block, *, own):
        self.asked.append((own, tuple(message.label for message in block.messages)))
        return self.block(block, own)


def scripted(count=4, **changes) -> Cluster:
    return Cluster(count, settings=replace(SETTINGS, **changes), hooks=Scripted)


def test_a_message_goes_to_every_mempool_and_into_every_own_block():
    cluster = scripted()
    cluster.submit(2, message_of(cluster.keys[2]))
    assert [node.replica.status().messages for node in cluster.nodes] == [1] * 4
    cluster.pass_time(300)
    assert [node.replica.status().messages for node in cluster.nodes] == [0] * 4
    for node in cluster.nodes:
        assert all(len(node.blocks(creator)) == 1 for creator in range(4))


def test_who_makes_no_blocks_forgets_what_stands_in_another_block():
    cluster = scripted()
    cluster.nodes[3].settings = replace(SETTINGS, producer=False)
    cluster.start(3)
    cluster.submit(3, message_of(cluster.keys[3]))
    cluster.pass_time(300)
    assert cluster.nodes[3].replica.status().messages == 0
    assert not cluster.nodes[0].blocks(3)


def test_a_lost_gossip_is_told_again():
    cluster = scripted(producer=False)
    cluster.silent = {1, 2, 3}
    cluster.submit(0, message_of(cluster.keys[0]))
    cluster.silent = set()
    assert cluster.nodes[1].replica.status().messages == 0
    cluster.pass_time(200)
    assert cluster.nodes[1].replica.status().messages == 1


@pytest.mark.parametrize(
    "problem", ["stranger", "signature", "network", "duplicate", "application", "size"]
)
def test_a_bad_message_is_refused_before_the_mempool_with_its_field(problem):
    cluster = scripted(mempool=MempoolLimits(data_bytes_max=100))
    good = message_of(cluster.keys[1])
    field, bad = problem, good
    match problem:
        case "stranger":
            field, bad = "sender", message_of(keys_of(1, first=50)[0])
        case "signature":
            bad = replace(good, data=b"other")
        case "network":
            other = replace(REALM, network=bytes(32))
            field = "signature"
            bad = sign_message(other, cluster.keys[1], number=1, created_ms=5, label="l", data=b"")
        case "duplicate":
            cluster.submit(0, good)
        case "application":
            field = "message"
            cluster.nodes[0].hooks.tx = lambda _: "no such node"
        case "size":
            field, bad = "data", message_of(cluster.keys[1], data=bytes(101))
    before = cluster.nodes[0].replica.status().messages
    with pytest.raises(InvalidInput) as refused:
        cluster.submit(0, bad)
    assert refused.value.field == field
    assert cluster.nodes[0].replica.status().messages == before


def test_a_bad_message_of_a_peer_is_refused_too():
    from meridian.ephemera.broadcast.frame import Gossip

    cluster = scripted()
    stranger = message_of(keys_of(1, first=50)[0])
    cluster.give(0, 1, Gossip(stranger.encode()))
    cluster.give(0, 1, Gossip(replace(message_of(cluster.keys[1]), data=b"x").encode()))
    cluster.give(0, 1, Gossip(b"\x00" * 30))
    assert [r.field for r in cluster.nodes[0].rejected][:2] == ["sender", "signature"]
    assert len(cluster.nodes[0].rejected) == 3
    assert cluster.nodes[0].replica.status().messages == 0


def test_a_registered_client_may_send():
    client = keys_of(1, first=50)[0]
    cluster = scripted(clients=frozenset({client.address}))
    cluster.submit(0, message_of(client))
    cluster.pass_time(300)
    assert [m.sender for m in cluster.nodes[3].blocks(0)[0].messages] == [client.address]


def test_a_member_that_does_not_know_the_client_does_not_echo_but_delivers():
    """Lists of clients are settings and may differ for a while; what a quorum accepted is final for all."""
    client = keys_of(1, first=50)[0]
    cluster = scripted(clients=frozenset({client.address}), producer=False)
    for index, settings in ((0, {"producer": True}), (3, {"clients": frozenset()})):
        node = cluster.nodes[index]
        node.settings = replace(node.settings, **settings)
        cluster.start(index)
    said = []
    cluster.drop = lambda sender, to, message: said.append((sender, type(message))) or False
    cluster.submit(0, message_of(client))
    cluster.pass_time(300)
    assert (3, Echo) not in said
    assert (2, Echo) in said
    assert [len(node.blocks(0)) for node in cluster.nodes] == [1] * 4


def test_a_flood_of_one_member_fills_only_its_share():
    cluster = scripted(producer=False, mempool=MempoolLimits(messages_max=100, per_sender_max=10))
    for number in range(10):
        cluster.submit(1, message_of(cluster.keys[1], label=f"m{number}"))
    with pytest.raises(Overloaded):
        cluster.submit(1, message_of(cluster.keys[1], label="one more"))
    cluster.submit(2, message_of(cluster.keys[2]))
    assert [node.replica.status().messages for node in cluster.nodes] == [11] * 4


def test_a_message_does_not_wait_for_ever():
    cluster = scripted(producer=False, mempool=MempoolLimits(ttl_ms=500))
    cluster.submit(0, message_of(cluster.keys[0]))
    cluster.pass_time(400)
    assert cluster.nodes[0].replica.status().messages == 1
    cluster.pass_time(200)
    assert [node.replica.status().messages for node in cluster.nodes] == [0] * 4
    assert cluster.nodes[0].replica.status().expired == 1


def test_a_rejected_own_block_keeps_its_messages_and_is_tried_again_with_new_ones():
    cluster = scripted()
    for node in cluster.nodes:
        node.hooks.block = lambda block, own: (
            Accept() if len(block.messages) >= 2 else Reject("too few")
        )
    cluster.submit(0, message_of(cluster.keys[0], label="a"))
    cluster.pass_time(300)
    assert not cluster.nodes[0].blocks(0)
    assert cluster.nodes[0].replica.status().member_sets[0].refusal == "too few"
    cluster.submit(1, message_of(cluster.keys[1], label="b"))
    cluster.pass_time(300)
    (block,) = cluster.nodes[0].blocks(0)
    assert [message.label for message in block.messages] == ["a", "b"]


@pytest.mark.parametrize("which", ["all", "selected"])
def test_reject_and_remove_drops_the_messages_and_sends_nothing(which):
    """The original fell through to the broadcast after the removal, and then crashed."""
    cluster = scripted()
    bad = message_of(cluster.keys[0], label="bad")
    selected = None if which == "all" else frozenset({bad.hash(REALM)})
    for node in cluster.nodes:
        node.hooks.block = lambda block, own: (
            RejectAndRemove("bad one", selected)
            if any(message.label == "bad" for message in block.messages)
            else Accept()
            if block.messages
            else Reject("empty")
        )
    cluster.submit(0, bad)
    cluster.submit(0, message_of(cluster.keys[0], label="good"))
    cluster.pass_time(500)
    labels = [[m.label for m in block.messages] for block in cluster.nodes[1].blocks(0)]
    assert labels == ([] if which == "all" else [["good"]])
    assert cluster.nodes[0].replica.status().messages == 0


def test_the_application_is_asked_about_blocks_of_others_before_the_echo():
    """D9 of the original: voters never looked at the content."""
    cluster = scripted()
    for node in cluster.nodes[1:]:
        node.hooks.block = lambda block, own: Accept() if own and block.messages else Reject("no")
    cluster.submit(0, message_of(cluster.keys[0]))
    cluster.pass_time(600)
    assert (False, ("label",)) in cluster.nodes[1].hooks.asked
    assert not any(node.blocks(0) for node in cluster.nodes), "one of four accepts: no quorum"
    assert cluster.nodes[1].replica.status().member_sets[0].unfinished
    for node in cluster.nodes[1:]:
        node.hooks.block = lambda *_: Accept()
    cluster.pass_time(3_000)
    assert all(node.blocks(0) for node in cluster.nodes), "asked again, and accepted"


def test_a_block_takes_only_what_fits():
    cluster = scripted(block_messages_max=3)
    for number in range(7):
        cluster.submit(0, message_of(cluster.keys[0], label=f"{number}"))
    cluster.pass_time(800)
    assert [len(block.messages) for block in cluster.nodes[1].blocks(0)] == [3, 3, 1]
    cluster = scripted(block_bytes_max=1_000)
    for number in range(4):
        cluster.submit(0, message_of(cluster.keys[0], label=f"{number}", data=bytes(300)))
    cluster.pass_time(800)
    assert [len(block.messages) for block in cluster.nodes[1].blocks(0)] == [2, 2]
    assert all(len(block.encode()) <= 1_000 for block in cluster.nodes[1].blocks(0))


def test_a_producer_goes_on_with_its_unfinished_block_after_a_restart():
    cluster = scripted()
    cluster.silent = {1, 2, 3}
    cluster.submit(0, message_of(cluster.keys[0]))
    cluster.pass_time(200)
    sends = [r for r in cluster.nodes[0].persisted if r.kind == "send"]
    assert len(sends) == 1
    cluster.start(0)
    cluster.silent = set()
    cluster.pass_time(1_000)
    (block,) = cluster.nodes[3].blocks(0)
    assert block.encode() == sends[0].value
    assert len([r for r in cluster.nodes[0].persisted if r.kind == "send"]) == 1


def test_the_next_member_set_takes_over_and_the_old_one_still_finishes():
    cluster = scripted()
    cluster.silent = {3}
    cluster.submit(0, message_of(cluster.keys[0], label="old"))
    cluster.pass_time(300)
    newer = context_of([*cluster.keys[:3], keys_of(1, first=60)[0]], epoch=2)
    for index in range(3):
        node = cluster.nodes[index]
        cluster.do(index, node.replica.open(newer, [], cluster.now_ms))
        assert node.replica.epochs == (1, 2)
    with pytest.raises(InvalidInput, match="member set 2"):
        cluster.nodes[3].replica.open(newer, [], cluster.now_ms)
    effects = cluster.nodes[0].replica.submit(message_of(cluster.keys[0], label="new"), 0)
    (told,) = (effect for effect in effects if isinstance(effect, Broadcast))
    assert told.frame[2:10] == (2).to_bytes(8, "big")
    cluster.queue.clear()
    cluster.drop = lambda *_: False
    cluster.silent = set()
    node = cluster.nodes[3]
    frontier = node.replica.tick(cluster.now_ms + 10_000, 0)
    cluster.do(3, frontier)
    cluster.run()
    assert node.blocks(0), "the one who was away still gets the old set's block"


def test_a_closed_or_unknown_member_set_refuses_frames():
    cluster = scripted()
    replica = cluster.nodes[0].replica
    replica.close(1)
    frame = b"\x01\x21" + (1).to_bytes(8, "big") + bytes(110)
    (effect,) = replica.receive(cluster.keys[1].address, frame, 0)
    assert effect == Rejected(cluster.keys[1].address, "epoch", "not open")


def test_member_sets_open_at_once_are_bounded_and_of_one_network():
    keys = keys_of(4)
    context = context_of(keys)
    replica = BlockReplica(keys[0], REALM, SETTINGS, AcceptAll(), MemoryArchive(context))
    for number in range(SETTINGS.member_sets_max):
        replica.open(context_of(keys, epoch=number), [], 0)
    with pytest.raises(InvalidInput, match="are open"):
        replica.open(context_of(keys, epoch=99), [], 0)
    other = BlockReplica(
        keys[0], replace(REALM, network=bytes(32)), SETTINGS, AcceptAll(), MemoryArchive(context)
    )
    with pytest.raises(InvalidInput, match="another network"):
        other.open(context, [], 0)


def test_an_acknowledged_message_outlives_a_crash_and_leaves_no_record_behind():
    """Durable before acknowledged: the record stands before the first telling."""
    cluster = scripted(sync_ms=100)
    cluster.silent = {1, 2, 3}
    effects = cluster.nodes[0].replica.submit(message_of(cluster.keys[0]), cluster.now_ms)
    assert [type(effect).__name__ for effect in effects] == ["Persist", "Broadcast"]
    cluster.do(0, [effects[0]])  # the process dies before anything is told
    cluster.start(0)
    assert cluster.nodes[0].replica.status().messages == 1
    cluster.silent = set()
    cluster.pass_time(600)
    assert all(node.blocks(creator) for node in cluster.nodes for creator in range(4))
    assert not [kind for kind, _ in cluster.nodes[0].disk if kind == "message"]
    cluster.start(0)
    assert cluster.nodes[0].replica.status().messages == 0


def test_a_submission_that_expires_or_is_removed_leaves_no_record_either():
    cluster = scripted(producer=False, mempool=MempoolLimits(ttl_ms=300), sync_ms=50)
    cluster.submit(0, message_of(cluster.keys[0]))
    assert ("message", message_of(cluster.keys[0]).hash(REALM)) in cluster.nodes[0].disk
    cluster.pass_time(500)
    assert not [kind for kind, _ in cluster.nodes[0].disk if kind == "message"]


def test_a_submission_that_is_not_welcome_any_more_is_dropped_at_the_restart():
    client = keys_of(1, first=50)[0]
    cluster = scripted(clients=frozenset({client.address}))
    cluster.silent = {1, 2, 3}
    cluster.submit(0, message_of(client))
    cluster.nodes[0].settings = SETTINGS
    cluster.start(0)
    assert cluster.nodes[0].replica.status().messages == 0
    cluster.pass_time(300)
    assert not [kind for kind, _ in cluster.nodes[0].disk if kind == "message"]
