"""The fourteen defects of the Rust Ephemera's broadcast, D1 to D14: each attack against our core, with the safe end.

Which rule prevents which defect stands in docs/defects.md; tests/ephemera/test_defects_can_return.py breaks the rules.
D14 is an application's, and stands in tests/nym.
"""

from itertools import permutations

import pytest
from block_cluster import REALM, SETTINGS, BlockCluster, BlockVoice
from cluster import Cluster, Voice, filled, said_votes

from meridian.ephemera.broadcast import slot as slots
from meridian.ephemera.broadcast.frame import Echo, Send, Vote
from meridian.ephemera.broadcast.slot import Kind, Slot, verify_delivery
from meridian.ephemera.context import Context
from meridian.ephemera.context import Kind as AgreementKind
from meridian.ephemera.effects import Delivered, Rejected
from meridian.ephemera.evidence import verify_evidence
from meridian.ephemera.messages import block as blocks
from meridian.ephemera.messages.block import BLOCK_CHANNEL, MessageBlockHeader, prove_inclusion
from meridian.ephemera.messages.hooks import Accept, AcceptAll, Reject
from meridian.ephemera.messages.message import Realm, SignedMessage, sign_message
from meridian.ephemera.messages.settings import BlockSettings, MempoolLimits
from meridian.errors import InvalidInput, Overloaded
from meridian.evaluate.aggregate import AGGREGATES
from meridian.primitives import quorum
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, network_id

LIAR = 3


@pytest.mark.parametrize("n", [3, 6, 9, 12])
def test_D1_f_is_floor_of_n_minus_1_over_3(n):
    """With floor(n/3) two quorums shared f members and no more: all of them may lie."""
    f, q = quorum.faults_max(n), quorum.quorum(n)
    assert f == (n - 1) // 3 == n // 3 - 1
    assert n > 3 * f
    assert 2 * q - n > f
    their_f = n // 3
    assert 2 * (n - their_f) - n <= their_f
    status = BlockCluster(n, byzantine=range(1, n)).replicas[0].status().member_sets[0]
    assert (status.members, status.quorum) == (n, q)


@pytest.mark.parametrize(("n", "liars"), [(4, [3]), (7, [5, 6])])
def test_D2_amplification_needs_f_plus_1_votes(n, liars):
    """f false VOTEs for what nobody echoed move nobody; one more makes a correct member vote."""
    cluster = BlockCluster(n, byzantine=liars)
    slot, digest = Slot(BLOCK_CHANNEL, liars[0], 1), b"\x0d" * 32
    for liar in liars:
        cluster.tell(liar, cluster.voice.vote(liar, slot, digest))
    cluster.run(1_000)
    for i in cluster.correct:
        assert not cluster.said(i, Vote)
        assert not cluster.delivered(i)
    cluster.inject(1, 0, cluster.voice.vote(1, slot, digest))
    assert [vote.digest for vote in cluster.said(0, Vote)] == [digest]


def test_D3_one_echo_per_creator_and_height():
    """A creator that sends A and B at one height: one ECHO each, one block for all, and evidence."""
    cluster = BlockCluster(4, byzantine=[LIAR])
    a, b = (cluster.voice.block(LIAR, [cluster.message(LIAR, data)]) for data in (b"a", b"b"))
    slot = a.header.slot
    for block, to in ((a, [0, 1]), (b, [2])):
        cluster.tell(LIAR, cluster.voice.send(block), to)
    for block in (a, b):
        cluster.tell(LIAR, cluster.voice.send(block))
        cluster.tell(LIAR, cluster.voice.echo(LIAR, slot, block.hash))
        cluster.tell(LIAR, cluster.voice.vote(LIAR, slot, block.hash))
    cluster.run(2_000)
    for i in cluster.correct:
        assert len(cluster.said(i, Echo)) == 1
        assert len(cluster.said(i, Vote)) == 1
        assert cluster.delivered(i) == {slot: a.hash}
        proofs = [verify_evidence(cluster.context, guilt.evidence) for guilt in cluster.guilt(i)]
        assert proofs
        assert {proof.member for proof in proofs} == {LIAR}


