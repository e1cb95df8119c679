"""Link identities: how an Ed25519 key alone becomes a mutually authenticated TLS 1.3 link.

On chain stands only a member's 32-byte link key. TLS wants certificates. Both follow from the key:

* The **anchor** of a key is a certificate that *anybody* derives from the 32 bytes: a CA named
  after the key, holding the key. A trust anchor is a name and a key (RFC 5280 section 6.1.1 d); its
  own signature proves nothing and no verifier looks at it. Ours is made with a key that is
  published right here, so that the anchor is deterministic.
* The **leaf** is what a member presents: issued by its anchor's name, signed by the link key, for
  the same link key.

Law: a peer is a member only if (1) its leaf chains to the anchor of a pinned key, so the owner of
that key signed it; (2) TLS 1.3's CertificateVerify proves that the peer holds the *leaf's* private
key now; (3) the leaf's key **is** the key pinned for the address that the peer claims. (1) alone
keeps strangers out inside the handshake; (3) refuses what (1) cannot see, namely a leaf that a
member signed for somebody else's key. Resumption, which would skip (2), is off. A member who
registers a copied key can prove nothing with it, and one who registers a weak or meaningless key
only shuts itself out.

Certificates never expire here: a member's time is the registry's business, not X.509's.
"""

import hashlib
import os
import secrets
import ssl
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.x509.oid import NameOID

from meridian.errors import InvalidInput

LINK_KEY_BYTES = 32

_NOT_BEFORE = datetime(2000, 1, 1, tzinfo=UTC)
_NOT_AFTER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)

# Public on purpose: see "anchor" above. It is in no trust store and its name is nobody's issuer.
_ANCHOR_FILLER = Ed25519PrivateKey.from_private_bytes(
    hashlib.sha256(b"meridian/link-anchor/1: a trust anchor's signature proves nothing").digest()
)

# The y coordinates of the points of order 1, 2, 4 and 8, canonical and not: with such a "key" anybody can
# make signatures that verify. The list is checked by doubling in the tests. The sign bit is masked.
_SMALL_ORDER_Y = frozenset(
    y.to_bytes(LINK_KEY_BYTES, "little")
    for y in (
        0,
        1,
        2707385501144840649318225287225658788936804267575313519463743609750303402022,
        55188659117513257062467267217118295137698188065244968500265048394206261417927,
        2**255 - 20,
        2**255 - 19,
        2**255 - 18,
    )
)


@dataclass(frozen=True, slots=True)
class LinkIdentity:
    """One process's link key pair and the leaf certificate that it presents."""

    link_key: bytes
    leaf_der: bytes
    private_key: Ed25519PrivateKey

    def __repr__(self) -> str:
        """Name the public half only: this object ends up in logs."""
        return f"LinkIdentity({self.link_key.hex()})"


def link_identity(seed: bytes) -> LinkIdentity:
    """Return the link identity of a 32-byte secret seed (an RFC 8032 private key).

    Raises:
        InvalidInput: If the seed is not 32 bytes.
    """
    if len(seed) != LINK_KEY_BYTES:
        raise InvalidInput("link seed", f"{len(seed)} bytes where {LINK_KEY_BYTES} are needed")
    private_key = Ed25519PrivateKey.from_private_bytes(seed)
    link_key = private_key.public_key().public_bytes_raw()
    leaf = issue_leaf(private_key, link_key)
    return LinkIdentity(link_key, leaf, private_key)


def issue_leaf(issuer: Ed25519PrivateKey, subject_key: bytes) -> bytes:
    """Return the DER leaf by which the owner of `issuer` vouches for `subject_key` (normally its own)."""
    issuer_key = issuer.public_key().public_bytes_raw()
    return _certificate("meridian link", issuer_key.hex(), subject_key, issuer, authority=False)


def anchor_certificate(link_key: bytes) -> bytes:
    """Return the DER trust anchor that stands for a public link key; a pure function of the key."""
    name = link_key.hex()
    return _certificate(name, name, link_key, _ANCHOR_FILLER, authority=True)


def is_usable_link_key(link_key: bytes) -> bool:
    """Tell whether a registered key can identify anybody: right length, and not of small order."""
    if len(link_key) != LINK_KEY_BYTES:
        return False
    y = link_key[:-1] + bytes([link_key[-1] & 0x7F])
    return y not in _SMALL_ORDER_Y


def server_context(identity: LinkIdentity, link_keys: Iterable[bytes]) -> ssl.SSLContext:
    """Return a TLS 1.3 server context that completes a handshake only with owners of `link_keys`."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, identity, link_keys)
    context.num_tickets = 0  # No resumption: every connection proves possession afresh.
    return context


def client_context(identity: LinkIdentity, link_key: bytes) -> ssl.SSLContext:
    """Return a TLS 1.3 client context that completes a handshake only with the owner of `link_key`."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, identity, [link_key])


def presented_link_key(tls: ssl.SSLObject) -> bytes | None:
    """Return the key whose possession the peer proved in the handshake, or None if it showed no Ed25519 leaf."""
    leaf_der = tls.getpeercert(binary_form=True)
    if leaf_der is None:
        return None
    try:
        public_key = x509.load_der_x509_certificate(leaf_der).public_key()
    except ValueError:
        return None
    return public_key.public_bytes_raw() if isinstance(public_key, Ed25519PublicKey) else None


def _certificate(
    subject: str, issuer: str, key: bytes, signer: Ed25519PrivateKey, *, authority: bool
) -> bytes:
    constraints = x509.BasicConstraints(ca=authority, path_length=0 if authority else None)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(Ed25519PublicKey.from_public_bytes(key))
        .serial_number(1)
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
        .add_extension(constraints, critical=True)
    )
    return builder.sign(signer, None).public_bytes(serialization.Encoding.DER)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _context(protocol: int, identity: LinkIdentity, link_keys: Iterable[bytes]) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # The key is the name.
    context.verify_mode = ssl.CERT_REQUIRED
    # Stated, not inherited: anchors carry no key identifiers, and no default of a later Python may ask for them.
    context.verify_flags = ssl.VerifyFlags.VERIFY_DEFAULT
    _load_identity(context, identity)
    anchors = b"".join(anchor_certificate(key) for key in sorted(set(link_keys)))
    if anchors:  # A member alone in its network trusts nobody; OpenSSL refuses an empty list.
        context.load_verify_locations(cadata=anchors)
    return context


def _load_identity(context: ssl.SSLContext, identity: LinkIdentity) -> None:
    """Hand key and leaf to OpenSSL, which takes files only: a 0600 file, encrypted under a password of one use."""
    password = secrets.token_bytes(32).hex().encode()
    secret_pem = identity.private_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password),
    )
    leaf_pem = ssl.DER_cert_to_PEM_cert(identity.leaf_der).encode()
    handle, path = tempfile.mkstemp(prefix="meridian-link-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(leaf_pem + secret_pem)
        context.load_cert_chain(path, password=password)
    finally:
        Path(path).unlink()
