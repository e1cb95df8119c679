"""A batch's signature: it binds all that it should, travels in headers, and what is malformed is refused by name."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian.errors import InvalidInput
from meridian.measure.batch_signature import (
    JOB_BATCH,
    NODE_HEADER,
    SENT_AT_HEADER,
    SIGNATURE_HEADER,
    BatchSignature,
    batch_name,
    body_digest,
)
from meridian.primitives import hashing
from meridian.primitives.eip712 import Domain
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import Address, network_id
from meridian.primitives.keys import PrivateKey

KEY = PrivateKey(bytes(31) + b"\x07")
DOMAIN = Domain(31337, Address(b"\x11" * 20))
NETWORK = network_id("test")
BATCH = batch_name(b"\x01" * 32, b"body")
SENT = 1_700_000_000_000_000


def signed(node_id: str = "node-a") -> BatchSignature:
    return BatchSignature.sign(
        network=NETWORK, node_id=node_id, batch=BATCH, sent_at_us=SENT, domain=DOMAIN, key=KEY
    )


def test_the_type_is_the_one_that_others_sign() -> None:
    text = "JobBatch(bytes32 network,bytes32 nodeKey,bytes32 batch,uint64 sentAtUs)"
    assert JOB_BATCH.description == text
    assert sha256(b"\x01" * 32, sha256(sha256(b"body"))) == BATCH


@pytest.mark.parametrize("kernel", [hashing.HASHLIB, None])
@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 9 * 4096, 70_001])
def test_a_body_is_digested_piece_by_piece_by_every_kernel(kernel: str | None, size: int) -> None:
    body = hashlib.shake_128(b"body").digest(size)
    pieces = [body[at : at + 4096] for at in range(0, size, 4096)]
    hashing.force(kernel)
    hashing.prepare()
    try:
        assert body_digest(body) == sha256(b"".join(map(sha256, pieces)))
    finally:
        hashing.force(None)


def test_it_holds_for_its_batch_its_node_its_time_and_its_operator_only() -> None:
    good = signed()
    operator = KEY.address

    def holds(signature: BatchSignature = good, **other: object) -> bool:
        named = {"network": NETWORK, "batch": BATCH, "domain": DOMAIN, "operator": operator}
        return signature.holds(**(named | other))  # type: ignore[arg-type]

    assert holds()
    assert not holds(network=network_id("other"))
    assert not holds(batch=batch_name(b"\x01" * 32, b"body "))
    assert not holds(domain=Domain(1, DOMAIN.contract))
    assert not holds(operator=PrivateKey(bytes(31) + b"\x08").address)
    assert not holds(BatchSignature("node-b", SENT, good.signature))
    assert not holds(BatchSignature("node-a", SENT + 1, good.signature))
    assert not holds(BatchSignature("node-a", SENT, bytes(64)))


@given(st.text(min_size=1, max_size=32))
def test_it_travels_in_headers(node_id: str) -> None:
    signature = signed(node_id)
    headers = signature.headers()
    assert all(value.isascii() and value.isprintable() for value in headers.values())
    assert BatchSignature.read(headers) == signature


def test_a_request_without_signature_has_none() -> None:
    assert BatchSignature.read({}) is None


@pytest.mark.parametrize(
    ("header", "value"),
    [
        (NODE_HEADER, ""),
        (NODE_HEADER, "a" * 129),
        (NODE_HEADER, "%ff"),
        (SENT_AT_HEADER, ""),
        (SENT_AT_HEADER, "-1"),
        (SENT_AT_HEADER, "9" * 19),
        (SENT_AT_HEADER, "1.5"),
        (SIGNATURE_HEADER, ""),
        (SIGNATURE_HEADER, "00" * 65),
        (SIGNATURE_HEADER, "zz" * 64),
    ],
)
def test_a_malformed_header_is_named(header: str, value: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        BatchSignature.read(signed().headers() | {header: value})
    assert refusal.value.field == header