def other_statements(voice: BlockVoice, slot: Slot, digest: bytes):
    """Statements of member 1 that differ from its VOTE in one field each."""
    context, key = voice.context, voice.keys[1]

    def said(made: Context = context, kind=Kind.VOTE, at: Slot = slot, what: bytes = digest):
        return key.sign(slots.statement(made, kind, at, what))

    domain = context.domain
    members = context.members
    yield "phase ECHO", said(kind=Kind.ECHO)
    yield "phase SEND", said(kind=Kind.SEND)
    yield "channel", said(at=Slot(2, slot.sender, slot.number))
    yield "creator", said(at=Slot(slot.channel, slot.sender + 1, slot.number))
    yield "slot", said(at=Slot(slot.channel, slot.sender, slot.number + 1))
    yield "digest", said(what=bytes(32))
    yield "epoch", said(Context(domain, context.network, context.epoch + 1, members))
    yield "network", said(Context(domain, network_id("other"), context.epoch, members))
    yield "members", said(Context(domain, context.network, context.epoch, members[:-1]))
    chain = Domain(domain.chain_id + 1, domain.contract)
    yield "chain", said(Context(chain, context.network, context.epoch, members))
    contract = Domain(domain.chain_id, Address(b"\x09" * 20))
    yield "contract", said(Context(contract, context.network, context.epoch, members))
    yield "signer", voice.keys[2].sign(slots.statement(context, Kind.VOTE, slot, digest))
    agreement = context.statement(AgreementKind.VOTE, 0, digest)
    yield "agreement", key.sign(agreement)


def test_D4_a_signature_counts_for_one_phase_sender_slot_and_epoch_only():
    """An ECHO replayed as VOTE, and a VOTE made for anything else, is refused; the real one counts."""
    cluster = BlockCluster(4, byzantine=[1, 2, 3])
    slot, digest = Slot(BLOCK_CHANNEL, 2, 1), b"\x04" * 32
    for field, signature in other_statements(cluster.voice, slot, digest):
        [effect] = cluster.inject(1, 0, Vote(1, slot, digest, signature))
        assert isinstance(effect, Rejected), field
        assert effect.field == "signature", field
    assert not cluster.unfinished(0)
    assert not cluster.inject(1, 0, cluster.voice.vote(1, slot, digest))
    assert cluster.unfinished(0) == (slot,)


def test_D4_a_certificate_of_echoes_is_no_certificate():
    """The original's Echo and Vote certificates were the same bytes."""
    voice, slot = BlockVoice(4), Slot(BLOCK_CHANNEL, 0, 1)
    verify_delivery(voice.context, voice.certified(slot, b"\x04" * 32, [0, 1, 2]).certificate)
    for kind in (Kind.ECHO, Kind.SEND):
        echoed = voice.certified(slot, b"\x04" * 32, [0, 1, 2], kind).certificate
        with pytest.raises(InvalidInput, match="signature"):
            verify_delivery(voice.context, echoed)


def test_D5_a_block_in_another_members_name_is_refused():
    """A forged block "by" an honest member reaches nobody, and does not stop that member."""
    cluster = BlockCluster(4, byzantine=[LIAR])
    forged = cluster.voice.block(0, [cluster.message(LIAR, b"forged")])
    slot = forged.header.slot
    for i in cluster.correct:
        [effect] = cluster.inject(LIAR, i, cluster.voice.send(forged, signer=LIAR))
        assert isinstance(effect, Rejected)
    for said in (cluster.voice.echo, cluster.voice.vote):
        cluster.tell(LIAR, said(LIAR, slot, forged.hash))
    wanted = cluster.submit(0, b"honest")
    cluster.run(2_000)
    assert cluster.all_equal()
    for i in cluster.correct:
        [block] = cluster.blocks(i, creator=0)
        assert block.messages == (wanted,)
        assert not cluster.guilt(i)


