"""The defects of the Rust Ephemera by its code (4.1 safety, 4.3 liveness): each against our core, with the safe end.

Which rule prevents which defect stands in docs/defects.md. What lives in HTTP, WebSocket, membership and storage is
tested in tests/node/ephemera, what lives in the Nym example in tests/nym.
"""

import pytest
from block_cluster import REALM, SETTINGS, BlockCluster, BlockVoice
from cluster import Cluster, Voice, keys

from meridian.ephemera import frame as agreement_frames
from meridian.ephemera.broadcast import frame as frames
from meridian.ephemera.broadcast.frame import Echo, Fetch, Payload, Send, Vote
from meridian.ephemera.broadcast.slot import Kind, Slot, verify_delivery
from meridian.ephemera.effects import Delivered, Misbehaviour, Persist, Rejected
from meridian.ephemera.effects import Send as SendEffect
from meridian.ephemera.evidence import verify_evidence
from meridian.ephemera.messages.block import (
    BLOCK_BYTES_MAX,
    BLOCK_CHANNEL,
    InclusionProof,
    MessageBlock,
    message_root,
    prove_inclusion,
)
from meridian.ephemera.messages.hooks import Accept, AcceptAll, Reject, RejectAndRemove
from meridian.ephemera.messages.message import DATA_BYTES_MAX
from meridian.ephemera.messages.settings import BlockSettings
from meridian.ephemera.messages.store_channel import STORE_CHANNEL
from meridian.errors import InvalidInput
from meridian.primitives import quorum
from meridian.primitives.hashing import EMPTY_TREE

LIAR = 3
BIG = BlockSettings(interval_ms=100, resend_ms=50, fetch_ms=50, sync_ms=200, slots_ahead_max=4)


# ---- 4.1 safety


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


# ---- 4.2, as far as the core is concerned (the rest: tests/node/ephemera)


def test_4_2_a_delivery_that_comes_late_stops_nobody():
    """A block that commits after everything else went on: every correct member just delivers it."""
    cluster = BlockCluster(4)
    cluster.allow = lambda a, b, kind: a != 0 or kind is not Kind.SEND
    cluster.submit(0, b"late")
    cluster.run(3_000)
    assert all(len(cluster.blocks(i, creator=1)) == 1 for i in cluster.correct)
    assert not cluster.blocks(1, creator=0)
    cluster.allow = lambda a, b, kind: True
    cluster.run(10_000, lambda: all(cluster.blocks(i, creator=0) for i in cluster.correct))
    assert cluster.all_equal()


class Remover(AcceptAll):
    """Throws away the messages of the first own block that it is asked about."""

    def __init__(self) -> None:
        self.removed = 0

    def check_block(self, block, *, own):
        if own and block.messages and not self.removed:
            self.removed = len(block.messages)
            return RejectAndRemove("too many")
        return Accept() if block.messages else Reject("empty")


def test_4_2_reject_and_remove_ends_the_block():
    """The rejected block is not broadcast all the same, its messages are gone, and the next one goes out."""
    cluster = BlockCluster(4, hooks=Remover)
    cluster.allow = lambda a, b, kind: kind is not Kind.MESSAGE
    cluster.submit(0, b"gone")
    cluster.run(500)
    assert cluster.hooks[0].removed == 1
    assert not cluster.said(0, Send)
    assert cluster.replicas[0].status().messages == 0
    kept = cluster.submit(0, b"kept")
    cluster.run(2_000, lambda: all(cluster.delivered(i) for i in cluster.correct))
    [block] = cluster.blocks(1, creator=0)
    assert (block.header.height, block.messages) == (1, (kept,))


