"""The behaviour that the Rust Ephemera's own tests describe, where our design keeps it: walked through on our core.

Source: its unit tests of broadcast, quorum, groups, block manager and message pool (ten members where it has ten).
"""

import pytest
from block_cluster import BlockCluster
from broadcast_cluster import SETTINGS, context_of, keys_of

from meridian.ephemera.broadcast import frame as frames
from meridian.ephemera.broadcast.frame import Echo, Send, Vote
from meridian.ephemera.broadcast.slot import Kind, Slot, statement
from meridian.ephemera.effects import Delivered, Rejected
from meridian.ephemera.messages.block import BLOCK_CHANNEL
from meridian.ephemera.messages.hooks import Accept, AcceptAll, Reject, RejectAndRemove
from meridian.errors import InvalidInput


def test_ten_members_from_the_first_echo_to_the_delivery():
    """n = 10, each statement twice: ECHO on SEND, no VOTE at 6 ECHOs, VOTE at 7, no delivery at 6 VOTEs, at 7 it is."""
    cluster = BlockCluster(10, byzantine=range(1, 10))
    cluster.allow = lambda a, b, kind: a == 0
    block = cluster.voice.block(9, [cluster.message(9, b"row")])
    slot = block.header.slot

    def twice(said):
        for _ in range(2):
            cluster.inject(said.member, 0, said)

    cluster.inject(9, 0, cluster.voice.send(block))
    cluster.inject(9, 0, cluster.voice.send(block))
    assert len(cluster.said(0, Echo)) == 1
    for i in range(1, 6):
        twice(cluster.voice.echo(i, slot, block.hash))
    assert not cluster.said(0, Vote), "six ECHOs, the own one among them"
    twice(cluster.voice.echo(6, slot, block.hash))
    assert len(cluster.said(0, Vote)) == 1
    for i in range(1, 6):
        twice(cluster.voice.vote(i, slot, block.hash))
    assert not cluster.delivered(0), "six VOTEs, the own one among them"
    twice(cluster.voice.vote(6, slot, block.hash))
    assert cluster.delivered(0) == {slot: block.hash}
    for i in range(1, 10):
        twice(cluster.voice.vote(i, slot, block.hash))
    assert len(cluster.effects(0, Delivered)) == 1


@pytest.mark.parametrize(
    ("votes", "joins"), [(0, False), (2, False), (3, False), (4, True), (5, True)]
)
def test_votes_that_are_joined_among_ten(votes, joins):
    """Theirs joined at 3 = f; the points 0, 2 and 5 of their test hold, and 3 is f and not enough."""
    cluster = BlockCluster(10, byzantine=range(1, 10))
    slot = Slot(BLOCK_CHANNEL, 9, 1)
    for i in range(1, votes + 1):
        cluster.inject(i, 0, cluster.voice.vote(i, slot, bytes(32)))
    assert bool(cluster.said(0, Vote)) is joins


def test_creator_and_sender_each_must_be_a_member():
    """Their group tests: a sender or a creator that is in no snapshot is refused; ours is the registered set."""
    cluster = BlockCluster(4, byzantine=[3])
    block = cluster.voice.block(3, [])
    stranger = next(k.address for k in keys_of(9) if k.address not in cluster.context.members)
    said = cluster.voice.send(block)
    frame = frames.encode(said, cluster.context.epoch)
    [sender] = cluster.replicas[0].receive(stranger, frame, cluster.now_ms)
    [creator] = cluster.inject(3, 0, Send(Slot(BLOCK_CHANNEL, 4, 1), said.signature, said.payload))
    for effect in (sender, creator):
        assert isinstance(effect, Rejected)
        assert effect.field == "sender"


def test_a_block_stays_bound_to_the_member_set_that_it_was_made_in():
    """Their snapshot binding: votes of another set do not count for it, and both sets go on side by side."""
    cluster = BlockCluster(4, byzantine=[1, 2, 3])
    block = cluster.voice.block(1, [cluster.message(1, b"row")])
    later = context_of(keys_of(5), cluster.context.epoch + 1)
    cluster.do(0, cluster.replicas[0].open(later, [], cluster.now_ms))
    for i in (1, 2, 3):
        said = statement(later, Kind.VOTE, block.header.slot, block.hash)
        vote = Vote(i, block.header.slot, block.hash, cluster.keys[i].sign(said))
        [effect] = cluster.inject(i, 0, vote)
        assert effect.field == "signature"
    cluster.inject(1, 0, cluster.voice.send(block))
    for i in (1, 2, 3):
        cluster.inject(i, 0, cluster.voice.vote(i, block.header.slot, block.hash))
    assert cluster.delivered(0) == {block.header.slot: block.hash}


