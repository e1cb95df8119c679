"""Examples of pages 01 to 04: encodings, jobs, commitments, receipts."""

import msgspec
import numpy as np
import spec_world as w
from spec_layout import Cbor, Example, Json, Layout, Values, layout

from meridian.measure import epoch_log, record, signed_note, times
from meridian.measure.arrow_batch import decode_arrow, encode_arrow
from meridian.measure.batch_signature import JOB_BATCH, BatchSignature, batch_name
from meridian.measure.commitment import committed_root, job_tree, node_leaf, node_tree
from meridian.measure.epoch_log import EpochRecord
from meridian.measure.manifest import NodeRow
from meridian.measure.packing import packed_fields
from meridian.measure.receipt import RECEIPT, Batch, Receipt, SignedReceipt, batch_root_of
from meridian.measure.row import JobRow, job_leaf, private_commitment, rebuild_rows
from meridian.primitives import dagcbor, hashing, rfc6962
from meridian.primitives.cid import DAG_CBOR, cid_text, digest_of
from meridian.primitives.codec import Writer
from meridian.primitives.eip712 import keccak
from meridian.primitives.hashing import sha256, tagged
from meridian.primitives.ids import NodeKey, address_text, job_key, node_key
from meridian.primitives.keys import PrivateKey, recover
from meridian.primitives.sumtree import EMPTY_ROOT, annotation, combine, fold

ROWS = rebuild_rows(w.SCHEMA, w.JOBS)
A_ROWS = ROWS[:3]
LANES = w.SCHEMA.lanes.kind


