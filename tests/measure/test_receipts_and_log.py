"""Receipts that bind exactly the accepted jobs, and the log of all epochs as outside tools know it."""

import base64
import json
from dataclasses import replace

import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from eth_account import Account
from eth_account.messages import encode_typed_data
from measure_schemas import SATURN, lines, saturn_record, segment_table

from meridian.errors import InvalidInput
from meridian.measure.epoch_log import (
    Checkpoint,
    EpochRecord,
    checkpoint_of,
    open_checkpoint,
    verify_log,
)
from meridian.measure.receipt import Batch, Receipt, SignedReceipt, batch_root_of
from meridian.measure.record import decode_ndjson
from meridian.measure.row import rebuild_rows
from meridian.measure.signed_note import Note, Verifier, open_note, sign_text, verifier_of
from meridian.primitives import rfc6962
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, address_text, network_id, node_key
from meridian.primitives.keys import PrivateKey

KEY = PrivateKey(bytes(31) + b"\x07")
DOMAIN = Domain(31337, Address(b"\xc0" * 20))
LANES = SATURN.lanes.kind


def receipt(root: bytes = bytes(32)) -> Receipt:
    return Receipt(network_id("saturn"), 9, KEY.address, 4, root, 1_682_902_377_620_000)


def batch(count: int) -> tuple[Batch, pa.Table]:
    body = lines(*(saturn_record(at) for at in range(count)))
    table = segment_table(decode_ndjson(body, SATURN), SATURN)
    return Batch(SATURN, rebuild_rows(SATURN, table), table.column("node_id")), table


def test_a_receipt_is_signed_as_wallets_sign() -> None:
    """The digest is that of an independent EIP-712 implementation, which recovers our signer."""
    signed = SignedReceipt.sign(receipt(), DOMAIN, KEY)
    message = encode_typed_data(
        full_message={
            "types": {
                "EIP712Domain": [
                    {"name": "name", "type": "string"},
                    {"name": "version", "type": "string"},
                    {"name": "chainId", "type": "uint256"},
                    {"name": "verifyingContract", "type": "address"},
                ],
                "Receipt": [
                    {"name": "network", "type": "bytes32"},
                    {"name": "deadlineEpoch", "type": "uint64"},
                    {"name": "aggregator", "type": "address"},
                    {"name": "sequence", "type": "uint64"},
                    {"name": "batchRoot", "type": "bytes32"},
                    {"name": "receivedAtUs", "type": "uint64"},
                ],
            },
            "primaryType": "Receipt",
            "domain": {
                "name": "Meridian",
                "version": "1",
                "chainId": 31337,
                "verifyingContract": address_text(DOMAIN.contract),
            },
            "message": {
                "network": network_id("saturn"),
                "deadlineEpoch": 9,
                "aggregator": address_text(KEY.address),
                "sequence": 4,
                "batchRoot": bytes(32),
                "receivedAtUs": 1_682_902_377_620_000,
            },
        }
    )
    packed = int.from_bytes(signed.signature[32:], "big")
    v, s = 27 + (packed >> 255), packed & ((1 << 255) - 1)
    r = int.from_bytes(signed.signature[:32], "big")
    assert Account.recover_message(message, vrs=(v, r, s)).lower() == address_text(KEY.address)


