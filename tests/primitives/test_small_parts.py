"""Identifiers, codec, artefact encodings, keys, EIP-712, quorums and amounts."""

import sys

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from meridian.errors import InvalidInput
from meridian.primitives import amounts, cid, dagcbor, hashing, ids, quorum
from meridian.primitives.codec import Reader, Writer
from meridian.primitives.eip712 import Domain, StructType, digest
from meridian.primitives.keys import PrivateKey, recover, signed_by

KEY = PrivateKey(bytes.fromhex("4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"))


def test_the_domain_tags_are_all_different():
    tags = [
        value
        for name, value in vars(hashing).items()
        if name.isupper() and type(value) is int and name[0] != "_" and name != "DIGEST_BYTES"
    ]
    assert len(set(tags)) == len(tags) >= 52
    assert all(0 <= tag < 256 for tag in tags)


def test_an_address_has_one_text_form_whatever_case_it_came_in():
    text = "0x2C7536E3605D9C16a7a3D7b1898e529396a65c23"
    assert (
        ids.address_text(ids.parse_address(text)) == text.lower() == ids.address_text(KEY.address)
    )


@pytest.mark.parametrize(
    "text", ["", "0x12", "2c7536e3605d9c16a7a3d7b1898e529396a65c23", "0x" + "g" * 40]
)
def test_what_is_not_an_address_is_refused_with_the_name_of_the_field(text):
    with pytest.raises(InvalidInput, match="payee"):
        ids.parse_address(text, "payee")


@given(
    st.integers(0, 2**8 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**128 - 1),
    st.binary(max_size=40),
)
def test_codec_reads_back_what_it_wrote_and_refuses_any_other_length(a, b, c, blob):
    data = Writer().u8(a).u64(b).u128(c).blob(blob).fixed(b"xyz", 3).bytes()
    reader = Reader(data)
    assert (reader.u8(), reader.u64(), reader.u128(), reader.blob(), reader.fixed(3)) == (
        a,
        b,
        c,
        blob,
        b"xyz",
    )
    reader.finish()
    for broken in (data[:-1], data + b"\0"):
        with pytest.raises(InvalidInput):
            r = Reader(broken)
            r.u8(), r.u64(), r.u128(), r.blob(), r.fixed(3)
            r.finish()


def test_a_length_prefix_beyond_the_limit_is_refused_before_reading():
    with pytest.raises(InvalidInput, match="limit"):
        Reader(b"\xff\xff\xff\xff").blob(limit=100)


@pytest.mark.parametrize(
    "data",
    [
        b"\xa2\x61b\x01\x61a\x02",
        b"\x18\x01",
        b"\xa2\x61a\x01\x61a\x02",
        b"\xfb\x3f\xf0\0\0\0\0\0\0",
        b"\x01\x02",
        b"",
    ],
)
def test_non_canonical_cbor_is_refused(data):
    """Unordered keys, a long integer, a double key, a float, trailing bytes, nothing."""
    with pytest.raises(InvalidInput):
        dagcbor.decode(data)


def test_artefacts_round_trip_and_refuse_floats():
    value = {"a": [1, None, True, b"\x00", "ü"], "b": {"c": 2**64 - 1}}
    assert dagcbor.decode(dagcbor.encode(value)) == value
    with pytest.raises(InvalidInput):
        dagcbor.encode({"a": 0.5})


@pytest.mark.parametrize(
    "data",
    [b"\x81" * 10**6, b"\xa1\x61a" * 10**6, b"\xd8\x2a" * 10**6, b"\x81" * 65 + b"\x00"],
    ids=["lists", "maps", "tags", "just too deep"],
)
def test_deep_nesting_is_refused_before_it_can_exhaust_the_stack(data):
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)  # as libraries of the transaction signer leave it
    try:
        with pytest.raises(InvalidInput, match="nested"):
            dagcbor.decode(data)
    finally:
        sys.setrecursionlimit(before)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(0, 2**64 - 1) | st.binary() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=30,
    )
)
def test_every_artefact_value_comes_back_as_it_was(value):
    assert dagcbor.decode(dagcbor.encode(value)) == value


def test_cid_is_the_known_one_and_only_its_canonical_text_is_read():
    text = cid.cid_text(cid.digest_of(b"hello world"))
    assert text == "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
    assert cid.parse_cid(text) == (cid.RAW, cid.digest_of(b"hello world"))
    for broken in (text.upper(), text[:-1], "z" + text[1:], text + "a", ""):
        with pytest.raises(InvalidInput):
            cid.parse_cid(broken)


