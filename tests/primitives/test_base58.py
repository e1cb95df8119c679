"""Base58 and the libp2p names of keys: the published keys of the Rust Ephemera, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian.errors import InvalidInput
from meridian.primitives import base58


def test_keys_and_peer_ids_are_those_of_the_rust_ephemera(shared_dir):
    lines = (shared_dir / "vectors" / "ephemera_vectors.txt").read_text().splitlines()
    published = [line.split() for line in lines if line.startswith("4XTTM")]
    assert len(published) == 5
    for text, _, _, key, peer_id in published:
        assert base58.public_key_text(bytes.fromhex(key)) == text
        assert base58.parse_public_key(text) == bytes.fromhex(key)
        assert base58.peer_id(bytes.fromhex(key)) == peer_id
    said = dict(line.rsplit(" ", 1) for line in lines[6:9])
    key = bytes.fromhex(said["RFC8032 T1 pk"])
    assert base58.public_key_text(key) == said["public_key b58"]
    assert base58.peer_id(key) == said["peer_id"]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"\0", "1"),
        (b"\0\0\x01", "112"),
        (b"Hello World!", "2NEpo7TZRRrLZSi2U"),  # draft-msporny-base58, test vectors
        (bytes.fromhex("0000287fb4cd"), "11233QC4"),
    ],
)
def test_known_texts(data, text):
    assert base58.encode(data) == text
    assert base58.decode(text) == data


@given(st.binary(max_size=64))
def test_every_byte_string_comes_back(data):
    assert base58.decode(base58.encode(data)) == data


@pytest.mark.parametrize("text", ["0", "O", "I", "l", "a b", "é", "1" * 129])
def test_what_is_no_base58_is_refused(text):
    with pytest.raises(InvalidInput):
        base58.decode(text)


def test_other_keys_are_refused():
    with pytest.raises(InvalidInput, match="33 bytes"):
        base58.public_key_text(bytes(33))
    for text in (base58.encode(bytes(36)), base58.encode(bytes.fromhex("08011220") + bytes(31))):
        with pytest.raises(InvalidInput, match="is not an Ed25519"):
            base58.parse_public_key(text)
