"""Examples of pages 07 to 09: reports, claims, contracts, outcomes, proof files."""

import json
from dataclasses import replace
from pathlib import Path

import spec_agreement as agreed
import spec_world as w
from spec_layout import Cbor, Example, Json, Part, Values, layout

from meridian.audit.proofs import ProvenClaim, check_file
from meridian.audit.record import OutcomeRecord
from meridian.contracts.calldata import path_words, signature_words
from meridian.contracts.statements import (
    DELEGATE,
    REGISTER_EVALUATOR,
    REGISTER_NODE,
    RELAYED_CLAIM,
    SELF_COMMIT,
    TRANSMISSION,
    Delegate,
    RegisterEvaluator,
    RegisterNode,
    RelayedClaim,
    SelfCommit,
    Transmission,
)
from meridian.evaluate.verdict_document import verdict_document
from meridian.measure.commitment import committed_root
from meridian.measure.epoch_log import EpochRecord
from meridian.measure.proof import AbsentNodeProof, ProofMaker, Subject, proof_file
from meridian.measure.proof_form import document, encode_binary, encode_json
from meridian.primitives import dagcbor, hashing, rfc6962
from meridian.primitives.cid import cid_text, digest_of
from meridian.primitives.codec import Writer
from meridian.primitives.eip712 import keccak
from meridian.primitives.hashing import sha256, tagged
from meridian.primitives.ids import NodeKey, address_text, node_key
from meridian.primitives.sumtree import EMPTY_ROOT
from meridian.reward.claims import ClaimsState, verify_claim
from meridian.reward.ledger import Ledger
from meridian.reward.outcome import compute_outcome
from meridian.reward.report import NO_REPORT, REPORT
from meridian.reward.result import EpochFacts, seed_result
from meridian.verifier import Leaf, Name, ProofFile

GAS = Path(__file__).resolve().parents[1] / "contracts" / "gas.json"

OUTCOME = compute_outcome(
    list(zip(w.MEMBERS, w.BODIES, strict=True)),
    members=w.MEMBERS,
    parameters=w.PARAMETERS,
    budget=w.BUDGET_ATTO,
    previous=Ledger.empty(),
    expected=w.HEADER,
    payees=dict(zip(w.NODES.keys, w.NODES.payees, strict=True)),
)
SELF_CONTENT = (sha256(b"job tree"), bytes(7) + b"\x02" + bytes(16))
REPORT_ = OUTCOME.report(w.HEADER, agreed.BLOCK.hash, NO_REPORT)
DIGEST = REPORT_.digest(w.EVALUATIONS)
SIGNATURES = tuple((key.address, key.sign(DIGEST)) for key in w.MEMBER_KEYS[:3])
TRANSMITTED = Transmission(w.NETWORK_ID, w.EPOCH, DIGEST)
CLAIM = OUTCOME.claims.proof(NodeKey(node_key("node-a")))
FACTS = EpochFacts(
    epoch=w.EPOCH,
    jobs=4,
    commitment_root=w.COMMITMENT.root,
    report_hash=DIGEST,
    signers=[signer for signer, _ in SIGNATURES],
    transmitter=w.MEMBERS[1],
    paid_atto=0,
    gas={},
    node_ids=dict(zip(w.NODES.keys, w.NODES.ids, strict=True)),
)
RESULT = seed_result(
    REPORT_,
    OUTCOME,
    measurement=cid_text(w.MANIFEST.digest),
    facts=FACTS,
    summary=w.EVALUATION.summary,
)


