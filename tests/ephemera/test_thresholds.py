"""Every threshold at its value and one below, for 1 to 31 members and 100: agreement and broadcast.

One real member hears statements of the others, one by one. What is counted are members, so signatures are modelled: a
statement of a member is signed if it carries that member's index. Real signatures stand in the other tests.
"""

import pytest
from block_cluster import BlockCluster
from cluster import EPOCH, Cluster, Voice, filled, said_votes

from meridian.ephemera import frame as agreement_frames
from meridian.ephemera.broadcast.frame import Send
from meridian.ephemera.broadcast.slot import Kind, Slot
from meridian.ephemera.context import Context
from meridian.ephemera.context import Kind as AgreementKind
from meridian.ephemera.effects import Broadcast, Delivered
from meridian.ephemera.message import Decision, Wish
from meridian.ephemera.messages.store_channel import STORE_CHANNEL, StoreEntry, entry_digest
from meridian.primitives import quorum
from meridian.primitives.keys import PrivateKey

SIZES = [*range(1, 32), 100]
"""n."""
PAIRS = [n for n in SIZES if n > 1]
"""Where there is another member to hear."""
CROWDS = [n for n in SIZES if quorum.quorum(n) < n]
"""Where others alone can be a quorum."""
PAYLOAD = StoreEntry(b"key", b"value", 1).encode()
DIGEST = entry_digest(PAYLOAD)


@pytest.fixture(autouse=True)
def modelled_signatures(monkeypatch):
    monkeypatch.setattr(PrivateKey, "sign", lambda key, digest: key.address + bytes(44))
    monkeypatch.setattr("meridian.ephemera.broadcast.slot.signed", model)
    monkeypatch.setattr("meridian.ephemera.broadcast.broadcaster.signed", model)
    monkeypatch.setattr(Context, "signed", model)


def model(context: Context, member: int, *statement: object) -> bool:
    return statement[-1] == context.members[member] + bytes(44)


def others(n: int) -> list[int]:
    return list(range(1, n))


def alone(n: int) -> tuple[BlockCluster, Slot]:
    """Member 0 among n, and a slot of member n - 1."""
    cluster = BlockCluster(n, byzantine=range(1, n))
    cluster.allow = lambda a, b, kind: False
    return cluster, Slot(STORE_CHANNEL, n - 1, 1)


def votes_of(cluster: BlockCluster) -> int:
    """VOTEs that member 0 has made durable."""
    return sum(1 for kind, _ in cluster.disks[0] if kind == "vote")


@pytest.mark.parametrize("n", PAIRS)
def test_broadcast_a_quorum_of_echoes_makes_a_vote(n):
    """q ECHOs, the own one among them; q - 1 make nothing."""
    cluster, slot = alone(n)
    voice, q = cluster.voice, cluster.context.quorum
    cluster.inject(n - 1, 0, Send(slot, voice.sign(n - 1, Kind.SEND, slot, DIGEST), PAYLOAD))
    for i in others(n)[: q - 2]:
        cluster.inject(i, 0, voice.echo(i, slot, DIGEST))
    assert votes_of(cluster) == 0
    last = others(n)[q - 2]
    cluster.inject(last, 0, voice.echo(last, slot, DIGEST))
    assert votes_of(cluster) == 1


@pytest.mark.parametrize("n", PAIRS)
def test_broadcast_f_plus_1_votes_are_amplified(n):
    """f VOTEs make nothing, one more makes the own VOTE."""
    cluster, slot = alone(n)
    voice = cluster.voice
    least = voice.context.amplify
    for i in others(n)[: least - 1]:
        cluster.inject(i, 0, voice.vote(i, slot, DIGEST))
    assert votes_of(cluster) == 0
    last = others(n)[least - 1]
    cluster.inject(last, 0, voice.vote(last, slot, DIGEST))
    assert votes_of(cluster) == 1


