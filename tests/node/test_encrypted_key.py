"""Keystore version 3: the published vectors, round trips, and files that lie or ask for too much."""

import json

import pytest
from eth_account import Account

from meridian.errors import InvalidInput, NotFound
from meridian.node.encrypted_key import (
    create_encrypted_key,
    open_encrypted_key,
    open_key,
    stated_address,
)
from meridian.primitives.keys import PrivateKey

ROUNDS = 1 << 10  # the usual 2^18 takes a second

# The two test vectors of the definition (ethereum.org, "Web3 Secret Storage Definition"); pbkdf2 and scrypt.
SECRET = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d"
PBKDF2 = {
    "crypto": {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": "6087dab2f9fdbbfaddc31a909735c1e6"},
        "ciphertext": "5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46",
        "kdf": "pbkdf2",
        "kdfparams": {
            "c": 262144,
            "dklen": 32,
            "prf": "hmac-sha256",
            "salt": "ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd",
        },
        "mac": "517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2",
    },
    "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
    "version": 3,
}
KEY = PrivateKey(bytes.fromhex(SECRET))


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "keys" / "sponsor.json"
    create_encrypted_key(path, KEY, "correct horse", rounds=ROUNDS)
    return path


def changed(path, *names, value):
    document = json.loads(path.read_text())
    inner = document
    for name in names[:-1]:
        inner = inner[name]
    inner[names[-1]] = value
    path.write_text(json.dumps(document))


def test_the_definitions_vector_opens(tmp_path):
    path = tmp_path / "vector.json"
    path.write_text(json.dumps(PBKDF2))
    assert open_encrypted_key(path, "testpassword").secret.hex() == SECRET
    assert stated_address(path) is None


def test_a_key_comes_back_and_other_wallets_read_it(written):
    assert open_encrypted_key(written, "correct horse").secret == KEY.secret
    assert stated_address(written) == KEY.address
    assert written.stat().st_mode & 0o777 == 0o600
    assert SECRET not in written.read_text()
    assert bytes(Account.decrypt(written.read_text(), "correct horse")) == KEY.secret


def test_a_key_is_never_overwritten(written):
    before = written.read_bytes()
    with pytest.raises(InvalidInput, match="never overwritten"):
        create_encrypted_key(written, PrivateKey(b"\x01" * 32), "other", rounds=ROUNDS)
    assert written.read_bytes() == before
    with pytest.raises(InvalidInput, match="passphrase"):
        create_encrypted_key(written.with_name("new.json"), KEY, "", rounds=ROUNDS)


def test_a_wrong_passphrase_says_so(written):
    with pytest.raises(InvalidInput, match="passphrase is wrong") as caught:
        open_encrypted_key(written, "correct horse ")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "value", "reason"),
    [
        (("address",), "00" * 20, "another key"),
        (("crypto", "kdfparams", "n"), 1 << 40, "refused"),
        (("crypto", "kdfparams", "p"), 1 << 20, "refused"),
        (("crypto", "kdfparams", "n"), 1025, "refused"),
        (("crypto", "kdfparams", "n"), -4, "kdfparams"),
        (("crypto", "kdfparams", "dklen"), 64, "kdfparams"),
        (("crypto", "kdf"), "md5", "unknown"),
        (("crypto", "cipher"), "rot13", "aes-128-ctr"),
        (("crypto", "ciphertext"), "00", "32 bytes"),
        (("crypto", "ciphertext"), "zz" * 32, "damaged"),
        (("version",), 4, "not 3"),
    ],
)
def test_a_file_that_lies_is_refused_by_name(written, names, value, reason):
    changed(written, *names, value=value)
    with pytest.raises(InvalidInput, match=reason) as caught:
        open_encrypted_key(written, "correct horse")
    assert "sponsor.json" in str(caught.value)


def test_either_kind_of_file_opens(written, tmp_path):
    def unasked():
        raise AssertionError

    assert open_key(written, lambda: "correct horse").secret == KEY.secret
    plain = tmp_path / "plain.key"
    plain.write_text(SECRET)
    plain.chmod(0o600)
    assert open_key(plain, unasked).secret == KEY.secret
    plain.chmod(0o644)
    with pytest.raises(InvalidInput, match="chmod 600"):
        open_key(plain, unasked)
    with pytest.raises(NotFound):
        open_key(tmp_path / "none", unasked)
    (tmp_path / "long").write_bytes(b"{" + bytes(70_000))
    with pytest.raises(InvalidInput, match="longer"):
        open_key(tmp_path / "long", lambda: "x")
