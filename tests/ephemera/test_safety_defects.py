"""The defects of the Rust Ephemera by its code, section 4.1 (safety): each against our core, with the safe end.

Which rule prevents which defect stands in docs/defects.md.
"""

import pytest
from block_cluster import REALM, BlockCluster, BlockVoice
from cluster import Cluster, Voice, keys

from meridian.ephemera import frame as agreement_frames
from meridian.ephemera.broadcast import frame as frames
from meridian.ephemera.broadcast.frame import Echo, Fetch, Payload, Send, Vote
from meridian.ephemera.broadcast.slot import Kind, Slot
from meridian.ephemera.effects import Persist, Rejected
from meridian.ephemera.evidence import verify_evidence
from meridian.ephemera.messages.block import (
    BLOCK_CHANNEL,
    InclusionProof,
    MessageBlock,
    message_root,
    prove_inclusion,
)
from meridian.ephemera.messages.hooks import AcceptAll, Reject
from meridian.ephemera.messages.settings import BlockSettings
from meridian.errors import InvalidInput
from meridian.primitives import quorum
from meridian.primitives.hashing import EMPTY_TREE

LIAR = 3
BIG = BlockSettings(interval_ms=100, resend_ms=50, fetch_ms=50, sync_ms=200, slots_ahead_max=4)


@pytest.mark.parametrize("n", [4, 5])
def test_4_1_1_one_false_vote_moves_nobody(n):
    """f = 1: a single faulty VOTE made every honest node vote, past the quorum of ECHOs."""
    cluster = BlockCluster(n, byzantine=[n - 1])
    slot = Slot(BLOCK_CHANNEL, 0, 1)
    cluster.tell(n - 1, cluster.voice.vote(n - 1, slot, b"\x11" * 32))
    cluster.run(500)
    assert not [vote for i in cluster.correct for vote in cluster.said(i, Vote)]


def test_4_1_1_with_three_members_nobody_is_believed_alone():
    """n = 3 tolerates no liar, and says so: f is 0 and every VOTE of another counts as correct."""
    assert (quorum.faults_max(3), quorum.amplify(3), quorum.quorum(3)) == (0, 1, 2)