def test_the_typed_data_digest_equals_that_of_eth_account():
    domain = Domain(chain_id=31337, contract=ids.Address(bytes(range(20))))
    kind = StructType(
        "Report",
        (("network", "bytes32"), ("epoch", "uint64"), ("who", "address"), ("total", "uint128")),
    )
    ours = digest(domain, kind.hash(b"\x07" * 32, 9, KEY.address, 2**100))
    message = encode_typed_data(
        {
            "name": "Meridian",
            "version": "1",
            "chainId": 31337,
            "verifyingContract": "0x" + bytes(range(20)).hex(),
        },
        {"Report": [{"name": n, "type": t} for n, t in kind.fields]},
        {"network": b"\x07" * 32, "epoch": 9, "who": "0x" + KEY.address.hex(), "total": 2**100},
    )
    signed = Account.from_key(KEY.secret).sign_message(message)
    assert recover(ours, KEY.sign(ours)) == KEY.address
    assert bytes(signed.message_hash) == ours


@pytest.mark.parametrize(
    ("values", "field"),
    [((b"\0" * 31, 1), "network"), ((b"\0" * 32, -1), "epoch"), ((b"\0" * 32, 2**64), "epoch")],
)
def test_a_value_of_the_wrong_type_names_its_field(values, field):
    kind = StructType("T", (("network", "bytes32"), ("epoch", "uint64")))
    with pytest.raises(InvalidInput, match=field):
        kind.hash(*values)


@given(st.binary(min_size=32, max_size=32), st.integers(0, 511))
def test_a_flipped_bit_of_a_signature_is_not_the_signers(message, bit):
    signature = bytearray(KEY.sign(message))
    assert signed_by(message, bytes(signature), KEY.address)
    signature[bit // 8] ^= 1 << bit % 8
    assert not signed_by(message, bytes(signature), KEY.address)


def test_the_high_s_twin_of_a_signature_is_refused():
    message = bytes(32)
    signature = KEY.sign(message)
    order = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
    packed = int.from_bytes(signature[32:], "big")
    s, parity = packed & ((1 << 255) - 1), packed >> 255
    twin = (
        signature[:32] + ((order - s) | ((parity ^ 1) << 255)).to_bytes(32, "big")
        if (order - s) < 1 << 255
        else b""
    )
    assert twin == b"" or not signed_by(message, twin, KEY.address)


def test_a_private_key_never_prints_its_secret():
    assert KEY.secret.hex() not in repr(KEY)
    with pytest.raises(InvalidInput):
        PrivateKey(bytes(32))


@pytest.mark.parametrize("n", [*range(1, 32), 100])
def test_two_quorums_share_a_correct_member_and_correct_members_alone_make_one(n):
    f, q = quorum.faults_max(n), quorum.quorum(n)
    assert n >= 3 * f + 1 > n - 3
    assert 2 * q - n >= f + 1
    assert 2 * (q - 1) - n < f + 1
    assert q <= n - f
    assert quorum.amplify(n) == f + 1
    assert quorum.deliver(n) == 2 * f + 1


@given(st.lists(st.integers(0, 2**90), min_size=1, max_size=30), st.integers(0, 10**24))
def test_money_is_split_exactly_and_fairly(weights, total):
    parts = amounts.largest_remainder(weights, total)
    whole = sum(weights)
    assert sum(parts) == (total if whole else 0)
    if whole:
        assert all(
            0 <= part - total * w // whole <= 1 for part, w in zip(parts, weights, strict=True)
        )


def test_remainders_that_tie_go_to_the_earlier_id():
    assert amounts.largest_remainder([1, 1, 1], 5) == [2, 2, 1]
    assert amounts.proportions([1, 1, 1]) == [
        "0.333333333333333334",
        "0.333333333333333333",
        "0.333333333333333333",
    ]
    assert amounts.proportions([0, 2]) == ["0.000000000000000000", "1.000000000000000000"]


@pytest.mark.parametrize(
    ("text", "atto"), [("2000", 2000 * 10**18), ("0.1", 10**17), ("0.000000000000000001", 1)]
)
def test_amounts_in_fil_are_exact_decimals(text, atto):
    assert amounts.parse_fil(text) == atto
    assert amounts.format_fil(atto) == text


@pytest.mark.parametrize("text", ["", "-1", "1e3", "0.0000000000000000001", "1,5", ".5", "NaN"])
def test_amounts_that_are_not_exact_decimals_are_refused(text):
    with pytest.raises(InvalidInput):
        amounts.parse_fil(text)