def reports() -> dict[str, Example]:
    fields = REPORT_.values
    encoded = b"".join(
        value if isinstance(value, bytes) else value.to_bytes(32, "big") for value in fields
    )
    type_hash = keccak(REPORT.description.encode())
    assert REPORT.hash(*fields) == keccak(type_hash + encoded)
    widened = [
        (name, "bytes32", value if isinstance(value, bytes) else value.to_bytes(32, "big"))
        for (name, _), value in zip(REPORT.fields, fields, strict=True)
    ]
    signature = w.MEMBER_KEYS[1].sign(TRANSMITTED.digest(w.EVALUATIONS))
    r, vs = signature_words(signature)
    return {
        "report": layout(
            type_hash + encoded,
            ("type hash", "bytes32", type_hash),
            *widened,
            struct_hash=REPORT.hash(*fields),
            domain_separator=w.EVALUATIONS.separator,
            report_hash=DIGEST,
        ),
        "report-type": Values({"type": REPORT.description, "type hash": type_hash}),
        "report-signatures": Values({address_text(signer): sig for signer, sig in SIGNATURES}),
        "transmission": Values(
            {
                "type": TRANSMISSION.description,
                "type hash": keccak(TRANSMISSION.description.encode()),
                "transmitter": address_text(w.MEMBERS[1]),
                "signed bytes": TRANSMITTED.digest(w.EVALUATIONS),
                "r": r.to_bytes(32, "big"),
                "vs": vs.to_bytes(32, "big"),
            }
        ),
        **claims(),
        **outcomes(),
    }


def claims() -> dict[str, Example]:
    state, proof = OUTCOME.claims, CLAIM
    assert verify_claim(proof, state.reward_root, state.total)
    row = proof.node_key + proof.payee + proof.cumulative.to_bytes(16, "big")
    root_data = b"\x13" + Writer().u64(2).bytes() + state.root_node
    assert sha256(root_data) == state.reward_root
    ((node_hash, node_annotation), *_) = path_words(proof.path)
    empty = ClaimsState.empty()
    return {
        "amounts": Values(
            {
                "budget": str(OUTCOME.budget),
                "weights": str(list(OUTCOME.weights)),
                "amounts": str(list(OUTCOME.amounts)),
                "dust": str(OUTCOME.dust),
            }
        ),
        "claim-leaf": layout(
            b"\x06" + row,
            ("tag", "u8", hashing.CLAIM_LEAF),
            ("node_key", "bytes32", proof.node_key),
            ("payee", "bytes20", proof.payee),
            ("cumulative", "u128", proof.cumulative),
            leaf_hash=tagged(hashing.CLAIM_LEAF, row),
            leaf_node=tagged(hashing.CLAIM_LEAF, row) + (1).to_bytes(8, "big") + row[-16:],
        ),
        "reward-root": layout(
            root_data,
            ("tag", "u8", hashing.REWARD_ROOT),
            ("size", "u64", 2),
            ("claim_tree_root", "bytes56", state.root_node),
            reward_root=state.reward_root,
            reward_root_without_claims=empty.reward_root,
        ),
        "claim-arguments": Values(
            {
                "epoch": w.EPOCH,
                "node_key": proof.node_key,
                "payee": address_text(proof.payee),
                "cumulative": str(proof.cumulative),
                "index": proof.index,
                "size": proof.size,
                "path 0, hash": node_hash,
                "path 0, annotation": node_annotation.to_bytes(32, "big"),
            }
        ),
        "claims": Cbor(state.encode()),
    }


def outcomes() -> dict[str, Example]:
    evaluation = w.EVALUATION
    verdicts = dagcbor.encode(verdict_document(w.EPOCH_INPUT, evaluation))
    result = json.dumps(RESULT, separators=(",", ":")).encode()
    record = OutcomeRecord(
        network_id=w.NETWORK_ID,
        epoch=w.EPOCH,
        members=w.MEMBERS,
        manifest=w.MANIFEST.digest,
        block=digest_of(agreed.BLOCK.encode()),
        certificate=digest_of(agreed.DECIDED.encode()),
        rows=tuple(digest_of(body) for body in w.BODIES),
        verdicts=digest_of(verdicts),
        previous_claims=None,
        claims=OUTCOME.claims.digest,
        report=REPORT_,
        report_hash=DIGEST,
        signatures=SIGNATURES,
        transmitter=w.MEMBERS[1],
        result=digest_of(result),
    )
    assert OutcomeRecord.decode(record.encode()) == record
    return {
        "verdicts": Cbor(verdicts),
        "outcome": Cbor(record.encode()),
        "result": Json(RESULT),
    }