def test_D6_a_producer_on_a_slow_network_waits_for_its_block():
    """No second block of a height, however late the first is delivered and whatever comes in between."""
    cluster = BlockCluster(4)
    cluster.allow = lambda a, b, kind: kind is not Kind.VOTE
    first = cluster.submit(0, b"first")
    cluster.run(10 * SETTINGS.interval_ms)
    cluster.restart(0)
    second = cluster.submit(0, b"second")
    cluster.run(10 * SETTINGS.interval_ms)
    assert not cluster.delivered(0)
    sends = [send for send in cluster.said(0, Send) if send.slot.sender == 0]
    assert len(sends) == 1
    cluster.allow = lambda a, b, kind: True
    cluster.run(20_000, lambda: len(cluster.blocks(0, creator=0)) == 2)
    heights = [(block.header.height, block.messages) for block in cluster.blocks(0, creator=0)]
    assert heights == [(1, (first,)), (2, (second,))]


def test_D7_n_is_the_registered_set_and_not_the_connected_one():
    """n = 7 in two parts of 4 and 3: neither delivers or decides; healed, all do the same."""
    cluster = BlockCluster(7)
    cluster.allow = lambda a, b, kind: (a < 4) == (b < 4)
    for i in cluster.correct:
        cluster.submit(i, b"from %d" % i)
    cluster.run(5_000)
    assert not any(cluster.delivered(i) for i in cluster.correct)
    cluster.allow = lambda a, b, kind: True
    everything = lambda: all(len(cluster.blocks(i)) >= 7 for i in cluster.correct)  # noqa: E731
    cluster.run(60_000, everything)
    assert everything()
    common = set.intersection(*(set(cluster.delivered(i).items()) for i in cluster.correct))
    assert len(common) >= 7
    agreement = filled(7)
    agreement.allow = lambda a, b, kind: (a < 4) == (b < 4)
    agreement.run(5_000)
    assert not any(agreement.decided(i) for i in range(7))


def test_D8_an_odd_leaf_is_not_duplicated():
    """[a, b, c] and [a, b, c, c] had one root, so one block hash stood for two matrices."""
    voice = BlockVoice(4)
    a, b, c = (voice.message(i, b"row %d" % i) for i in range(3))
    three, four = voice.block(0, [a, b, c]), voice.block(0, [a, b, c, c])
    assert three.header.root != four.header.root
    assert three.hash != four.hash
    with pytest.raises(InvalidInput, match="one stands twice"):
        four.verify(voice.context)
    # The same header over the longer list, which is what a relay could have passed on.
    assert blocks.MessageBlock(three.header, four.messages).hash == three.hash
    with pytest.raises(InvalidInput, match="block"):
        blocks.MessageBlock(three.header, four.messages).verify(voice.context)


def test_D8_an_inner_node_is_no_leaf():
    """A node of the tree in the place of a message: its tag and the number of messages refuse it."""
    voice = BlockVoice(4)
    hashes = [voice.message(i, b"row %d" % i).hash(REALM) for i in range(4)]
    header = voice.block(0, [voice.message(i, b"row %d" % i) for i in range(4)]).header
    left, right = blocks.message_root(hashes[:2]), blocks.message_root(hashes[2:])
    assert blocks.message_root([left, right]) == header.root, "the tree itself cannot tell"
    assert not blocks.InclusionProof(left, 0, (right,)).holds(header)
    assert prove_inclusion(hashes, 0).holds(header)
    two = MessageBlockHeader(header.context, 0, 1, header.previous, 5, 2, header.root)
    assert two.hash != header.hash, "the number of messages stands in the hash"


class Judge(AcceptAll):
    """Refuses messages and blocks of others that say b"bad"; remembers what it was asked."""

    def __init__(self) -> None:
        self.messages: list[SignedMessage] = []
        self.asked: list[bool] = []

    def check_tx(self, message):
        self.messages.append(message)
        return "bad" if message.data == b"bad" else None

    def check_block(self, block, *, own):
        self.asked.append(own)
        if any(message.data == b"bad" for message in block.messages):
            return Reject("bad")
        return Accept() if block.messages else Reject("empty")


