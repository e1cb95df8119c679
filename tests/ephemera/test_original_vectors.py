"""The vectors of the Rust Ephemera: what we keep gives its values, and what we do not keep gives others, with the reason.

Decision record 15 says why. The file was computed from the original's rules; nothing in it is secret.
"""

import hashlib
import json
import re

import pytest
from block_cluster import REALM, BlockVoice
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from meridian.ephemera.messages.block import MessageBlock, message_root
from meridian.ephemera.messages.message import SignedMessage
from meridian.errors import InvalidInput
from meridian.evaluate.aggregate import mean
from meridian.node.link_identity import link_identity
from meridian.nym.rows import SCALE, Row, aggregate
from meridian.primitives import base58, quorum
from meridian.primitives.hashing import EMPTY_TREE, MESSAGE_NODE, tagged

RFC8032_SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
"""Secret key of test 1 of RFC 8032 section 7.1, as published there."""


@pytest.fixture(scope="module")
def lines(shared_dir) -> list[str]:
    path = shared_dir / "vectors" / "ephemera_vectors.txt"
    if not path.is_file():
        pytest.skip(f"no {path.name} in {shared_dir.name}/vectors")
    return path.read_text().splitlines()


def value(lines: list[str], name: str) -> str:
    [line] = [line for line in lines if line.startswith(name)]
    return line[len(name) :].strip()


def blake2b(*parts: bytes) -> bytes:
    return hashlib.blake2b(b"".join(parts), digest_size=32).digest()


def their_root(leaves: list[bytes]) -> bytes:
    """The original's tree: an odd node is doubled, and neither leaf nor node has a prefix."""
    level = leaves or [bytes(32)]
    while len(level) > 1:
        level = [*level, *level[-1:]] if len(level) % 2 else level
        level = [blake2b(level[i], level[i + 1]) for i in range(0, len(level), 2)]
    return level[0]


# ---- kept


def test_public_keys_and_peer_ids_are_the_originals(lines):
    """The five published keys: 36 bytes of protobuf in base58, and their peer ids; both ways."""
    published = [line.split() for line in lines if line.startswith("4XTTM")]
    assert len(published) == 5
    for text, size, prefix, key, peer in published:
        raw = bytes.fromhex(key)
        protobuf = base58.decode(text)
        assert (len(protobuf), protobuf[:4].hex(), protobuf[4:]) == (int(size), prefix, raw)
        assert base58.public_key_text(raw) == text
        assert base58.parse_public_key(text) == raw
        assert base58.peer_id(raw) == peer


def test_the_link_key_of_rfc_8032_has_the_originals_names(lines):
    """From a seed to the names of the key, as a node makes its own."""
    identity = link_identity(RFC8032_SEED)
    assert identity.link_key.hex() == value(lines, "RFC8032 T1 pk")
    assert base58.public_key_text(identity.link_key) == value(lines, "public_key b58")
    assert base58.peer_id(identity.link_key) == value(lines, "peer_id")


def test_f_is_the_correct_column_of_the_quorum_table(lines):
    """Last column: (n - 1) // 3. Their f, where it is another, is one too many."""
    rows = [[int(x) for x in line.split()] for line in lines if re.fullmatch(r"\d+( \d+){5}", line)]
    assert [row[0] for row in rows] == list(range(1, 14))
    for n, theirs, _, _, _, correct in rows:
        assert quorum.faults_max(n) == correct
        assert theirs - correct == (1 if n % 3 == 0 else 0)


def test_averages_are_the_true_means(lines):
    """At scale 10^-6, rounded down; the u8 sum of the original is named beside each."""
    cases = [line for line in lines if "true mean" in line]
    assert len(cases) == 6
    for line in cases:
        readings = json.loads(line[: line.index("]") + 1])
        release, true = re.fullmatch(r"\[.*\] release: (\d+) true mean ([\d.]+)", line).groups()
        [ours] = mean([[reading * SCALE] for reading in readings], len(readings))
        assert ours == sum(readings) * SCALE // len(readings)
        assert abs(ours - float(true) * SCALE) < 1
        assert int(release) == sum(readings) % 256 // len(readings)
        rows = [Row(1, ((0, reading * SCALE),)) for reading in readings]
        [nym] = aggregate("mean", rows, mixnodes=1, apis=len(rows))
        assert nym == ours


# ---- not kept