def test_the_first_own_block_has_height_1_and_the_next_one_more():
    """Their test_next_block_*; no block without messages here unless the application wants it, and no genesis."""
    cluster = BlockCluster(4)
    for number in (1, 2, 3):
        cluster.submit(0, b"%d" % number)
        cluster.run(2_000, lambda number=number: len(cluster.blocks(0, creator=0)) == number)
    assert [block.header.height for block in cluster.blocks(1, creator=0)] == [1, 2, 3]


class Waits(AcceptAll):
    """Lets no own block out before `ready`."""

    ready = False

    def check_block(self, block, *, own):
        return Accept() if self.ready and block.messages else Reject("not ready")


def test_an_own_block_that_did_not_go_out_is_made_again_with_the_new_messages():
    """Their repeat_false case: one message, then two, at the same height. Their repeat_true case is not kept."""
    cluster = BlockCluster(1, hooks=Waits)
    first = cluster.submit(0, b"one")
    cluster.run(3 * SETTINGS.interval_ms)
    second = cluster.submit(0, b"two")
    cluster.hooks[0].ready = True
    cluster.run(3 * SETTINGS.interval_ms)
    [block] = cluster.blocks(0)
    assert (block.header.height, block.messages) == (1, (first, second))


def test_while_an_own_block_is_under_way_its_height_is_repeated_as_it_is():
    """Their uncommitted block was replaced by another hash at the same height; ours is sent again, byte for byte."""
    cluster = BlockCluster(4)
    cluster.allow = lambda a, b, kind: kind is not Kind.VOTE
    cluster.submit(0, b"one")
    cluster.run(5 * SETTINGS.interval_ms)
    cluster.submit(0, b"two")
    cluster.run(5 * SETTINGS.interval_ms)
    sends = [
        said for _, _, said in cluster.sent if isinstance(said, Send) and said.slot.sender == 0
    ]
    assert len(set(sends)) == 1


def test_a_message_is_added_once_and_removed_with_its_block():
    """Their message pool and manager: duplicate, commit removes, pool empty."""
    cluster = BlockCluster(1)
    made = cluster.submit(0, b"row")
    with pytest.raises(InvalidInput, match="duplicate"):
        cluster.submit(0, made)
    assert cluster.replicas[0].status().messages == 1
    cluster.run(500)
    assert cluster.replicas[0].status().messages == 0


class Removes(AcceptAll):
    """Throws out what says b"bad", or everything."""

    everything = False

    def check_block(self, block, *, own):
        bad = {m for m in block.messages if m.data == b"bad"}
        if not bad:
            return Accept() if block.messages else Reject("empty")
        hashes = {m.hash(self.realm) for m in bad}
        return RejectAndRemove("bad", None if self.everything else frozenset(hashes))


@pytest.mark.parametrize("everything", [True, False])
def test_the_application_removes_all_messages_or_those_that_it_names(everything):
    """Their application_rejected_messages_all and _selected."""
    cluster = BlockCluster(1, hooks=Removes)
    cluster.hooks[0].everything = everything
    cluster.hooks[0].realm = cluster.realm
    good = cluster.submit(0, b"good")
    cluster.submit(0, b"bad")
    cluster.run(5 * SETTINGS.interval_ms)
    assert [block.messages for block in cluster.blocks(0)] == ([] if everything else [(good,)])
    assert cluster.replicas[0].status().messages == 0


@pytest.mark.parametrize("flaw", ["sender", "hash", "signature"])
def test_a_block_of_a_wrong_sender_hash_or_signature_is_refused(flaw):
    """Their test_reject_invalid_sender, _hash and _signature."""
    cluster = BlockCluster(4, byzantine=[2, 3])
    block = cluster.voice.block(3, [cluster.message(3, b"row")])
    good = cluster.voice.send(block)
    bad = {
        "sender": cluster.voice.send(block, signer=2),
        "hash": Send(good.slot, good.signature, good.payload[:-70] + b"x" + good.payload[-69:]),
        "signature": Send(good.slot, bytes(64), good.payload),
    }[flaw]
    [effect] = cluster.inject(3, 0, bad)
    assert isinstance(effect, Rejected)
    assert not cluster.said(0, Echo)
    cluster.inject(3, 0, good)
    assert len(cluster.said(0, Echo)) == 1