def encodings() -> dict[str, Example]:
    written = Writer().u8(1).u16(2).u32(3).u64(4).u128(5).fixed(b"\xab" * 4, 4).blob(b"hi").bytes()
    tree = job_tree(A_ROWS, LANES)
    leaves = [job_leaf(row.tobytes()) for row in A_ROWS]
    inner = combine(hashing.JOB_NODE, leaves[0], leaves[1], LANES)
    assert tree.root == combine(hashing.JOB_NODE, inner, leaves[2], LANES)
    assert tree.root == fold(leaves[2], 2, 3, tree.path(2), hashing.JOB_NODE, LANES)
    key = PrivateKey((1).to_bytes(32, "big"))
    digest = sha256(b"digest")
    signature = key.sign(digest)
    assert recover(digest, signature) == key.address
    return {
        "codec": layout(
            written,
            ("a", "u8", 1),
            ("b", "u16", 2),
            ("c", "u32", 3),
            ("d", "u64", 4),
            ("e", "u128", 5),
            ("f", "bytes4", b"\xab" * 4),
            ("g", "blob", b"hi"),
        ),
        "dag-cbor": Cbor(dagcbor.encode({"b": b"\x01\x02", "aa": 300, "a": [None, True, "text"]})),
        "cid": Values(
            {
                "data": "hello",
                "digest": digest_of(b"hello"),
                "raw": cid_text(digest_of(b"hello")),
                "dag-cbor": cid_text(digest_of(b"hello"), DAG_CBOR),
            }
        ),
        "ids": Values(
            {
                "node_key(node-a)": node_key("node-a"),
                "job_key(abcdef)": job_key("abcdef"),
                "network_id(example)": w.NETWORK_ID,
            }
        ),
        "signature": Values(
            {
                "secret": key.secret,
                "address": address_text(key.address),
                "digest": digest,
                "r": signature[:32],
                "yParityAndS": signature[32:],
            }
        ),
        "domain": Values(
            {
                "chain id": w.CHAIN_ID,
                "contract": address_text(w.CONTRACTS.evaluations),
                "type hash": keccak(
                    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                "separator": w.EVALUATIONS.separator,
            }
        ),
        "sum-tree": Values(
            {
                "leaf 0": leaves[0],
                "leaf 1": leaves[1],
                "leaf 2": leaves[2],
                "inner": inner,
                "root": tree.root,
                "count of the root": annotation(tree.root, LANES)[0],
                "path of leaf 0": b"".join(tree.path(0)),
                "path of leaf 2": b"".join(tree.path(2)),
                "root of no leaves": EMPTY_ROOT,
            }
        ),
    }


def jobs() -> dict[str, Example]:
    rows = {JobRow.decode(row.tobytes()).job_key: row.tobytes() for row in A_ROWS}
    data = rows[job_key("abcdef")]
    row = JobRow.decode(data)
    table = w.JOBS.slice([r.tobytes() for r in A_ROWS].index(data), 1)
    packed = packed_fields(w.SCHEMA, table.combine_chunks().to_batches()[0])[0].tobytes()
    salt = tagged(hashing.SALT, w.SEED, b"abcdef")
    commitment = private_commitment(w.SEED, "abcdef", packed)
    assert commitment == row.private == tagged(hashing.PRIVATE, salt, packed)
    refused = record.decode_ndjson(
        w.RECORDS[0].replace(b'"value":240', b'"value":-1') + b"\n\n" + w.RECORDS[0][:-1], w.SCHEMA
    )
    return {
        "record": Json(msgspec.json.decode(w.RECORDS[0])),
        "arrow-body": arrow_body(),
        "schema": Cbor(w.SCHEMA.encode()),
        "times": Values(
            {text: times.parse_time(text) for text in TIMES} | {"written as": times.format_time(0)}
        ),
        "refusals": Json([msgspec.to_builtins(item) for item in refused.rejections]),
        "packed-fields": layout(
            packed,
            ("num_bytes_sent present", "u8", 1),
            ("num_bytes_sent", "u64", 240),
            ("request_duration_sec present", "u8", 1),
            ("request_duration_sec", "u64", 10_000),
            ("ttfb_ms present", "u8", 1),
            ("ttfb_ms", "u64", 35),
            ("status code present", "u8", 1),
            ("status code", "u64", 200),
            ("cache_hit present", "u8", 1),
            ("cache_hit", "u8", 1),
            ("cid present", "u8", 0),
            ("cid length", "u16", 0),
            ("cid", "bytes8", bytes(8)),
            batch_seed=w.SEED,
            salt=salt,
            private_commitment=commitment,
        ),
        "job-row": layout(
            data,
            ("schema", "u16", 1),
            ("flags", "u16", 0),
            ("job_key", "bytes32", job_key("abcdef")),
            ("started_us", "u64", times.parse_time("2023-05-01 00:52:57.62+00")),
            ("ended_us", "u64", times.parse_time("2023-05-01 00:52:58.62+00")),
            ("lanes", "bytes16", (240).to_bytes(8, "big") + bytes(8)),
            ("private", "bytes32", commitment),
            leaf_hash=tagged(hashing.JOB_LEAF, data),
            leaf_node=job_leaf(data),
        ),
    }


def arrow_body() -> Layout:
    """The record above as an Arrow stream, message by message (Arrow counts in little-endian)."""
    decoded = record.decode_ndjson(w.RECORDS[0], w.SCHEMA)
    data = encode_arrow(decoded.table, w.SCHEMA)
    assert decode_arrow(data, w.SCHEMA).table == decoded.table
    parts: list[tuple[str, str, bytes]] = []

    def take(name: str, count: int) -> bytes:
        at = sum(len(part) for _, _, part in parts)
        parts.append((name, f"bytes{count}", data[at : at + count]))
        return data[at : at + count]

    for name in ("schema", "record batch"):
        take("mark of a message", 4)
        size = int.from_bytes(take(f"size of the {name}'s metadata", 4), "little")
        take(f"metadata of the {name}", size)
    take("columns", len(data) - sum(len(part) for _, _, part in parts) - 8)
    take("end of the stream", 8)
    return layout(data, *parts)


TIMES = (
    "2023-05-01 00:52:57.62+00",
    "2023-05-01T00:52:57Z",
    "2023-05-01T02:52:57.620000+02:00",
    "2023-04-30 23:22:57.62-0130",
)


def commitments() -> dict[str, Example]:
    tree = node_tree(w.NODES.rows, LANES)
    root = tree.root
    assert w.COMMITMENT.root == committed_root(w.EPOCH, 2, root)
    first = w.NODES.rows[0].tobytes()
    row = NodeRow.decode(first)
    entry = EpochRecord(
        w.NETWORK_ID,
        w.EPOCH,
        w.AGGREGATOR.address,
        w.COMMITMENT.root,
        2,
        w.COMMITMENT.annotation,
        w.MANIFEST.digest,
    ).encode()
    log = [sha256(b"an earlier entry"), entry]
    checkpoint = epoch_log.checkpoint_of("example.org/meridian", log)
    note = checkpoint.sign(w.LOG_SEED)
    verifier = signed_note.verifier_of("example.org/meridian", w.LOG_SEED)
    assert epoch_log.verify_log(note, log, verifier) == checkpoint
    return {
        "node-row": layout(
            first,
            ("schema", "u16", 1),
            ("flags", "u16", 0),
            ("epoch", "u32", w.EPOCH),
            ("node_key", "bytes32", node_key(w.NODES.ids[0])),
            ("payee", "bytes20", w.PAYEES[w.NODES.ids[0]]),
            ("job_root", "bytes56", job_tree(A_ROWS, LANES).root),
            leaf_hash=tagged(hashing.NODE_LEAF, first),
            leaf_node=node_leaf(first),
            jobs=int.from_bytes(row.job_root[32:40], "big"),
        ),
        "committed-root": committed(w.EPOCH, 2, root),
        "committed-root-empty": committed(3, 0, EMPTY_ROOT),
        "nodes": Cbor(w.NODES.encode()),
        "manifest": Cbor(w.MANIFEST.encode()),
        "epoch-digest": layout(
            b"\x14"
            + bytes(32)
            + w.AGGREGATOR.address
            + w.COMMITMENT.root
            + (2).to_bytes(8, "big")
            + w.COMMITMENT.annotation
            + w.MANIFEST.digest,
            ("tag", "u8", hashing.EPOCH_DIGEST),
            ("before", "bytes32", bytes(32)),
            ("aggregator", "bytes20", w.AGGREGATOR.address),
            ("root", "bytes32", w.COMMITMENT.root),
            ("n_nodes", "u64", 2),
            ("annotation", "bytes24", w.COMMITMENT.annotation),
            ("manifest", "bytes32", w.MANIFEST.digest),
            epoch_digest=w.COMMITTED_DIGEST,
        ),
        "epoch-record": layout(
            entry,
            ("tag", "u8", hashing.EPOCH_RECORD),
            ("network", "bytes32", w.NETWORK_ID),
            ("epoch", "u64", w.EPOCH),
            ("aggregator", "bytes20", w.AGGREGATOR.address),
            ("root", "bytes32", w.COMMITMENT.root),
            ("n_nodes", "u64", 2),
            ("annotation", "bytes24", w.COMMITMENT.annotation),
            ("manifest", "bytes32", w.MANIFEST.digest),
            leaf_hash=rfc6962.leaf_hash(entry),
        ),
        "checkpoint": Values(
            {"verifier key": verifier.text, "note, with a line feed at its end": note.decode()[:-1]}
        ),
    }


def committed(epoch: int, n_nodes: int, root: bytes) -> Layout:
    data = bytes((hashing.COMMITTED_ROOT,))
    data += Writer().u64(epoch).u64(n_nodes).fixed(root, 56).bytes()
    assert sha256(data) == committed_root(epoch, n_nodes, root)
    return layout(
        data,
        ("tag", "u8", hashing.COMMITTED_ROOT),
        ("epoch", "u64", epoch),
        ("n_nodes", "u64", n_nodes),
        ("node_tree_root", "bytes56", root),
        committed_root=committed_root(epoch, n_nodes, root),
    )


def receipts() -> dict[str, Example]:
    batch = Batch(w.SCHEMA, ROWS, w.JOBS.column("node_id"))
    proof = batch.prove("node-b", "abcdef")
    assert batch_root_of(proof, NodeKey(node_key("node-b")), LANES) == batch.root
    parts = [job_tree(np.asarray(rows), LANES).root for rows in (A_ROWS, ROWS[3:])]
    leaves = [
        tagged(hashing.BATCH_LEAF, node_key(name), part) + part[32:]
        for name, part in zip(w.NODES.ids, parts, strict=True)
    ]
    assert combine(hashing.BATCH_NODE, *leaves, LANES)[:32] == batch.root
    receipt = Receipt(w.NETWORK_ID, 3, w.AGGREGATOR.address, 0, batch.root, w.NOW_US)
    signed = SignedReceipt.sign(receipt, w.COMMITMENTS, w.AGGREGATOR)
    assert signed.holds
    batch_id = batch_name(w.SEED, b"{}")
    sent = BatchSignature.sign(
        network=w.NETWORK_ID,
        node_id="node-a",
        batch=batch_id,
        sent_at_us=w.NOW_US,
        domain=w.COMMITMENTS,
        key=w.AGGREGATOR,
    )
    return {
        "batch-signature": Values(
            {
                "type": JOB_BATCH.description,
                "type hash": keccak(JOB_BATCH.description.encode()),
                "seed": w.SEED,
                "batch of the body {}": batch_id,
                "sentAtUs": str(w.NOW_US),
                "signature for node-a, key of the aggregator": sent.signature,
            }
        ),
        "batch-root": Values(
            {
                "part of node-a": parts[0],
                "part of node-b": parts[1],
                "leaf of node-a": leaves[0],
                "leaf of node-b": leaves[1],
                "batch root": batch.root,
            }
        ),
        "receipt": Values(
            {
                "type": RECEIPT.description,
                "type hash": keccak(RECEIPT.description.encode()),
                "domain separator": w.COMMITMENTS.separator,
                "digest": receipt.digest(w.COMMITMENTS),
                "signature": signed.signature,
            }
        ),
        "receipt-document": Json(signed.document()),
    }