def test_4_2_an_unsolicited_flood_is_bounded():
    """Gossip for the mempool: see D11. Payloads nobody asked for, FETCHes without end: refused within bounds."""
    cluster = BlockCluster(4, byzantine=[LIAR])
    cluster.submit(0, bytes(DATA_BYTES_MAX))
    cluster.run(2_000, lambda: bool(cluster.delivered(1)))
    slot = Slot(BLOCK_CHANNEL, 0, 1)
    digest = cluster.delivered(1)[slot]
    assert cluster.inject(LIAR, 1, Payload(slot, digest, b"x"))[0].field == "payload"
    frame, given, refused = frames.encode(Fetch(slot, digest), cluster.context.epoch), 0, 0
    for _ in range(400):
        # Not carried out: 64 MiB in one second are the bound, not what this test shall keep.
        [effect] = cluster.replicas[1].receive(cluster.context.members[LIAR], frame, cluster.now_ms)
        given += len(effect.frame) if isinstance(effect, SendEffect) else 0
        refused += isinstance(effect, Rejected)
    assert given <= 65 << 20
    assert refused > 100


# ---- 4.3 liveness and availability


def test_4_3_one_member_alone_delivers():
    """n = 1: the own statement is the quorum, and nothing else has to arrive."""
    cluster = BlockCluster(1)
    row = cluster.submit(0, b"alone")
    cluster.put(0, b"key", b"value")
    cluster.run(500)
    [block] = cluster.blocks(0)
    assert block.messages == (row,)
    assert cluster.delivered(0, STORE_CHANNEL)


@pytest.mark.parametrize("kind", [Kind.SEND, Kind.ECHO, Kind.VOTE, Kind.MESSAGE])
def test_4_3_every_frame_is_sent_again_until_it_has_arrived(kind):
    """The first 12 frames of a kind are lost: repetition repairs it."""
    cluster = BlockCluster(4)
    lost = []

    def lossy(a, b, what):
        if what is kind and len(lost) < 12:
            lost.append((a, b))
            return False
        return True

    cluster.allow = lossy
    row = cluster.submit(0, b"row")
    wanted = lambda: all(  # noqa: E731
        any(row in block.messages for block in cluster.blocks(i, creator=0)) for i in range(4)
    )
    cluster.run(20_000, wanted)
    assert lost
    assert wanted()


def test_4_3_a_member_that_was_away_gets_everything_it_missed():
    """No frame of the time when it was away is sent again; it is told its gaps and fetches them."""
    cluster = BlockCluster(4)
    cluster.down = {LIAR}
    for number in range(12):
        cluster.submit(0, b"%d" % number)
        cluster.put(1, b"key %d" % number, b"value")
        count = number + 1
        cluster.run(
            3_000,
            lambda count=count: (
                sum(len(block.messages) for block in cluster.blocks(0, creator=0)) >= count
            ),
        )
    cluster.run(3_000)
    cluster.queue.clear()
    cluster.restart(LIAR)
    equal = lambda: cluster.all_equal() and cluster.delivered(LIAR, STORE_CHANNEL)  # noqa: E731
    cluster.run(20_000, equal)
    assert equal()
    assert cluster.archives[LIAR].values == cluster.archives[0].values
    assert len(cluster.delivered(LIAR, STORE_CHANNEL)) == 12


def test_4_3_what_was_said_is_durable_and_said_again_after_a_restart():
    """All members crash between ECHO and VOTE and forget all but their disks: the block is finalised."""
    cluster = BlockCluster(4)
    cluster.allow = lambda a, b, kind: kind is not Kind.VOTE
    cluster.submit(0, b"row")
    cluster.run(400)
    slot = Slot(BLOCK_CHANNEL, 0, 1)
    before = [cluster.said(i, Echo) for i in range(4)]
    assert not cluster.delivered(0)
    cluster.queue.clear()
    for i in range(4):
        cluster.restart(i)
    cluster.allow = lambda a, b, kind: True
    cluster.run(10_000, lambda: all(slot in cluster.delivered(i) for i in range(4)))
    assert all(slot in cluster.delivered(i) for i in range(4))
    for i in range(4):
        assert set(before[i]) <= set(cluster.said(i, Echo))
        assert len({e.slot: e for e in cluster.said(i, Echo)}) == len(cluster.said(i, Echo))
        assert not cluster.guilt(i)


