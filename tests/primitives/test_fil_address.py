"""Filecoin's forms of EVM accounts, against the vectors of FIP-0055 and lotus."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian.errors import InvalidInput
from meridian.primitives.fil_address import (
    CALIBRATION,
    MAINNET,
    account_text,
    fil_text,
    parse_account,
)
from meridian.primitives.ids import Address, address_text

KNOWN = {
    # The example of FIP-0055's text, and a contract's well-known address.
    "0x0000000000000000000000000000000000000000": "f410faaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaonc6iji",
    "0xd388ab098ed3e84c0d808776440b48f685198498": "f410f2oekwcmo2pueydmaq53eic2i62crtbeyuzx2gmy",
    "0xff00000000000000000000000000000000000001": "f01",
    "0xff000000000000000000000000000000ffffffff": "f04294967295",
}


@pytest.mark.parametrize(("plain", "text"), KNOWN.items())
def test_known_addresses(plain, text):
    account = parse_account(plain)
    assert fil_text(account) == text
    assert parse_account(text) == account
    assert fil_text(account, CALIBRATION) == "t" + text[1:]
    assert parse_account("t" + text[1:]) == account


@given(st.binary(min_size=20, max_size=20))
def test_every_account_comes_back(raw):
    account = Address(raw)
    assert parse_account(fil_text(account)) == account
    assert parse_account(address_text(account)) == account


@given(st.binary(min_size=20, max_size=20), st.integers(0, 38), st.sampled_from("abz27"))
def test_a_changed_digit_is_refused(raw, place, digit):
    text = "f410f" + fil_text(Address(b"\x01" + raw[1:]))[5:]
    changed = text[: 5 + place] + digit + text[6 + place :]
    if changed != text:
        with pytest.raises(InvalidInput, match="checksum"):
            parse_account(changed, "payee")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "f1abjxfbp274xpdqcpuaykwkfb43omjotacm2p3za",
        "f410f",
        "f410F2oekwcmo2pueydmaq53eic2i62crtbeyuzx2gmy",
        "f00123",
        "f0-1",
        f"f0{1 << 64}",
        "0x12",
        "f410f2oekwcmo2pueydmaq53eic2i62crtbeyuzx2gmya",
    ],
)
def test_what_is_no_account_is_refused_by_name(text):
    with pytest.raises(InvalidInput, match="payee"):
        parse_account(text, "payee")


def test_people_see_both_forms_on_filecoin_only():
    account = parse_account("0xd388ab098ed3e84c0d808776440b48f685198498")
    assert account_text(account, 31337) == address_text(account)
    assert account_text(account, MAINNET).endswith(
        " (f410f2oekwcmo2pueydmaq53eic2i62crtbeyuzx2gmy)"
    )