@pytest.mark.parametrize("n", PAIRS)
def test_broadcast_a_quorum_of_votes_delivers(n):
    """q VOTEs, the own one among them, and q >= 2f + 1; q - 1 deliver nothing."""
    cluster, slot = alone(n)
    voice = cluster.voice
    q = voice.context.quorum
    assert q >= 2 * voice.context.f + 1
    # With the payload at hand, so that votes are all that is missing.
    cluster.inject(n - 1, 0, Send(slot, voice.sign(n - 1, Kind.SEND, slot, DIGEST), PAYLOAD))
    for i in others(n)[: q - 2]:
        cluster.inject(i, 0, voice.vote(i, slot, DIGEST))
    assert not cluster.effects(0, Delivered)
    last = others(n)[q - 2]
    cluster.inject(last, 0, voice.vote(last, slot, DIGEST))
    [delivered] = cluster.effects(0, Delivered)
    assert len(delivered.certificate.votes) == q


def test_one_member_is_its_own_quorum():
    """n = 1: all thresholds are 1."""
    cluster, _ = alone(1)
    cluster.put(0, b"key", b"value")
    assert cluster.effects(0, Delivered)
    agreement = filled(1)
    agreement.run(until_ms=0)
    assert agreement.decided(0)


def member_of_agreement(n: int) -> tuple[Cluster, Voice]:
    """Member 0 among n."""
    cluster = Cluster(n)
    cluster.open([0])
    cluster.allow = lambda a, b, kind: False
    return cluster, Voice(n)


@pytest.mark.parametrize("n", CROWDS)
def test_agreement_a_quorum_of_echoes_makes_a_vote(n):
    """q ECHOs; q - 1 make nothing."""
    cluster, voice = member_of_agreement(n)
    q = voice.context.quorum
    for i in others(n)[: q - 1]:
        assert not said_votes(cluster.inject(i, 0, voice.echo(i, 0, DIGEST)), n)
    last = others(n)[q - 1]
    assert len(said_votes(cluster.inject(last, 0, voice.echo(last, 0, DIGEST)), n)) == 1


@pytest.mark.parametrize("n", CROWDS)
def test_agreement_a_quorum_of_votes_decides_and_none_is_amplified(n):
    """q VOTEs of others decide; q - 1 neither decide nor make a VOTE, for a VOTE without a lock binds nobody."""
    cluster, voice = member_of_agreement(n)
    q = voice.context.quorum
    for i in others(n)[: q - 1]:
        assert not said_votes(cluster.inject(i, 0, voice.vote(i, 0, DIGEST)), n)
    assert cluster.replicas[0].status(EPOCH).phase == "collect"
    last = others(n)[q - 1]
    cluster.inject(last, 0, voice.vote(last, 0, DIGEST))
    assert cluster.replicas[0].status(EPOCH).phase == "retrieve"


@pytest.mark.parametrize("n", PAIRS)
def test_agreement_f_plus_1_wishes_are_joined_and_a_quorum_enters(n):
    """f wishes move nobody, f + 1 make the own wish; the view is entered with q wishes, the own one among them."""
    cluster, voice = member_of_agreement(n)
    least, q = voice.context.amplify, voice.context.quorum
    wished = 0
    for count, i in enumerate(others(n)[: max(least, q - 1)], 1):
        effects = cluster.inject(i, 0, voice.wish(i, 1))
        wished += len(own_wishes(effects, voice))
        assert wished == (count >= least)
        own = 1 if count >= least else 0
        assert cluster.replicas[0].status(EPOCH).view == (1 if count + own >= q else 0)
    assert cluster.replicas[0].status(EPOCH).view == 1


def own_wishes(effects: list, voice: Voice) -> list[Wish]:
    frames = [effect.frame for effect in effects if isinstance(effect, Broadcast)]
    said = [agreement_frames.decode(frame, voice.context) for frame in frames]
    return [wish for wish in said if isinstance(wish, Wish) and wish.member == 0]


@pytest.mark.parametrize("n", PAIRS)
def test_agreement_certificates_need_a_quorum(n):
    """DECIDED with q VOTEs is believed, with q - 1 refused."""
    cluster, voice = member_of_agreement(n)
    q = voice.context.quorum
    votes = voice.certificate(AgreementKind.VOTE, 0, DIGEST, range(n - q, n))
    few = voice.certificate(AgreementKind.VOTE, 0, DIGEST, range(n - q + 1, n))
    assert cluster.inject(1, 0, Decision(few))[0].field.startswith("certificate")
    assert cluster.replicas[0].status(EPOCH).phase == "collect"
    cluster.inject(1, 0, Decision(votes))
    assert cluster.replicas[0].status(EPOCH).phase == "retrieve"
