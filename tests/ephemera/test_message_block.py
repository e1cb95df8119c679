"""Signed messages, blocks of them, and proofs that a message is in a block."""

import itertools
from dataclasses import replace

import coincurve
import pytest
from cluster import context, keys
from coincurve._libsecp256k1 import ffi
from hypothesis import given
from hypothesis import strategies as st

from meridian.ephemera.broadcast.slot import NUMBER_MAX, Slot
from meridian.ephemera.messages.block import (
    BLOCK_BYTES_MAX,
    BLOCK_CHANNEL,
    HEADER_BYTES,
    MESSAGES_MAX,
    InclusionProof,
    MessageBlock,
    MessageBlockHeader,
    make_block,
    message_root,
    prove_inclusion,
)
from meridian.ephemera.messages.message import (
    DATA_BYTES_MAX,
    LABEL_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    ROUND_MAX,
    Realm,
    SignedMessage,
    sign_message,
)
from meridian.errors import InvalidInput
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey

CONTEXT = context(4)
REALM = Realm(CONTEXT.domain, CONTEXT.network)
KEYS = keys(4)
SIZES = range(1, 18)

LABELS = st.text(st.characters(codec="utf-8"), max_size=LABEL_BYTES_MAX // 4)
NUMBERS = st.integers(0, ROUND_MAX)
DRAFTS = st.builds(
    SignedMessage,
    st.binary(min_size=20, max_size=20).map(Address),
    NUMBERS,
    NUMBERS,
    LABELS,
    st.binary(max_size=60),
    st.binary(min_size=64, max_size=64),
)


def message(data: bytes, member: int = 0, label: str = "label") -> SignedMessage:
    return sign_message(REALM, KEYS[member], number=1, created_ms=5, label=label, data=data)


def leaves(count: int) -> list[bytes]:
    return [sha256(b"leaf", bytes((at,))) for at in range(count)]


def header(count: int, root: bytes) -> MessageBlockHeader:
    return MessageBlockHeader(CONTEXT.digest, 1, 1, CONTEXT.digest, 9, count, root)


def block_of(*messages: SignedMessage) -> MessageBlock:
    return make_block(CONTEXT, 1, 3, bytes(32), 9, messages)


# ---------------------------------------------------------------------------------------- messages


@given(DRAFTS)
def test_a_message_has_one_spelling(draft):
    data = draft.encode()
    again = SignedMessage.decode(data)
    assert (again, again.signature) == (draft, draft.signature)
    for other in (data[:-1], data + b"\x00", b""):
        with pytest.raises(InvalidInput):
            SignedMessage.decode(other)


@given(DRAFTS, st.data())
def test_a_changed_bit_is_another_message_or_none(draft, choice):
    data = bytearray(draft.encode())
    at = choice.draw(st.integers(0, 8 * len(data) - 1))
    data[at // 8] ^= 1 << at % 8
    try:
        other = SignedMessage.decode(bytes(data))
    except InvalidInput:
        return
    assert other.encode() == data
    assert (other, other.signature) != (draft, draft.signature)


def test_a_signature_binds_everything():
    good = message(b"data")
    good.verify(REALM)
    domain = REALM.domain
    changed_messages = (
        replace(good, sender=KEYS[1].address),
        replace(good, round=2),
        replace(good, created_ms=6),
        replace(good, label="labem"),
        replace(good, data=b"datb"),
        replace(good, label="", data=b"labeldata"),
    )
    changed_realms = (
        replace(REALM, network=bytes(32)),
        replace(REALM, domain=replace(domain, chain_id=domain.chain_id + 1)),
        replace(REALM, domain=replace(domain, contract=Address(bytes(20)))),
        replace(REALM, domain=replace(domain, version="2")),
    )
    cases = [(m, REALM) for m in changed_messages] + [(good, realm) for realm in changed_realms]
    for changed, realm in cases:
        with pytest.raises(InvalidInput, match="signature"):
            changed.verify(realm)
    hashes = {good.hash(REALM), *(changed.hash(realm) for changed, realm in cases)}
    assert len(hashes) == 1 + len(cases)


def test_a_second_signature_under_one_content_is_the_same_message():
    good = message(b"data")
    other = replace(good, signature=bytes(64))
    assert other.hash(REALM) == good.hash(REALM)
    assert other == good
    with pytest.raises(InvalidInput):
        other.verify(REALM)


def test_the_hash_of_a_message_is_that_of_its_statement_under_its_tag():
    good = message(b"data")
    assert good.hash(REALM) == sha256(b"\x1a" + good.statement(REALM))


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("sender", {"sender": Address(bytes(19))}),
        ("round", {"round": ROUND_MAX + 1}),
        ("round", {"round": -1}),
        ("created", {"created_ms": ROUND_MAX + 1}),
        ("label", {"label": "l" * (LABEL_BYTES_MAX + 1)}),
        ("label", {"label": "\u00e9" * (LABEL_BYTES_MAX // 2) + "l"}),
        ("label", {"label": "\ud800"}),
        ("data", {"data": bytes(DATA_BYTES_MAX + 1)}),
        ("signature", {"signature": bytes(65)}),
    ],
)
def test_a_message_beyond_its_limits_is_refused_with_the_field(field, changes):
    with pytest.raises(InvalidInput) as refusal:
        replace(message(b"data"), **changes)
    assert refusal.value.field == field


def test_the_largest_message_passes():
    label, data = "l" * LABEL_BYTES_MAX, bytes(DATA_BYTES_MAX)
    largest = SignedMessage(KEYS[0].address, ROUND_MAX, ROUND_MAX, label, data, bytes(64))
    assert len(largest.encode()) == MESSAGE_BYTES_MAX
    assert SignedMessage.decode(largest.encode()) == largest


def test_a_label_that_is_not_utf8_is_refused():
    data = message(b"data", label="ab").encode()
    at = data.index(b"ab")
    with pytest.raises(InvalidInput, match="UTF-8"):
        SignedMessage.decode(data[:at] + b"\xff\xfe" + data[at + 2 :])


# ----------------------------------------------------------------------------------- the tree alone


@pytest.mark.parametrize("count", SIZES)
def test_every_message_of_a_block_has_a_proof_that_holds_only_there(count):
    hashes = leaves(count)
    top = header(count, message_root(hashes))
    for index in range(count):
        proof = prove_inclusion(hashes, index)
        assert proof.holds(top)
        for other in range(-1, count + 1):
            if other != index:
                assert not replace(proof, index=other).holds(top)
        for other in hashes[:index] + hashes[index + 1 :]:
            assert not replace(proof, message=other).holds(top)
        for path in wrong_paths(proof.path):
            assert not replace(proof, path=path).holds(top)
        assert not proof.holds(replace(top, root=bytes(32)))


def wrong_paths(path):
    yield (*path, bytes(32))
    yield (bytes(32), *path)
    for at, node in enumerate(path):
        yield path[:at] + path[at + 1 :]
        yield (*path[:at], node[:-1] + bytes((node[-1] ^ 1,)), *path[at + 1 :])
        yield (*path[:at], node[:-1], *path[at + 1 :])
    if len(path) > 1:
        yield path[::-1]


def sides(index: int, count: int) -> list[bool]:
    """From the leaf to the root: whether the sibling stands on the left."""
    if count == 1:
        return []
    middle = 1 << ((count - 1).bit_length() - 1)
    if index < middle:
        return [*sides(index, middle), False]
    return [*sides(index - middle, count - middle), True]


@pytest.mark.parametrize("count", SIZES)
def test_a_wrong_count_is_refused_unless_the_leaf_stands_in_the_same_place(count):
    """A path does not depend on every count (leaf 0 of 3 and of 4): the count stands under the block hash."""
    hashes = leaves(count)
    root = message_root(hashes)
    for index, other in itertools.product(range(count), range(count + 2)):
        same_place = index < other and sides(index, other) == sides(index, count)
        assert prove_inclusion(hashes, index).holds(header(other, root)) is same_place
        assert (header(other, root).hash == header(count, root).hash) is (other == count)


def test_an_odd_last_message_is_not_duplicated():
    """CVE-2012-2459: with duplication [a, b, c] and [a, b, c, c] would have one root."""
    for count in range(1, 17, 2):
        hashes = leaves(count)
        assert message_root(hashes) != message_root([*hashes, hashes[-1]])
    assert len({message_root(leaves(count)) for count in range(18)}) == 18
    a, b, c = leaves(3)
    assert message_root([a, b, c]) == sha256(b"\x1b", sha256(b"\x1b", a, b), c)
    assert message_root([]) == sha256(b"")


def test_there_is_no_proof_for_what_is_not_there():
    for index in (-1, 3):
        with pytest.raises(InvalidInput):
            prove_inclusion(leaves(3), index)
    assert not InclusionProof(leaves(1)[0], 0, ()).holds(header(0, message_root([])))


def test_an_inner_node_is_no_message():
    """The tags of leaf and node differ, so a node cannot be shown as a message of a smaller tree."""
    a, b = message(b"a").hash(REALM), message(b"b").hash(REALM)
    inner = message_root([a, b])
    assert inner == sha256(b"\x1b" + a + b)
    top = header(4, message_root([a, b, *leaves(2)]))
    assert not InclusionProof(inner, 0, (message_root(leaves(2)),)).holds(top)


# ------------------------------------------------------------------------------------------ blocks


@given(st.lists(DRAFTS, max_size=4), st.integers(1, NUMBER_MAX), NUMBERS)
def test_a_block_has_one_spelling(drafts, height, created_ms):
    block = make_block(CONTEXT, 3, height, sha256(b"before"), created_ms, drafts)
    data = block.encode()
    again = MessageBlock.decode(data)
    assert (again, again.hash, again.encode()) == (block, block.hash, data)
    assert MessageBlockHeader.decode(data[:HEADER_BYTES]) == block.header
    assert block.hash == sha256(b"\x1c" + data[:HEADER_BYTES])
    assert block.header.slot == Slot(BLOCK_CHANNEL, 3, height)
    for other in (data[:-1], data + b"\x00", data[: HEADER_BYTES - 1]):
        with pytest.raises(InvalidInput):
            MessageBlock.decode(other)


def test_a_block_of_signed_messages_verifies_and_any_changed_byte_does_not():
    block = block_of(message(b"a"), message(b"b", 1), message(b"c", 2))
    block.verify(CONTEXT)
    data = block.encode()
    free = range(
        2 + 32, HEADER_BYTES - 36
    )  # creator, height, previous, time: under the block hash alone
    for at in range(len(data)):
        changed = data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]
        try:
            other = MessageBlock.decode(changed)
            other.verify(CONTEXT)
        except InvalidInput:
            continue
        assert at in free
        assert other.hash != block.hash


@pytest.mark.parametrize(
    ("field", "spoil"),
    [
        ("block.context", lambda b: replace(b, header=replace(b.header, context=bytes(32)))),
        ("block.creator", lambda b: replace(b, header=replace(b.header, creator=4))),
        ("block.root", lambda b: replace(b, header=replace(b.header, root=bytes(32)))),
        ("block.root", lambda b: replace(b, header=replace(b.header, count=1))),
        ("block.root", lambda b: replace(b, messages=b.messages[::-1])),
        ("block.root", lambda b: replace(b, messages=b.messages[:1])),
        ("block.messages", lambda b: block_of(*b.messages, b.messages[0])),
        ("block.messages", lambda b: block_of(b.messages[1], b.messages[1])),
        ("signature", lambda b: block_of(replace(b.messages[0], signature=bytes(64)))),
    ],
)
def test_what_does_not_hold_together_is_refused(field, spoil):
    block = spoil(block_of(message(b"a"), message(b"b", 1)))
    with pytest.raises(InvalidInput) as refusal:
        block.verify(CONTEXT)
    assert refusal.value.field == field


def second_signature(key: PrivateKey, digest: bytes) -> bytes:
    """A valid signature of the key over the digest with another nonce than that of RFC 6979."""
    nonce = (ffi.NULL, ffi.new("unsigned char[32]", bytes(31) + b"\x01"))
    raw = coincurve.PrivateKey(key.secret).sign_recoverable(digest, hasher=None, custom_nonce=nonce)
    return raw[:32] + bytes((raw[32] | raw[64] << 7,)) + raw[33:64]


def test_a_duplicate_under_a_second_signature_is_the_same_message():
    one = message(b"a")
    twin = replace(one, signature=second_signature(KEYS[0], one.statement(REALM)))
    assert twin.signature != one.signature
    twin.verify(REALM)
    assert block_of(twin).hash == block_of(one).hash
    with pytest.raises(InvalidInput, match="twice"):
        block_of(one, twin).verify(CONTEXT)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("block.height", {"height": 0}),
        ("block.height", {"height": NUMBER_MAX + 1}),
        ("block.created", {"created_ms": NUMBER_MAX + 1}),
        ("block.count", {"count": MESSAGES_MAX + 1}),
    ],
)
def test_a_header_beyond_its_limits_is_refused(field, changes):
    """Heights and times fit the signed integers of every database."""
    with pytest.raises(InvalidInput) as refusal:
        MessageBlockHeader.decode(replace(header(0, message_root([])), **changes).encode())
    assert refusal.value.field == field


def test_the_largest_block_passes_and_one_byte_more_does_not():
    rest = BLOCK_BYTES_MAX - HEADER_BYTES
    size = rest // 4 - 4 - len(message(b"").encode())
    drafts = [replace(message(b""), data=bytes(size), created_ms=at) for at in range(4)]
    gap = rest - 4 * (4 + len(drafts[0].encode()))
    drafts[3] = replace(drafts[3], data=bytes(size + gap))
    largest = block_of(*drafts)
    assert len(largest.encode()) == BLOCK_BYTES_MAX
    assert MessageBlock.decode(largest.encode()) == largest
    drafts[3] = replace(drafts[3], data=bytes(size + gap + 1))
    with pytest.raises(InvalidInput, match="block"):
        MessageBlock.decode(block_of(*drafts).encode())


def test_a_block_proves_each_of_its_messages():
    block = block_of(*(message(bytes((at,)), at % 4) for at in range(5)))
    hashes = block.message_hashes(REALM)
    proofs = [prove_inclusion(hashes, index) for index in range(5)]
    assert all(proof.holds(block.header) for proof in proofs)
    other = block_of(*block.messages[:4])
    assert not any(proof.holds(other.header) for proof in proofs)
