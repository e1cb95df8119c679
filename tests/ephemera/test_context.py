"""Thresholds, members and what a statement binds."""

import pytest
from cluster import DOMAIN, EPOCH, Voice, context, keys

from meridian.ephemera.context import Context, Kind
from meridian.errors import InvalidInput
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, network_id
from meridian.primitives.keys import recover

SIZES = [*range(1, 32), 100]


@pytest.mark.parametrize("n", SIZES)
def test_two_quorums_share_a_correct_member_and_correct_members_are_a_quorum(n):
    """n >= 3f + 1; any two quorums share f + 1; n - f correct members are enough, one less is not safe."""
    made = context(n)
    f, q = made.f, made.quorum
    assert 3 * f + 1 <= n < 3 * (f + 1) + 1
    assert 2 * q - n >= f + 1
    assert 2 * (q - 1) - n < f + 1
    assert q <= made.rows_min == n - f
    assert made.amplify == f + 1


@pytest.mark.parametrize("n", [1, 4, 7, 31])
def test_every_member_leads_once_in_n_views(n):
    made = context(n)
    assert sorted(made.leader(view) for view in range(n)) == list(range(n))
    assert made.leader(n) == made.leader(0)


def test_leaders_depend_on_the_epoch():
    """Nobody can lead first in every epoch."""
    assert len({context(7, epoch).leader(0) for epoch in range(60)}) == 7


@pytest.mark.parametrize(
    "members",
    [(), (Address(b"b" * 20), Address(b"a" * 20)), (Address(b"a" * 20), Address(b"a" * 20))],
)
def test_members_must_be_strictly_ascending_and_not_empty(members):
    with pytest.raises(InvalidInput):
        Context(DOMAIN, network_id("test"), EPOCH, members)


def test_too_many_members_are_refused():
    members = tuple(Address(i.to_bytes(20, "big")) for i in range(129))
    Context(DOMAIN, network_id("test"), EPOCH, members[:128])
    with pytest.raises(InvalidInput):
        Context(DOMAIN, network_id("test"), EPOCH, members)


def test_a_signature_binds_chain_contract_network_epoch_members_kind_view_and_digest():
    """The same statement made anywhere else, or about anything else, is not signed."""
    voice = Voice(4)
    digest = bytes(range(32))
    signature = voice.sign(0, Kind.ECHO, 3, digest)
    here = voice.context
    assert here.signed(0, Kind.ECHO, 3, digest, signature)
    elsewhere = [
        Context(Domain(DOMAIN.chain_id + 1, DOMAIN.contract), here.network, EPOCH, here.members),
        Context(Domain(DOMAIN.chain_id, Address(bytes(20))), here.network, EPOCH, here.members),
        Context(DOMAIN, network_id("other"), EPOCH, here.members),
        Context(DOMAIN, here.network, EPOCH + 1, here.members),
        Context(DOMAIN, here.network, EPOCH, here.members[:3]),
    ]
    for other in elsewhere:
        assert other.digest != here.digest or other.domain != here.domain
        assert not other.signed(0, Kind.ECHO, 3, digest, signature)
    assert not here.signed(1, Kind.ECHO, 3, digest, signature)
    for kind in set(Kind) - {Kind.ECHO}:
        assert not here.signed(0, kind, 3, digest, signature)
    assert not here.signed(0, Kind.ECHO, 4, digest, signature)
    assert not here.signed(0, Kind.ECHO, 3, bytes(32), signature)


def test_every_bit_of_a_signature_counts():
    voice = Voice(4)
    signature = voice.sign(2, Kind.VOTE, 0, bytes(32))
    for bit in range(512):
        flipped = bytearray(signature)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not voice.context.signed(2, Kind.VOTE, 0, bytes(32), bytes(flipped))


def test_the_statement_is_what_recover_sees():
    voice = Voice(4)
    statement = voice.context.statement(Kind.ROW, 0, bytes(32))
    assert recover(statement, keys(4)[1].sign(statement)) == voice.context.members[1]