def test_a_receipt_holds_in_its_own_domain_and_words_only() -> None:
    signed = SignedReceipt.sign(receipt(), DOMAIN, KEY)
    assert signed.holds
    assert SignedReceipt.read(json.loads(json.dumps(signed.document()))) == signed
    assert not replace(signed, domain=Domain(1, DOMAIN.contract)).holds
    for change in (
        {"network": bytes(32)},
        {"deadline_epoch": 10},
        {"sequence": 5},
        {"batch_root": b"\x01" * 32},
        {"received_at_us": 0},
        {"aggregator": Address(bytes(20))},
    ):
        assert not replace(signed, receipt=replace(signed.receipt, **change)).holds
    for at in range(64 * 8):
        other = bytearray(signed.signature)
        other[at // 8] ^= 1 << at % 8
        assert not replace(signed, signature=bytes(other)).holds
    for bad in (
        {},
        signed.document() | {"signature": "xy"},
        signed.document() | {"sequence": None},
    ):
        with pytest.raises(InvalidInput):
            SignedReceipt.read(bad)


@pytest.mark.parametrize("count", [1, 2, 5, 33])
def test_every_accepted_job_has_a_path_to_the_receipts_root(count: int) -> None:
    tree, table = batch(count)
    for row in table.select(["node_id", "job_id"]).to_pylist():
        proof = tree.prove(row["node_id"], row["job_id"])
        assert batch_root_of(proof, node_key(row["node_id"]), LANES) == tree.root
        assert batch_root_of(proof, node_key("someone else"), LANES) != tree.root
    with pytest.raises(InvalidInput):
        tree.prove("node-0", "never")
    with pytest.raises(InvalidInput):
        tree.prove("never", "job-0")


def test_no_part_of_a_batch_proof_can_be_changed() -> None:
    tree, _ = batch(33)
    proof, key = tree.prove("node-2", "job-7"), node_key("node-2")

    def leads_elsewhere(**changes: object) -> bool:
        try:
            return batch_root_of(replace(proof, **changes), key, LANES) != tree.root  # type: ignore[arg-type]
        except InvalidInput:
            return True

    assert not leads_elsewhere()
    for at in range(800):
        row = bytearray(proof.row)
        row[at // 8] ^= 1 << at % 8
        assert leads_elsewhere(row=bytes(row))
    for name in ("index", "size", "part_index", "parts"):
        for step in (-1, 1):
            value = getattr(proof, name) + step
            # A tree of another size may have the same path; only the part's size is promised.
            assert leads_elsewhere(**{name: value}) or name == "parts"
    for name in ("path", "part_path"):
        nodes = list(getattr(proof, name))
        assert nodes
        for place, node in enumerate(nodes):
            for at in range(0, 56 * 8, 5):
                other = bytearray(node)
                other[at // 8] ^= 1 << at % 8
                assert leads_elsewhere(
                    **{name: (*nodes[:place], bytes(other), *nodes[place + 1 :])}
                )


# -- the epoch log --------------------------------------------------------------------------------

SEED = bytes(range(32))
ORIGIN = "meridian/saturn"
VERIFIER = verifier_of(ORIGIN, SEED)


def record(epoch: int) -> EpochRecord:
    return EpochRecord(bytes(32), epoch, KEY.address, b"\x01" * 32, 7, bytes(24), b"\x02" * 32)


ENTRIES = [record(epoch).encode() for epoch in range(5)]


def test_an_entry_is_one_fixed_form() -> None:
    data = record(3).encode()
    assert EpochRecord.decode(data) == record(3)
    assert len(data) == 1 + 32 + 8 + 20 + 32 + 8 + 24 + 32
    for bad in (data[:-1], data + b"\0", b"\x00" + data[1:], b""):
        with pytest.raises(InvalidInput):
            EpochRecord.decode(bad)


def test_a_checkpoint_is_a_c2sp_signed_note() -> None:
    """Built here by hand from the specification, with the key id and the signature computed apart."""
    import hashlib

    note = checkpoint_of(ORIGIN, ENTRIES).sign(SEED).decode()
    head = rfc6962.root([hashlib.sha256(b"\0" + entry).digest() for entry in ENTRIES])
    body = f"{ORIGIN}\n5\n{base64.b64encode(head).decode()}\n"
    start, line = note.split("\n\n")
    assert start + "\n" == body
    assert line.endswith("\n")
    dash, name, encoded = line[:-1].split(" ")
    assert (dash, name) == ("\u2014", ORIGIN)
    packed = base64.b64decode(encoded)
    public = VERIFIER.public_key
    assert packed[:4] == hashlib.sha256(f"{ORIGIN}\n".encode() + b"\x01" + public).digest()[:4]
    Ed25519PublicKey.from_public_bytes(public).verify(packed[4:], body.encode())


def test_outside_notes_and_keys_are_ours_too() -> None:
    """The verifier key of c2sp.org/signed-note, and the note of Go's own package (golang.org/x/mod/sumdb/note)."""
    vkey = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
    assert Verifier.parse(vkey).text == vkey
    seed = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
    text = (
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n"
    )
    line = (
        "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXg"
        "KvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    )
    note = f"{text}\n{line}".encode()
    assert Note(text, (sign_text(text, "PeterNeumann", seed),)).encode() == note
    verifier = verifier_of("PeterNeumann", seed)
    assert verifier.key_id.hex() == "c74f20a3"
    assert open_note(note, verifier) == text


def test_verifier_keys_have_one_spelling() -> None:
    assert Verifier.parse(VERIFIER.text) == VERIFIER
    name, key_id, packed = VERIFIER.text.split("+", 2)
    for bad in (
        f"{name}+{key_id}",
        f"other+{key_id}+{packed}",
        f"{name}+00000000+{packed}",
        f"{name}+{key_id}+AA==",
        f"{name}+{key_id}+!",
        f"a b+{key_id}+{packed}",
    ):
        with pytest.raises(InvalidInput):
            Verifier.parse(bad)


def test_a_checkpoint_is_verified_with_its_entries() -> None:
    note = checkpoint_of(ORIGIN, ENTRIES).sign(SEED)
    assert verify_log(note, ENTRIES, VERIFIER).size == 5
    for entries in (ENTRIES[:4], [*ENTRIES, ENTRIES[0]], [ENTRIES[1], ENTRIES[0], *ENTRIES[2:]]):
        with pytest.raises(InvalidInput):
            verify_log(note, entries, VERIFIER)
    empty = checkpoint_of(ORIGIN, []).sign(SEED)
    assert verify_log(empty, [], VERIFIER).size == 0


def test_no_bit_of_a_checkpoint_can_be_changed() -> None:
    note = checkpoint_of(ORIGIN, ENTRIES).sign(SEED)
    for at in range(len(note) * 8):
        other = bytearray(note)
        other[at // 8] ^= 1 << at % 8
        with pytest.raises(InvalidInput):
            open_checkpoint(bytes(other), VERIFIER)


def test_signatures_of_unknown_keys_are_passed_over_and_wrong_ones_of_known_keys_are_not() -> None:
    note = checkpoint_of(ORIGIN, ENTRIES).sign(SEED).decode()
    witness = base64.b64encode(b"\1\2\3\4" + bytes(72)).decode()
    cosigned = note + f"\u2014 witness.example {witness}\n"
    assert open_checkpoint(cosigned.encode(), VERIFIER).size == 5
    forged = base64.b64encode(VERIFIER.key_id + bytes(64)).decode()
    for bad in (
        note + f"\u2014 {ORIGIN} {forged}\n",
        cosigned.split("\n\n")[0] + f"\n\n\u2014 witness.example {witness}\n",
        note[:-1],
        note + "\n",
        note.replace("\u2014", "-"),
        note + "\u2014 a b c\n",
        note + "\u2014 x " + "A" * 140_000,
        note + f"\u2014 w {witness}\n" * 70,
    ):
        with pytest.raises(InvalidInput):
            open_checkpoint(bad.encode(), VERIFIER)


def test_a_checkpoint_of_another_log_is_refused() -> None:
    other = Checkpoint("meridian/spark", 0, rfc6962.root([]))
    with pytest.raises(InvalidInput):
        open_checkpoint(other.sign(SEED), VERIFIER)


def test_entries_interoperate_with_plain_rfc_6962_proofs() -> None:
    leaves = [rfc6962.leaf_hash(entry) for entry in ENTRIES]
    head = checkpoint_of(ORIGIN, ENTRIES).root
    for at, leaf in enumerate(leaves):
        assert rfc6962.verify_inclusion(leaf, at, 5, rfc6962.inclusion_path(leaves, at), head)
    earlier = checkpoint_of(ORIGIN, ENTRIES[:3]).root
    path = rfc6962.consistency_path(leaves, 3)
    assert rfc6962.verify_consistency(3, 5, path, earlier, head)