def test_4_3_a_restarted_member_echoes_no_second_block():
    """It echoed A, crashed, and is shown B of the same height: it says A again, never B."""
    cluster = BlockCluster(4, byzantine=[LIAR])
    cluster.allow = lambda a, b, kind: False
    a, b = (cluster.voice.block(LIAR, [cluster.message(LIAR, data)]) for data in (b"a", b"b"))
    for block in (a, b):
        cluster.tell(LIAR, cluster.voice.send(block))
        for i in cluster.correct:
            cluster.restart(i)
    cluster.allow = lambda a, b, kind: True
    cluster.run(300)
    for i in cluster.correct:
        assert {echo.digest for echo in cluster.said(i, Echo)} == {a.hash}


def test_4_3_a_message_outlives_the_member_that_took_it():
    """The mempool is memory; the message was told to the others before the answer, and they keep it."""
    cluster = BlockCluster(4)
    row = cluster.submit(0, b"row")
    cluster.run()
    cluster.down = {0}
    cluster.run(2_000, lambda: all(len(cluster.delivered(i)) == 3 for i in (1, 2, 3)))
    assert cluster.all_equal([1, 2, 3])
    assert all(row in block.messages for block in cluster.blocks(1))


def test_4_3_every_member_keeps_every_block_with_its_certificate():
    """The creator dies for good after delivery: all others hold block and proof, and give them on."""
    cluster = BlockCluster(4)
    cluster.submit(0, b"row")
    cluster.allow = lambda a, b, kind: b != LIAR
    cluster.run(2_000, lambda: all(cluster.blocks(i, creator=0) for i in (0, 1, 2)))
    cluster.down = {0}
    cluster.allow = lambda a, b, kind: True
    cluster.run(5_000, lambda: bool(cluster.blocks(LIAR, creator=0)))
    for i in (1, 2, LIAR):
        [slot] = [s for s in cluster.delivered(i) if s.sender == 0]
        _, certificate = cluster.archives[i].deliveries[slot]
        verify_delivery(cluster.context, certificate)
        assert len(certificate.votes) >= cluster.context.quorum


class OneAtATime(AcceptAll):
    """Rejects own blocks of one message: it waits for two."""

    def check_block(self, block, *, own):
        return Reject("wait") if own and len(block.messages) < 2 else Accept()


def test_4_3_a_rejected_block_takes_new_messages_the_next_time():
    """Rejected messages stay, and the next block holds them and the new ones."""
    cluster = BlockCluster(4, hooks=OneAtATime)
    first = cluster.submit(0, b"first")
    cluster.run(5 * SETTINGS.interval_ms)
    assert not cluster.said(0, Send)
    assert cluster.replicas[0].status().member_sets[0].refusal == "wait"
    second = cluster.submit(0, b"second")
    cluster.run(2_000, lambda: all(cluster.delivered(i) for i in cluster.correct))
    [block] = cluster.blocks(0, creator=0)
    assert set(block.messages) == {first, second}


def test_4_3_a_full_block_of_the_largest_messages_fits_the_frames():
    """1 MiB blocks and 256 KiB messages, byte for byte; what does not fit waits for the next block."""
    cluster = BlockCluster(4, settings=BIG)
    large = [cluster.submit(0, cluster.message(i, bytes([i]) * DATA_BYTES_MAX)) for i in range(4)]
    done = lambda: all(  # noqa: E731
        {m for b in cluster.blocks(i, creator=0) for m in b.messages} == set(large)
        for i in range(4)
    )
    cluster.run(5_000, done)
    assert done()
    sizes = [len(block.encode()) for block in cluster.blocks(0, creator=0)]
    assert len(sizes) == 2
    assert max(sizes) > 3 * DATA_BYTES_MAX
    assert max(sizes) <= BLOCK_BYTES_MAX
    overhead = sizes[0] - len(cluster.blocks(0, creator=0)[0].messages) * DATA_BYTES_MAX
    assert overhead < 1_000
    assert not [e for i in range(4) for e in cluster.rejected(i) if e.field == "size"]
    assert isinstance(cluster.effects(0, Delivered)[0].payload, bytes)
    assert not cluster.effects(0, Misbehaviour)