def test_D9_the_application_judges_blocks_and_messages_of_others():
    """check_tx on gossip and check_block on every block: what it refuses is neither kept nor echoed."""
    cluster = BlockCluster(4, byzantine=[LIAR], hooks=Judge)
    bad, good = cluster.message(LIAR, b"bad"), cluster.message(LIAR, b"good")
    cluster.tell(LIAR, cluster.voice.gossip(bad))
    cluster.tell(LIAR, cluster.voice.gossip(good))
    assert all(cluster.hooks[i].messages == [bad, good] for i in cluster.correct)
    assert all(cluster.replicas[i].status().messages == 1 for i in cluster.correct)
    cluster.tell(LIAR, cluster.voice.send(cluster.voice.block(LIAR, [bad])))
    cluster.run(50)
    for i in cluster.correct:
        assert cluster.hooks[i].asked
        assert not any(cluster.hooks[i].asked), "nobody made a block of its own"
        assert not [echo for echo in cluster.said(i, Echo) if echo.slot.sender == LIAR]
    # The agreement asks as well: a refused body is never echoed (test_agreement.py).


@pytest.mark.parametrize("flaw", ["unsigned", "stranger", "other network", "twice"])
def test_D9_a_block_of_unsound_messages_is_refused(flaw):
    cluster = BlockCluster(4, byzantine=[LIAR])
    sound = cluster.message(LIAR, b"row")
    made = {"number": 1, "created_ms": 1, "label": "test", "data": b"row"}
    stranger = sign_message(REALM, Voice(7).keys[-1], **made)
    assert stranger.sender not in cluster.context.members
    other = Realm(REALM.domain, network_id("other"))
    unsound = {
        "unsigned": [SignedMessage(sound.sender, 1, 1, "test", b"row", bytes(64))],
        "stranger": [stranger],
        "other network": [sign_message(other, cluster.keys[LIAR], **made)],
        "twice": [sound, sound],
    }[flaw]
    cluster.tell(LIAR, cluster.voice.send(cluster.voice.block(LIAR, unsound)))
    cluster.run(1_000)
    for i in cluster.correct:
        assert not cluster.said(i, Echo)
        # Who may send is each member's setting, so a stranger's message is no proof against the block.
        assert len(cluster.rejected(i)) == (flaw != "stranger")


def test_D10_a_flood_of_hashes_makes_nobody_forget_what_it_delivered():
    """Thousands of digests by one member: bounded state, and a delivered slot is never delivered again."""
    cluster = BlockCluster(4, byzantine=[LIAR])
    cluster.submit(0, b"once")
    cluster.run(2_000, lambda: all(cluster.delivered(i) for i in cluster.correct))
    slot = Slot(BLOCK_CHANNEL, 0, 1)
    assert slot in cluster.delivered(1)
    old = [(i, said) for i, _, said in cluster.sent if isinstance(said, Send | Echo | Vote)]
    for number in range(1, 1_002):
        ahead = Slot(BLOCK_CHANNEL, LIAR, number)
        digest = number.to_bytes(32, "big")
        signature = bytes(64) if number > 20 else cluster.voice.vote(LIAR, ahead, digest).signature
        cluster.inject(LIAR, 1, Vote(LIAR, ahead, digest, signature))
    assert len(cluster.unfinished(1)) <= SETTINGS.slots_ahead_max
    for i, said in old:
        if i != 1:
            cluster.inject(i, 1, said)
    cluster.restart(1)
    for i, said in old:
        if i != 1:
            cluster.inject(i, 1, said)
    cluster.run(1_000)
    assert len([d for d in cluster.effects(1, Delivered) if d.slot == slot]) == 1


