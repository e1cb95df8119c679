"""secp256k1 keys under a passphrase: the JSON of Web3 Secret Storage, version 3, as every wallet reads and writes it.

Encryption is eth-account's (scrypt, AES-128-CTR, Keccak MAC). What stands here is what a file from elsewhere needs:
bounds on the work that it may ask for before anything is derived, an address that must be the key's own, and errors
that name the file and never show a secret. Source: ethereum.org, "Web3 Secret Storage Definition".
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from meridian.errors import InvalidInput, StorageFailure
from meridian.node.durable_file import read_whole
from meridian.node.keystore import create_private_file, read_secret
from meridian.primitives.ids import Address, parse_address
from meridian.primitives.keys import PrivateKey

FILE_BYTES_MAX: Final = 64 * 1024

SCRYPT_MEMORY_MAX: Final = 1 << 30
"""Bytes that a file may make scrypt use (128 * n * r); the usual ask is 256 MiB."""
SCRYPT_WORK_MAX: Final = 1 << 24
"""Greatest n * r * p: eight times the usual."""
PBKDF2_ROUNDS_MAX: Final = 10_000_000

Passphrase = Callable[[], str]
"""Asks for the passphrase; called only when one is needed."""


class _Scrypt(msgspec.Struct, frozen=True, kw_only=True):
    n: Annotated[int, msgspec.Meta(ge=2)]
    r: Annotated[int, msgspec.Meta(ge=1)]
    p: Annotated[int, msgspec.Meta(ge=1)]
    dklen: Annotated[int, msgspec.Meta(ge=32, le=32)]


class _Pbkdf2(msgspec.Struct, frozen=True, kw_only=True):
    c: Annotated[int, msgspec.Meta(ge=1, le=PBKDF2_ROUNDS_MAX)]
    dklen: Annotated[int, msgspec.Meta(ge=32, le=32)]


class _Crypto(msgspec.Struct, frozen=True, kw_only=True):
    cipher: str
    kdf: str
    kdfparams: dict[str, Any]
    ciphertext: str


class _Document(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    crypto: _Crypto
    address: str = ""


def create_encrypted_key(
    path: Path, key: PrivateKey, passphrase: str, *, rounds: int | None = None
) -> None:
    """Write a key into a new file, readable by its owner only.

    Args:
        path: Must not exist: keys are never overwritten.
        key: What is kept.
        passphrase: As UTF-8; not empty.
        rounds: scrypt's n, a power of two; None is eth-account's own (2^18, about a second).

    Raises:
        InvalidInput: If the file exists or the passphrase is empty.
        StorageFailure: If it cannot be written.
    """
    if not passphrase:
        raise InvalidInput("passphrase", "is empty")
    document = _account().encrypt(key.secret, passphrase, "scrypt", rounds)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = not os.path.lexists(path) and create_private_file(
            path, msgspec.json.encode(document) + b"\n"
        )
    except OSError as error:
        raise StorageFailure(f"{path}: {error.strerror}") from error
    if not made:
        raise InvalidInput(str(path), "exists already; keys are never overwritten")


def stated_address(path: Path) -> Address | None:
    """Return the address that an encrypted key's file states (unproven until it is opened), or None.

    Raises:
        InvalidInput: If the file is no encrypted key.
    """
    _, document = _read(path)
    digits = document.address.removeprefix("0x")
    return parse_address("0x" + digits, str(path)) if digits else None


def open_encrypted_key(path: Path, passphrase: str) -> PrivateKey:
    """Return the key in a file.

    Raises:
        InvalidInput: If the file is no encrypted key, the passphrase is wrong, or the address is not the key's.
        NotFound: If there is no such file.
    """
    value, document = _read(path)
    _check_work(path, document.crypto)
    try:
        key = PrivateKey(bytes(_account().decrypt(value, passphrase)))
    except InvalidInput:
        raise InvalidInput(str(path), "holds no secp256k1 key") from None
    except (
        ValueError,
        TypeError,
        KeyError,
    ) as error:  # the library's own errors are of these kinds
        reason = "the passphrase is wrong" if "MAC" in str(error) else "is damaged"
        raise InvalidInput(str(path), reason) from None
    stated = stated_address(path)
    if stated is not None and stated != key.address:
        raise InvalidInput(str(path), "states the address of another key")
    return key


def open_key(path: Path, passphrase: Passphrase) -> PrivateKey:
    """Return the key in a file of either kind: encrypted JSON, or 64 hex digits that only the owner may read.

    Raises:
        InvalidInput: If it is neither, or does not open.
        NotFound: If there is no such file.
    """
    if read_whole(path, FILE_BYTES_MAX).lstrip().startswith(b"{"):
        return open_encrypted_key(path, passphrase())
    try:
        return PrivateKey(read_secret(path))
    except OSError as error:
        raise StorageFailure(f"{path}: {error.strerror}") from error


def _account() -> Any:
    """Return eth-account's `Account`, loaded only when a passphrase is at work.

    It brings curves that no other part of ours needs, a third of a second for every process, and its import raises the
    recursion limit, which stays as it was.
    """
    limit = sys.getrecursionlimit()
    from eth_account import Account  # noqa: PLC0415

    sys.setrecursionlimit(limit)
    return Account


def _read(path: Path) -> tuple[dict[str, Any], _Document]:
    try:
        value = msgspec.json.decode(read_whole(path, FILE_BYTES_MAX))
        if isinstance(value, dict) and "Crypto" in value:  # early wallets wrote it so
            value = {name.lower(): one for name, one in value.items()}
        document = msgspec.convert(value, _Document)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidInput(str(path), f"is no encrypted key: {error}") from None
    if document.version != 3:
        raise InvalidInput(str(path), f"version {document.version} is not 3")
    return value, document


def _check_work(path: Path, crypto: _Crypto) -> None:
    """Refuse a file that would make us work or fill memory without end."""
    if crypto.cipher != "aes-128-ctr":
        raise InvalidInput(str(path), f"cipher {crypto.cipher!r} is not aes-128-ctr")
    if len(crypto.ciphertext.removeprefix("0x")) != 64:
        raise InvalidInput(str(path), "the ciphertext does not have 32 bytes")
    try:
        if crypto.kdf == "scrypt":
            asked = msgspec.convert(crypto.kdfparams, _Scrypt)
            too_much = (
                128 * asked.n * asked.r > SCRYPT_MEMORY_MAX
                or asked.n * asked.r * asked.p > SCRYPT_WORK_MAX
            )
            if too_much or asked.n & (asked.n - 1):
                raise InvalidInput(
                    str(path), f"scrypt n={asked.n}, r={asked.r}, p={asked.p} is refused"
                )
        elif crypto.kdf == "pbkdf2":
            msgspec.convert(crypto.kdfparams, _Pbkdf2)
        else:
            raise InvalidInput(str(path), f"key derivation {crypto.kdf!r} is unknown")
    except msgspec.ValidationError as error:
        raise InvalidInput(str(path), f"kdfparams: {error}") from None