def test_not_kept_thresholds(lines):
    """ECHO and VOTE at n - f of connected members, amplification at f: ours are q of registered ones, and f + 1."""
    rows = [[int(x) for x in line.split()] for line in lines if re.fullmatch(r"\d+( \d+){5}", line)]
    for n, theirs, echo, amplify, deliver, _ in rows:
        assert echo == deliver == n - theirs
        assert amplify == theirs
        assert quorum.amplify(n) > amplify or n % 3 == 0
        assert quorum.quorum(n) <= n - quorum.faults_max(n)
        if n % 3 == 0:
            assert 2 * echo - n <= theirs, "two of their quorums share no correct member"
        assert 2 * quorum.quorum(n) - n > quorum.faults_max(n)


def test_not_kept_signatures_over_json(lines):
    """Ed25519 over compact JSON: the vector holds by the original's rule; it is no signature of ours."""
    signed = value(lines, "raw json").encode()
    signature = bytes.fromhex(value(lines, "sig hex"))
    assert base58.encode(signature) == value(lines, "sig b58")
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(value(lines, "RFC8032 T1 pk")))
    key.verify(signature, signed)
    said = json.loads(signed)
    member = BlockVoice(4).keys[0].address
    theirs = SignedMessage(
        member, 0, said["timestamp"], said["label"], bytes(said["data"]), signature
    )
    with pytest.raises(InvalidInput, match="signature"):
        theirs.verify(REALM)
    # Three bytes of data: 7 characters of JSON; at 100,000 bytes the difference is 3.6 to 1.
    data = bytes(range(256)) * 100
    assert len(json.dumps(list(data), separators=(",", ":"))) > 3.5 * len(data)
    ours = BlockVoice(4).message(0, data)
    assert len(ours.encode()) < len(data) + 200


def test_not_kept_message_and_block_hashes(lines):
    """BLAKE2b over JSON, certificates included: a message signed twice had two hashes. Ours is one."""
    message_hash = value(lines, "msg json len").split()[4]
    header, header_hash = value(lines, "header json"), value(lines, "header hash")
    assert blake2b(header.encode()).hex() == header_hash
    for count, root in ((0, "00" * 32), (1, message_hash)):
        line = value(lines, f"{count} msgs" if count == 0 else "1 msg")
        their_hash = re.search(r"block hash hex (\w+)", line).group(1)
        assert blake2b(bytes.fromhex(header_hash), bytes.fromhex(root)).hex() == their_hash
        ours = [BlockVoice(4).message(i, bytes([1, 2, 3])) for i in range(count)]
        block = BlockVoice(4).block(0, ours, created_ms=1_684_000_000_002)
        assert block.hash.hex() != their_hash
    made = BlockVoice(4).message(0, bytes([1, 2, 3]))
    again = SignedMessage(
        made.sender, made.round, made.created_ms, made.label, made.data, bytes(64)
    )
    assert made.hash(REALM) == again.hash(REALM), "a hash that no signature is part of"


def test_not_kept_trees_with_a_doubled_leaf(lines):
    """Their roots follow by their rule, and [a, b, c] is [a, b, c, c]; ours differ from two leaves on."""
    for count in range(6):
        leaves = [blake2b(bytes([i])) for i in range(count)]
        said = value(lines, f"merkle root of blake2b256(0x00..) n={count}")
        assert their_root(leaves).hex() == said
        if count != 1:
            assert message_root(leaves).hex() != said
    leaves = [blake2b(bytes([i])) for i in range(3)]
    assert their_root(leaves) == their_root([*leaves, leaves[2]])
    assert message_root(leaves) != message_root([*leaves, leaves[2]])
    assert message_root([]) == EMPTY_TREE
    assert message_root(leaves[:2]) == tagged(MESSAGE_NODE, *leaves[:2])
    assert their_root([]) == bytes(32), "any block without messages held the message of hash zero"


def test_not_kept_blocks_as_json():
    """Ours are bytes with one spelling."""
    block = BlockVoice(4).block(0, [BlockVoice(4).message(0, b"row")])
    assert MessageBlock.decode(block.encode()) == block
    with pytest.raises(InvalidInput):
        MessageBlock.decode(block.encode() + b" ")
    with pytest.raises(InvalidInput):
        MessageBlock.decode(b'{"header":{"timestamp":1684000000002}}')