def test_D11_one_member_cannot_fill_the_mempool():
    """2,500 messages of one member: its share and no more; the others' messages still find room."""
    limits = MempoolLimits(messages_max=40, per_sender_max=10)
    settings = BlockSettings(interval_ms=100_000, mempool=limits)
    cluster = BlockCluster(4, byzantine=[LIAR], settings=settings)
    for number in range(12):
        said = cluster.voice.gossip(cluster.message(LIAR, b"%d" % number))
        cluster.inject(LIAR, 0, said)
    sample = cluster.message(LIAR, b"x")
    for number in range(2_500):
        # Unsigned on purpose: the share is full, so nobody spends a signature check on them.
        spam = SignedMessage(sample.sender, number, 1, "spam", b"x", bytes(64))
        cluster.inject(LIAR, 0, cluster.voice.gossip(spam))
    assert cluster.replicas[0].status().messages == 10
    cluster.submit(0, b"honest")
    assert cluster.replicas[0].status().messages == 11
    for number in range(9):
        cluster.submit(0, b"honest %d" % number)
    with pytest.raises(Overloaded):
        cluster.submit(0, b"too many of mine as well")
    assert BlockSettings().mempool.messages_max == 10_000
    assert BlockSettings().mempool.bytes_max <= 64 << 20


def test_D12_the_own_vote_that_completes_a_quorum_delivers_at_once():
    """n = 4 and one silent member: the last of q votes is one's own, and nothing more has to come."""
    cluster = BlockCluster(4, byzantine=[LIAR])
    cluster.allow = lambda a, b, kind: False
    block = cluster.voice.block(1, [cluster.message(1, b"row")])
    slot = block.header.slot
    cluster.inject(1, 0, cluster.voice.send(block))
    cluster.inject(1, 0, cluster.voice.vote(1, slot, block.hash))
    effects = cluster.inject(2, 0, cluster.voice.vote(2, slot, block.hash))
    assert [effect for effect in effects if isinstance(effect, Delivered)], "by amplification"
    quiet = BlockCluster(4, byzantine=[LIAR])
    quiet.submit(0, b"row")
    quiet.run(2_000, lambda: all(quiet.delivered(i) for i in quiet.correct))
    assert quiet.all_equal()


def test_D12_in_the_agreement_too():
    """The member's own VOTE is the last of the quorum: decided in the same step."""
    voice, cluster = Voice(4), Cluster(4)
    cluster.open([0])
    digest = bytes(range(32))
    for i in (1, 2):
        cluster.inject(i, 0, voice.vote(i, 0, digest))
    for i in (1, 2):
        cluster.inject(i, 0, voice.echo(i, 0, digest))
    assert said_votes(cluster.inject(3, 0, voice.echo(3, 0, digest)), 4)
    assert cluster.replicas[0].status(5).phase == "retrieve"


@pytest.mark.parametrize("rule", sorted(AGGREGATES))
def test_D13_averages_do_not_overflow_nor_depend_on_order(rule):
    """Three times 100 is 300, which is no u8; and the rows may come in any order."""
    assert AGGREGATES[rule]([[100], [100], [100]], 3) == [100]
    rows = [[90, 10], [100, 20], [56, None], [1, 70]]
    results = {tuple(AGGREGATES[rule](list(order), 4)) for order in permutations(rows)}
    assert len(results) == 1
    assert AGGREGATES[rule]([[1 << 60]] * 3, 3) == [1 << 60]


def test_D_also_a_certificate_is_complete_and_a_row_costs_its_bytes():
    """Stored with the delivery, checkable by anybody; no JSON array of numbers around the data."""
    cluster = BlockCluster(4)
    data = bytes(range(256)) * 200
    cluster.submit(0, data)
    cluster.run(2_000, lambda: all(cluster.delivered(i) for i in cluster.correct))
    for i in cluster.correct:
        payload, certificate = cluster.archives[i].deliveries[Slot(BLOCK_CHANNEL, 0, 1)]
        verify_delivery(cluster.context, certificate)
        assert len(certificate.votes) == cluster.context.quorum
        assert len(payload) < len(data) + 512
        # A stranger who knows the members checks the very bytes.
        again = type(certificate).decode(certificate.encode())
        verify_delivery(cluster.context, again)
