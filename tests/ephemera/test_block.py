"""Blocks and certificates, as an auditor checks them offline."""

from dataclasses import replace

import pytest
from cluster import EPOCH, Voice
from hypothesis import given, settings
from hypothesis import strategies as st

from meridian.ephemera.block import (
    Block,
    Certificate,
    SignedHave,
    required_members,
    verify_block,
    verify_certificate,
)
from meridian.ephemera.context import Kind
from meridian.errors import InvalidInput

VOICE = Voice(4)
BODIES = {i: b"body %d" % i for i in range(4)}
BLOCK = VOICE.block(BODIES)
SIZES = [*range(1, 32), 100]


def flip(data: bytes, at: int = 0) -> bytes:
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


def swap(items: tuple, at: int, item: object) -> tuple:
    return (*items[:at], item, *items[at + 1 :])


def test_a_block_verifies_and_survives_its_bytes():
    verify_block(VOICE.context, BLOCK)
    assert Block.decode(BLOCK.encode()) == BLOCK
    assert Block.decode(BLOCK.encode()).hash == BLOCK.hash


def test_the_hash_covers_rows_and_vectors_but_no_signature():
    """Two spellings of signatures must not make two blocks."""
    row, have = BLOCK.rows[1], BLOCK.haves[1]
    other_row = replace(row, signature=flip(row.signature))
    other_have = replace(have, signature=flip(have.signature))
    assert replace(BLOCK, rows=swap(BLOCK.rows, 1, other_row)).hash == BLOCK.hash
    assert replace(BLOCK, haves=swap(BLOCK.haves, 1, other_have)).hash == BLOCK.hash
    other_opening = replace(row, opening=replace(row.opening, salt=flip(row.opening.salt)))
    assert replace(BLOCK, rows=swap(BLOCK.rows, 1, other_opening)).hash == BLOCK.hash
    moved = replace(row, digest=flip(row.digest))
    assert replace(BLOCK, rows=swap(BLOCK.rows, 1, moved)).hash != BLOCK.hash
    shorter = replace(have, entries=have.entries[:3])
    assert replace(BLOCK, haves=swap(BLOCK.haves, 1, shorter)).hash != BLOCK.hash
    assert replace(BLOCK, epoch=EPOCH + 1).hash != BLOCK.hash


@pytest.mark.parametrize("at", range(4))
def test_every_signed_field_counts(at):
    """Flip a row's commitment, opening, signature or member, or a HAVE's entry or signature: refused."""
    row, have = BLOCK.rows[at], BLOCK.haves[at]
    entry = have.entries[at]
    bad = [
        replace(BLOCK, rows=swap(BLOCK.rows, at, replace(row, digest=flip(row.digest)))),
        replace(BLOCK, rows=swap(BLOCK.rows, at, replace(row, signature=flip(row.signature, 40)))),
        *(
            replace(BLOCK, rows=swap(BLOCK.rows, at, replace(row, opening=opening)))
            for opening in (
                replace(row.opening, salt=flip(row.opening.salt)),
                replace(row.opening, row_root=flip(row.opening.row_root)),
                replace(row.opening, trace_root=flip(row.opening.trace_root)),
                BLOCK.rows[(at + 1) % 4].opening,
            )
        ),
        replace(BLOCK, rows=swap(BLOCK.rows, at, replace(row, member=4))),
        replace(BLOCK, haves=swap(BLOCK.haves, at, replace(have, member=4))),
        replace(BLOCK, haves=swap(BLOCK.haves, at, replace(have, signature=flip(have.signature)))),
        replace(
            BLOCK,
            haves=swap(
                BLOCK.haves,
                at,
                replace(have, entries=swap(have.entries, at, (entry[0], flip(entry[1])))),
            ),
        ),
        replace(BLOCK, rows=tuple(reversed(BLOCK.rows))),
        replace(BLOCK, rows=swap(BLOCK.rows, at, BLOCK.rows[(at + 1) % 4])),
        replace(BLOCK, epoch=EPOCH + 1),
    ]
    for block in bad:
        with pytest.raises(InvalidInput):
            verify_block(VOICE.context, block)


def test_a_block_of_another_epoch_or_network_is_refused():
    other = Voice(4, EPOCH + 1)
    with pytest.raises(InvalidInput):
        verify_block(other.context, replace(BLOCK, epoch=EPOCH + 1))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 10, 13])
def test_a_block_needs_n_minus_f_rows_and_haves(n):
    """Exactly n - f of each is enough, one less is not."""
    voice = Voice(n)
    least = voice.context.rows_min
    bodies = {i: b"body %d" % i for i in range(least)}
    verify_block(voice.context, voice.block(bodies, holders=range(least)))
    if least > 1:
        few = dict(list(bodies.items())[:-1])
        with pytest.raises(InvalidInput, match="needed"):
            verify_block(voice.context, voice.block(few, holders=range(least)))
        with pytest.raises(InvalidInput, match=r"block\.haves"):
            verify_block(voice.context, voice.block(bodies, holders=range(least - 1)))


@pytest.mark.parametrize("n", [4, 5, 6, 7, 10])
def test_a_row_listed_by_f_plus_1_haves_must_be_in_the_block(n):
    """At f listings a leader may leave the row out, at f + 1 it may not."""
    voice = Voice(n)
    f, victim = voice.context.f, n - 1
    bodies = {i: b"body %d" % i for i in range(n)}
    rows = {i: voice.row(i, body) for i, body in bodies.items()}
    every = [(i, row.digest) for i, row in rows.items()]
    without = every[:-1]
    base = voice.block({i: bodies[i] for i in range(n - 1)})

    def with_listings(count: int) -> Block:
        haves = [voice.have(i, every if i < count else without) for i in range(n)]
        signed = tuple(
            replace(base.haves[i], entries=h.entries, signature=h.signature)
            for i, h in enumerate(haves)
        )
        return replace(base, haves=signed)

    verify_block(voice.context, with_listings(f))
    assert required_members(voice.context, with_listings(f + 1).haves) >= {victim}
    with pytest.raises(InvalidInput, match=f"leaves out member {victim}"):
        verify_block(voice.context, with_listings(f + 1))