def _gas_text(gas: dict[str, int]) -> str:
    """Both numbers, where they differ."""
    cancun, prague = gas["cancun"], gas["prague"]
    return f"{cancun:,}" if cancun == prague else f"{cancun:,} (prague {prague:,})"


def contracts() -> dict[str, Example]:
    deadline = w.GENESIS_S + 86_400
    node = RegisterNode(
        w.NETWORK_ID, node_key("node-a"), w.OPERATOR.address, w.PAYEES["node-a"], 0, deadline
    )
    evaluator = RegisterEvaluator(
        w.NETWORK_ID,
        w.MEMBERS[0],
        sha256(b"link key"),
        "127.0.0.1:7001",
        0,
        deadline,
    )
    own = SelfCommit(
        w.NETWORK_ID, w.EPOCH, node_key("node-a"), *SELF_CONTENT, sha256(b"segment"), deadline
    )
    payee = w.OPERATOR.address
    relayed = RelayedClaim(w.NETWORK_ID, node_key("node-a"), payee, 10**15, 0, deadline)
    delegated = Delegate(w.NETWORK_ID, payee, w.AGGREGATOR.address, 1, deadline)
    snapshot = json.loads(GAS.read_text())
    return {
        "gas": Values({name: _gas_text(gas) for name, gas in snapshot.items()}),
        "addresses": Values(
            {
                "deployer": address_text(w.DEPLOYER.address),
                "registry (nonce 0)": address_text(w.CONTRACTS.registry),
                "commitments (nonce 1)": address_text(w.CONTRACTS.commitments),
                "evaluations (nonce 2)": address_text(w.CONTRACTS.evaluations),
                "rewards (nonce 3)": address_text(w.CONTRACTS.rewards),
            }
        ),
        "register-node": Values(
            {
                "type": REGISTER_NODE.description,
                "type hash": keccak(REGISTER_NODE.description.encode()),
                "operator": address_text(w.OPERATOR.address),
                "signed bytes": node.digest(w.REGISTRY),
                "signature": w.OPERATOR.sign(node.digest(w.REGISTRY)),
            }
        ),
        "self-commit": Values(
            {
                "type": SELF_COMMIT.description,
                "type hash": keccak(SELF_COMMIT.description.encode()),
                "operator": address_text(w.OPERATOR.address),
                "signed bytes": own.digest(w.COMMITMENTS),
                "signature": w.OPERATOR.sign(own.digest(w.COMMITMENTS)),
            }
        ),
        "relayed-claim": Values(
            {
                "type": RELAYED_CLAIM.description,
                "type hash": keccak(RELAYED_CLAIM.description.encode()),
                "signed bytes": relayed.digest(w.REWARDS),
                "signature": w.OPERATOR.sign(relayed.digest(w.REWARDS)),
            }
        ),
        "delegate": Values(
            {
                "type": DELEGATE.description,
                "type hash": keccak(DELEGATE.description.encode()),
                "signed bytes": delegated.digest(w.REWARDS),
                "signature": w.OPERATOR.sign(delegated.digest(w.REWARDS)),
            }
        ),
        "register-evaluator": Values(
            {
                "type": REGISTER_EVALUATOR.description,
                "type hash": keccak(REGISTER_EVALUATOR.description.encode()),
                "endpoint": evaluator.endpoint,
                "endpointHash": keccak(evaluator.endpoint.encode()),
                "signed bytes": evaluator.digest(w.REGISTRY),
                "signature": w.MEMBER_KEYS[0].sign(evaluator.digest(w.REGISTRY)),
            }
        ),
    }


