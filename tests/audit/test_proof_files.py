"""Proof files: each hash step is shown, and any change to the file makes one named step fail."""

import copy
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meridian.audit.proofs import (
    Place,
    check_proof,
    claim_document,
    encode_document,
    job_document,
    node_document,
)
from meridian.primitives import hashing
from meridian.primitives.hashing import tagged
from meridian.primitives.ids import Address, job_key, node_key
from meridian.primitives.sumtree import LaneKind, SumTree, leaf_node
from meridian.reward.claims import ClaimsState

LANES = LaneKind.PAIR_U64
EPOCH = 9


def matrix(leaves: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(leaves), dtype=np.uint8).reshape(len(leaves), 56)


def job_row(job_id: str, amount: int) -> bytes:
    head = bytes((0, 1, 0, 0)) + job_key(job_id)
    return head + bytes(16) + LANES.join([amount, 1]) + hashing.sha256(job_id.encode())


def trees(jobs: int = 5, nodes: int = 6):
    """One node with jobs, among others, built from the primitives alone."""
    rows = sorted((job_row(f"job-{i}", 10 * i) for i in range(jobs)), key=lambda row: row[4:36])
    job_tree = SumTree(
        matrix([leaf_node(tagged(hashing.JOB_LEAF, row), 1, row[52:68]) for row in rows]),
        hashing.JOB_NODE,
        LANES,
    )
    ids = sorted((f"node-{i}" for i in range(nodes)), key=node_key)
    node_rows = [
        bytes(4) + EPOCH.to_bytes(4, "big") + node_key(name) + bytes(20) + job_tree.root
        for name in ids
    ]
    node_tree = SumTree(
        matrix([tagged(hashing.NODE_LEAF, row) + row[92:116] for row in node_rows]),
        hashing.NODE_NODE,
        LANES,
    )
    root = tagged(
        hashing.COMMITTED_ROOT, EPOCH.to_bytes(8, "big"), nodes.to_bytes(8, "big"), node_tree.root
    )
    place = ids.index("node-1")
    node = Place(node_rows[place], place, nodes, node_tree.path(place))
    return rows, job_tree, node, root


def job_proof(number: int = 3, jobs: int = 5) -> dict:
    rows, tree, node, root = trees(jobs)
    at = next(i for i, row in enumerate(rows) if row[4:36] == job_key(f"job-{number}"))
    job = Place(rows[at], at, len(rows), tree.path(at))
    return job_document(
        "net", EPOCH, "node-1", f"job-{number}", lanes=LANES, job=job, node=node, root=root
    )


def node_proof() -> dict:
    _, _, node, root = trees()
    return node_document("net", EPOCH, "node-1", lanes=LANES, node=node, root=root)


def claim_proof() -> dict:
    state = ClaimsState.empty().advance(
        {node_key(f"node-{i}"): (Address(bytes([i]) * 20), 1000 + i) for i in range(7)}
    )
    proof = state.proof(node_key("node-1"))
    return claim_document("net", EPOCH, "node-1", proof, state.reward_root, state.total)


PROOFS = {"job": job_proof, "node": node_proof, "claim": claim_proof}


@pytest.mark.parametrize("kind", PROOFS)
def test_a_proof_is_valid_and_shows_every_level(kind: str) -> None:
    document = PROOFS[kind]()
    checked = check_proof(encode_document(document))
    assert checked.failed is None
    assert (checked.kind, checked.epoch, checked.network) == (kind, EPOCH, "net")
    levels = [step for step in checked.steps if ", level " in step.name]
    paths = {
        "job": lambda: document["job"]["path"] + document["node"]["path"],
        "node": lambda: document["node"]["path"],
        "claim": lambda: document["path"],
    }[kind]()
    assert len(levels) == len(paths) > 2
    assert "node-1" in checked.statement


@pytest.mark.parametrize("jobs", [1, 2, 3, 4, 7])
def test_job_proofs_of_every_position_are_valid(jobs: int) -> None:
    for number in range(jobs):
        assert check_proof(encode_document(job_proof(number, jobs))).failed is None


def leaves_of(value: object, path: tuple = ()):
    """Return the paths of all scalars in a document."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves_of(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves_of(inner, (*path, index))
    else:
        yield path


def changed(value: object) -> object:
    if isinstance(value, int):
        return value + 1
    text = str(value)
    last = text[-1]
    return text[:-1] + ("1" if last != "1" else "2")


@pytest.mark.parametrize(
    ("kind", "path"), [(kind, path) for kind, make in PROOFS.items() for path in leaves_of(make())]
)
def test_a_change_of_any_field_fails_a_step(kind: str, path: tuple) -> None:
    document = PROOFS[kind]()
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = changed(holder[path[-1]])
    checked = check_proof(encode_document(document))
    if path == ("network",) or (kind, path) == ("claim", ("epoch",)):
        # hashed nowhere; the comparison with the chain checks them
        assert checked.failed is None
        return
    assert checked.failed is not None
    assert checked.failed is checked.steps[-1]


def test_the_failing_step_is_named() -> None:
    document = job_proof()
    document["job_id"] = "job-4"
    assert check_proof(encode_document(document)).failed.name == "job key"
    document = job_proof()
    document["job"]["path"].append(document["job"]["path"][0])
    assert check_proof(encode_document(document)).failed.name.startswith("job tree")
    document = job_proof()
    document["committed_root"] = "00" * 32
    assert check_proof(encode_document(document)).failed.name == "root"
    document = claim_proof()
    document["total_atto"] = "1"
    assert check_proof(encode_document(document)).failed.name == "total"


def test_missing_fields_and_garbage_fail_the_document() -> None:
    for kind, make in PROOFS.items():
        for key in make():
            document = copy.deepcopy(make())
            del document[key]
            failed = check_proof(encode_document(document)).failed
            assert (failed.name if failed else None) == "document", (kind, key)
    for data in (b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"meridian_proof": 1, "kind": 5}'):
        assert check_proof(data).failed.name == "document"


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_value_of_a_field_raises(data: st.DataObject) -> None:
    make = data.draw(st.sampled_from(sorted(PROOFS)))
    document = PROOFS[make]()
    paths = list(leaves_of(document))
    path = data.draw(st.sampled_from(paths))
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    old = holder[path[-1]]
    holder[path[-1]] = data.draw(
        st.one_of(st.none(), st.integers(), st.text(max_size=8), st.lists(st.none()), st.booleans())
    )
    checked = check_proof(json.dumps(document).encode())
    assert (
        checked.failed is not None or holder[path[-1]] == old or path in {("network",), ("epoch",)}
    )