def with_haves(voice: Voice, block: Block, lists: list[list[tuple[int, bytes]]]) -> Block:
    haves = [voice.have(i, entries) for i, entries in enumerate(lists)]
    return replace(block, haves=tuple(SignedHave(h.member, h.entries, h.signature) for h in haves))


@pytest.mark.parametrize("n", [4, 5, 6, 7, 10])
def test_a_row_listed_by_f_haves_may_not_be_in_the_block(n):
    """At f listings no correct member need have had its commitment in time."""
    voice = Voice(n)
    f, late = voice.context.f, n - 1
    block = voice.block({i: b"body %d" % i for i in range(n)})
    every = [(row.member, row.digest) for row in block.rows]
    for count in range(f + 2):
        lists = [every if i < count else every[:-1] for i in range(n)]
        if count > f:
            verify_block(voice.context, with_haves(voice, block, lists))
            continue
        with pytest.raises(InvalidInput, match=f"member {late} that the HAVEs do not admit"):
            verify_block(voice.context, with_haves(voice, block, lists))


def test_rows_that_are_listed_too_seldom_fill_a_block_up_to_n_minus_f():
    """Of seven, five HAVEs agree on four rows, and each names one more: any of these makes the fifth, and no sixth."""
    voice = Voice(7)
    every = voice.block({i: b"body %d" % i for i in range(7)})
    entries = [(row.member, row.digest) for row in every.rows]
    lists = [[*entries[:4], entries[4 + i % 3]] for i in range(5)]
    for last in (4, 5, 6):
        rows = (*every.rows[:4], every.rows[last])
        verify_block(voice.context, with_haves(voice, replace(every, rows=rows), lists))
    for rows in (every.rows, every.rows[:6], (*every.rows[:3], *every.rows[4:6])):
        with pytest.raises(InvalidInput, match=r"do not admit|leaves out"):
            verify_block(voice.context, with_haves(voice, replace(every, rows=rows), lists))
    unheard = [[*entries[:4], entries[4]] for _ in range(5)]
    rows = (*every.rows[:4], every.rows[5])
    with pytest.raises(InvalidInput, match="leaves out member 4"):
        verify_block(voice.context, with_haves(voice, replace(every, rows=rows), unheard))


def test_two_versions_of_one_row_are_counted_apart():
    """f listings of each of two digests demand nothing: no correct member need hold either body."""
    voice = Voice(4)
    first, second = voice.row(3, b"first"), voice.row(3, b"second")
    rest = [(i, voice.row(i, b"body %d" % i).digest) for i in range(3)]
    vectors = [[*rest, (3, first.digest)], [*rest, (3, second.digest)], rest]
    base = voice.block({i: b"body %d" % i for i in range(3)}, holders=range(3))
    haves = [voice.have(i, entries) for i, entries in enumerate(vectors)]
    signed = tuple(
        replace(base.haves[i], entries=h.entries, signature=h.signature)
        for i, h in enumerate(haves)
    )
    verify_block(voice.context, replace(base, haves=signed))


@pytest.mark.parametrize("n", SIZES)
def test_a_certificate_needs_a_quorum(n):
    """A quorum of votes proves a decision, one less does not."""
    voice = Voice(n)
    q = voice.context.quorum
    digest = bytes(range(32))
    votes = voice.certificate(Kind.VOTE, 3, digest, range(n - q, n))
    verify_certificate(voice.context, votes)
    assert Certificate.decode(votes.encode()) == votes
    with pytest.raises(InvalidInput):
        verify_certificate(voice.context, replace(votes, votes=votes.votes[1:]))


def test_a_certificate_of_echoes_proves_no_decision():
    """An ECHO certificate must not pass as a VOTE certificate (Ephemera defect D4)."""
    echoes = VOICE.certificate(Kind.ECHO, 0, BLOCK.hash, [0, 1, 2])
    verify_certificate(VOICE.context, echoes, Kind.ECHO)
    with pytest.raises(InvalidInput):
        verify_certificate(VOICE.context, echoes)


def test_every_field_of_a_certificate_counts():
    votes = VOICE.certificate(Kind.VOTE, 2, BLOCK.hash, [0, 1, 3])
    member, signature = votes.votes[1]
    bad = [
        replace(votes, view=3),
        replace(votes, block_hash=flip(votes.block_hash)),
        replace(votes, votes=swap(votes.votes, 1, (member, flip(signature)))),
        replace(votes, votes=swap(votes.votes, 1, (2, signature))),
        replace(votes, votes=swap(votes.votes, 1, votes.votes[0])),
        replace(votes, votes=swap(votes.votes, 2, (4, signature))),
        replace(votes, votes=tuple(reversed(votes.votes))),
    ]
    for certificate in bad:
        with pytest.raises(InvalidInput):
            verify_certificate(VOICE.context, certificate)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 2000))
def test_decoding_garbage_raises_nothing_but_invalid_input(data, at):
    encoded = BLOCK.encode()
    for attempt in (data, encoded[: at % len(encoded)] + data):
        for decode in (Block.decode, Certificate.decode):
            try:
                value = decode(attempt)
            except InvalidInput:
                continue
            assert value.encode() == attempt