def _log_files() -> dict[str, ProofFile]:
    """Of a log whose second entry is the epoch's."""
    record = EpochRecord(
        w.NETWORK_ID,
        w.EPOCH,
        w.AGGREGATOR.address,
        w.COMMITMENT.root,
        2,
        w.COMMITMENT.annotation,
        w.MANIFEST.digest,
    )
    leaves = [rfc6962.leaf_hash(entry) for entry in (b"an earlier one", record.encode(), b"later")]
    place = {
        "index": 1,
        "size": 3,
        "entry": record.encode(),
        "path": tuple(rfc6962.inclusion_path(leaves, 1)),
    }
    growth = {
        "old_size": 2,
        "size": 3,
        "old_root": rfc6962.root(leaves[:2]),
        "path": tuple(rfc6962.consistency_path(leaves, 2)),
    }
    root = {"network": w.NETWORK, "log_root": rfc6962.root(leaves)}
    return {
        "log-inclusion": ProofFile("log_inclusion", {**root, "epoch": w.EPOCH, **place}),
        "log-consistency": ProofFile("log_consistency", {**root, **growth}),
    }


def _leaf_parts(name: str, leaf: Leaf) -> list[Part]:
    return [
        (f"{name} row", f"bytes{len(leaf.row)}", leaf.row),
        (f"{name} index", "u64", leaf.index),
        (f"{name} size", "u64", leaf.size),
        (f"{name} path nodes", "u8", len(leaf.path)),
        *((f"{name} path", "bytes56", node) for node in leaf.path),
    ]


def _binary_job(file: ProofFile) -> Example:
    fields = file.fields
    return layout(
        encode_binary(file),
        ("magic and version", "bytes4", b"MPF\x01"),
        ("kind", "u8", 1),
        ("network length", "u16", len(w.NETWORK)),
        ("network", f"bytes{len(w.NETWORK)}", w.NETWORK.encode()),
        ("epoch", "u64", w.EPOCH),
        ("node by id", "u8", 1),
        ("node_id length", "u16", 6),
        ("node_id", "bytes6", b"node-a"),
        ("job by id", "u8", 1),
        ("job_id length", "u16", 6),
        ("job_id", "bytes6", b"abcdef"),
        ("lanes", "u8", 0),
        *_leaf_parts("job", fields["job"]),
        *_leaf_parts("node", fields["node"]),
        ("committed_root", "bytes32", fields["committed_root"]),
    )


def files() -> dict[str, Example]:
    maker = ProofMaker.of_table(w.SCHEMA, w.NODES, w.JOBS)
    node, nobody = Name.of("node-a"), Name.of("node-c")
    one, other = Name.of("abcdef"), Name.of("ghijkl")
    about = Subject(w.EPOCH, w.COMMITMENT.root, w.SCHEMA.lanes.kind, node)
    empty = replace(about, epoch=w.EPOCH + 1, root=committed_root(w.EPOCH + 1, 0, EMPTY_ROOT))
    proved = {
        "job": proof_file(w.NETWORK, replace(about, job=one), maker.prove(node, one)),
        "node": proof_file(w.NETWORK, about, maker.prove(node)),
        "absent-job": proof_file(w.NETWORK, replace(about, job=other), maker.prove(node, other)),
        "absent-node": proof_file(w.NETWORK, replace(about, node=nobody), maker.prove(nobody)),
        "absent-node-empty": proof_file(w.NETWORK, empty, AbsentNodeProof(None, None)),
        "claim": ProvenClaim(
            w.NETWORK, w.EPOCH, "node-a", CLAIM, OUTCOME.reward_root, OUTCOME.total
        ).file,
    }
    proved |= _log_files()
    examples: dict[str, Example] = {"proof-job-binary": _binary_job(proved["job"])}
    for name, file in proved.items():
        checked = check_file(encode_json(file))
        assert checked.failed is None, checked.failed
        examples[f"proof-{name}"] = Json(document(file))
        if name in {"job", "absent-job"}:
            steps = {f"{i}. {step.name}": step.value for i, step in enumerate(checked.steps, 1)}
            examples[f"proof-{name}-steps"] = Values({**steps, "says": checked.statement})
    return examples