def split(n: int, liars: int) -> BlockCluster:
    """The last members lie: two blocks of one height, each shown to a half, ECHO and VOTE for both."""
    honest = n - liars
    cluster = BlockCluster(n, byzantine=range(honest, n))
    cluster.allow = lambda a, b, kind: (a < (honest + 1) // 2) == (b < (honest + 1) // 2)
    halves = [i for i in cluster.correct if i < (honest + 1) // 2], []
    halves[1].extend(i for i in cluster.correct if i not in halves[0])
    for half, data in zip(halves, (b"a", b"b"), strict=True):
        block = cluster.voice.block(n - 1, [cluster.message(n - 1, data)])
        cluster.tell(n - 1, cluster.voice.send(block), half)
        for liar in range(honest, n):
            for said in (cluster.voice.echo, cluster.voice.vote):
                cluster.tell(liar, said(liar, block.header.slot, block.hash), half)
    cluster.run(300)
    return cluster


@pytest.mark.parametrize("n", [3, 6, 9, 12])
def test_4_1_2_no_size_claims_one_fault_too_many(n):
    """f liars cannot split a committee; n // 3, which the original claimed, can: the bound is tight."""
    claimed = {tuple(cluster.items()) for cluster in delivered_by_all(split(n, n // 3))}
    assert len(claimed) == 2
    f = quorum.faults_max(n)
    assert f == n // 3 - 1
    if f:
        cluster = split(n, f)
        cluster.allow = lambda a, b, kind: True
        cluster.run(10_000)
        found = {digest for found in delivered_by_all(cluster) for digest in found.values()}
        assert len(found) <= 1


def delivered_by_all(cluster: BlockCluster) -> list[dict[Slot, bytes]]:
    return [cluster.delivered(i) for i in cluster.correct if cluster.delivered(i)]


def test_4_1_3_an_echo_of_an_honest_member_is_not_its_vote():
    """Who holds the ECHOs of all honest members can forge none of their VOTEs, nor a certificate."""
    cluster = BlockCluster(4, byzantine=[LIAR])
    cluster.allow = lambda a, b, kind: kind in {Kind.SEND, Kind.ECHO}
    cluster.submit(0, b"row")
    cluster.run(300)
    slot = Slot(BLOCK_CHANNEL, 0, 1)
    echoes = [said for _, to, said in cluster.sent if isinstance(said, Echo) and to == LIAR]
    heard = {echo.member: echo for echo in echoes if echo.slot == slot}
    assert sorted(heard) == cluster.correct
    forged = [Vote(m, slot, echo.digest, echo.signature) for m, echo in heard.items()]
    for vote in forged:
        for i in cluster.correct:
            if i != vote.member:
                [effect] = cluster.inject(LIAR, i, vote)
                assert effect.field == "signature"
    votes = tuple((m, echo.signature) for m, echo in sorted(heard.items()))
    certificate = frames.Certified(frames.DeliveryCertificate(slot, forged[0].digest, votes))
    for i in cluster.correct:
        [effect] = cluster.inject(LIAR, i, certificate)
        assert effect.field == "certificate.signature"
        assert not cluster.delivered(i)


def test_4_1_3_a_frame_of_a_stranger_is_refused_whatever_it_says():
    """The sender is the link's authenticated peer; who is not a member is not heard."""
    cluster = BlockCluster(4, byzantine=[LIAR])
    stranger = keys(7)[-1].address if keys(7)[-1].address not in cluster.context.members else None
    assert stranger is not None
    block = cluster.voice.block(LIAR, [cluster.message(LIAR, b"row")])
    for said in (
        cluster.voice.send(block),
        cluster.voice.gossip(cluster.message(LIAR, b"row")),
        Fetch(block.header.slot, block.hash),
    ):
        frame = frames.encode(said, cluster.context.epoch)
        [effect] = cluster.replicas[0].receive(stranger, frame, cluster.now_ms)
        assert isinstance(effect, Rejected)
        assert effect.field == "sender"
    agreement = Cluster(4)
    agreement.open([0])
    row = agreement_frames.encode(Voice(4).row(1, b"row"), 5)
    [effect] = agreement.replicas[0].receive(stranger, row, 0)
    assert isinstance(effect, Rejected)


def test_4_1_4_equivocation_is_kept_as_evidence_that_proves_itself():
    """Two blocks of one height: whoever sees both keeps the pair, across a restart, and tells all."""
    cluster = BlockCluster(4, byzantine=[LIAR])
    pair = [cluster.voice.block(LIAR, [cluster.message(LIAR, data)]) for data in (b"a", b"b")]
    for block in pair:
        cluster.inject(LIAR, 0, cluster.voice.send(block))
    cluster.run()
    for i in cluster.correct:
        [found] = cluster.guilt(i)
        guilt = verify_evidence(cluster.context, found.evidence)
        assert (guilt.member, guilt.kind) == (LIAR, "broadcast_send")
    cluster.restart(0)
    for block in pair:
        cluster.inject(LIAR, 0, cluster.voice.send(block))
    assert len(cluster.guilt(0)) == 1, "once, also after a restart"
    kept = [p.record.value for p in cluster.effects(0, Persist) if p.record.kind == "evidence"]
    assert kept == [cluster.guilt(0)[0].evidence]


def test_4_1_5_the_named_creator_survives_a_forgery_that_all_others_vote_for():
    """More liars than f certify a block that member 0 never made: it is taken as it is, nothing panics."""
    cluster = BlockCluster(4, byzantine=[1, 2, 3])
    forged = cluster.voice.block(0, [cluster.message(1, b"forged")])
    slot = forged.header.slot
    own = cluster.submit(0, b"own")
    for i in (1, 2, 3):
        cluster.inject(i, 0, cluster.voice.echo(i, slot, forged.hash))
    cluster.inject(1, 0, cluster.voice.certified(slot, forged.hash, [1, 2, 3]))
    cluster.inject(1, 0, Payload(slot, forged.hash, forged.encode()))
    assert cluster.delivered(0) == {slot: forged.hash}
    cluster.run(500)
    [send] = {send.slot: send for send in cluster.said(0, Send)}.values()
    assert send.slot.number == 2
    assert MessageBlock.decode(send.payload).messages == (own,)


def test_4_1_6_a_certified_block_was_judged_by_correct_members():
    """A block that no correct application accepts gets no certificate, however often it is sent."""

    class Never(AcceptAll):
        def check_block(self, block, *, own):
            return Reject("no")

    cluster = BlockCluster(4, byzantine=[LIAR], hooks=Never)
    block = cluster.voice.block(LIAR, [cluster.message(LIAR, b"row")])
    for _ in range(3):
        cluster.tell(LIAR, cluster.voice.send(block))
        for said in (cluster.voice.echo, cluster.voice.vote):
            cluster.tell(LIAR, said(LIAR, block.header.slot, block.hash))
        cluster.run(300)
    for i in cluster.correct:
        assert not cluster.said(i, Echo)
        assert not cluster.delivered(i)


def test_4_1_7_the_core_verifies_the_signature_of_every_message():
    """Submitted, gossiped or in a block: a message that its sender did not sign goes nowhere."""
    cluster = BlockCluster(4, byzantine=[LIAR])
    made = cluster.message(1, b"row")
    forged = type(made)(made.sender, made.round, 2, made.label, made.data, made.signature)
    with pytest.raises(InvalidInput, match="signature"):
        cluster.submit(0, forged)
    [effect] = cluster.inject(LIAR, 0, cluster.voice.gossip(forged))
    assert effect.field == "signature"
    [effect] = cluster.inject(LIAR, 0, cluster.voice.send(cluster.voice.block(LIAR, [forged])))
    assert effect.field == "signature"
    assert cluster.replicas[0].status().messages == 0


def test_4_1_8_a_minority_never_makes_a_quorum_of_itself():
    """Two of four, and three of seven, that see only each other: nothing, for ever."""
    for n, few in ((4, 2), (7, 3)):
        cluster = BlockCluster(n, byzantine=range(few, n))
        for i in cluster.correct:
            cluster.submit(i, b"row")
        cluster.run(3_000)
        assert not any(cluster.delivered(i) for i in cluster.correct)


def test_4_1_9_a_message_that_stands_in_a_block_is_not_taken_again():
    """Submitted again, gossiped again, or put into a later block of the same creator."""
    cluster = BlockCluster(4, byzantine=[LIAR])
    row = cluster.submit(0, b"row")
    first = cluster.voice.block(LIAR, [row])
    cluster.tell(LIAR, cluster.voice.send(first))
    cluster.run(2_000, lambda: all(len(cluster.delivered(i)) >= 4 for i in cluster.correct))
    with pytest.raises(InvalidInput, match="replay"):
        cluster.submit(0, row)
    cluster.tell(LIAR, cluster.voice.gossip(row))
    assert all(cluster.replicas[i].status().messages == 0 for i in cluster.correct)
    again = cluster.voice.block(LIAR, [row], height=2, previous=first.hash, created_ms=6)
    cluster.tell(LIAR, cluster.voice.send(again))
    cluster.run(1_000)
    for i in cluster.correct:
        assert not [echo for echo in cluster.said(i, Echo) if echo.slot == again.header.slot]
    cluster.restart(0)
    with pytest.raises(InvalidInput, match="replay"):
        cluster.submit(0, row)


def test_4_1_10_the_tree_is_one_list_of_messages_and_the_index_counts():
    """No zero root that any proof fits, no index that is ignored, no leaf that stands twice."""
    voice = BlockVoice(4)
    empty = voice.block(0, []).header
    assert empty.root == EMPTY_TREE
    for leaf in (bytes(32), b"\x01" * 32, EMPTY_TREE):
        assert not InclusionProof(leaf, 0, ()).holds(empty)
    one = voice.block(0, [voice.message(0, b"a")])
    [leaf] = one.message_hashes(REALM)
    assert InclusionProof(leaf, 0, ()).holds(one.header)
    for index in (-1, 1, 2, 1 << 40):
        assert not InclusionProof(leaf, index, ()).holds(one.header)
    three = voice.block(0, [voice.message(i, b"a") for i in range(3)])
    hashes = three.message_hashes(REALM)
    proof = prove_inclusion(hashes, 2)
    assert proof.holds(three.header)
    assert not InclusionProof(proof.message, 3, proof.path).holds(three.header)
    assert message_root([*hashes, hashes[-1]]) != three.header.root
