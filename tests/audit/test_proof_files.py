"""Proof files: each hash step is shown, and no change of a file can make it say something else."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.audit_world import NETWORK
from audit.memory_chain import MemoryChain
from meridian.audit.proof_document import (
    FILE_BYTES_MAX,
    ClaimFile,
    CountedFile,
    decode_file,
    encode_file,
)
from meridian.audit.proofs import Checked, chain_step, check_file
from meridian.audit.source import Schedule
from meridian.contracts.events import Committed, Reported
from meridian.measure.proof import (
    AbsentJobProof,
    AbsentNodeProof,
    JobProof,
    Leaf,
    NodeProof,
    Proof,
    Subject,
)
from meridian.primitives import hashing
from meridian.primitives.hashing import tagged
from meridian.primitives.ids import Address, job_key, node_key
from meridian.primitives.sumtree import EMPTY_ROOT, LaneKind, SumTree, leaf_node
from meridian.reward.claims import ClaimsState

LANES = LaneKind.PAIR_U64
EPOCH = 9
NAME = NETWORK.name


def tree_of(leaves: list[bytes], tag: int) -> SumTree:
    matrix = np.frombuffer(b"".join(leaves), dtype=np.uint8).reshape(len(leaves), 56)
    return SumTree(matrix, tag, LANES)


def job_row(job_id: str, amount: int) -> bytes:
    head = bytes((0, 1, 0, 0)) + job_key(job_id)
    return head + bytes(16) + LANES.join([amount, 1]) + hashing.sha256(job_id.encode())


class Epoch:
    """One node with jobs, among others, built from the primitives alone."""

    def __init__(self, jobs: int = 5, nodes: int = 6) -> None:
        self.rows = sorted(
            (job_row(f"job-{i}", 10 * i) for i in range(jobs)), key=lambda row: row[4:36]
        )
        self.jobs = tree_of(
            [leaf_node(tagged(hashing.JOB_LEAF, row), 1, row[52:68]) for row in self.rows],
            hashing.JOB_NODE,
        )
        self.ids = sorted((f"node-{i}" for i in range(nodes)), key=node_key)
        self.node_rows = [
            bytes(4) + EPOCH.to_bytes(4, "big") + node_key(name) + bytes(20) + self.jobs.root
            for name in self.ids
        ]
        self.nodes = tree_of(
            [tagged(hashing.NODE_LEAF, row) + row[92:116] for row in self.node_rows],
            hashing.NODE_NODE,
        )
        self.root = committed(nodes, self.nodes.root)

    def job(self, at: int) -> Leaf:
        return Leaf(self.rows[at], at, len(self.rows), tuple(self.jobs.path(at)))

    def node(self, at: int) -> Leaf:
        return Leaf(self.node_rows[at], at, len(self.ids), tuple(self.nodes.path(at)))

    @property
    def own(self) -> Leaf:
        return self.node(self.ids.index("node-1"))

    def file(self, proof: Proof, node_id: str = "node-1", job_id: str | None = None) -> CountedFile:
        return CountedFile(NAME, Subject(EPOCH, self.root, LANES, node_id, job_id), proof)


def committed(size: int, top: bytes) -> bytes:
    head = EPOCH.to_bytes(8, "big") + size.to_bytes(8, "big")
    return tagged(hashing.COMMITTED_ROOT, head, top)


WHOLE = Epoch()


def job_file(number: int = 3, jobs: int = 5) -> CountedFile:
    epoch = Epoch(jobs)
    at = next(i for i, row in enumerate(epoch.rows) if row[4:36] == job_key(f"job-{number}"))
    return epoch.file(JobProof(epoch.job(at), epoch.own), job_id=f"job-{number}")


def key_at(place: int, keys: list[bytes], key_of, name: str) -> str:
    """Return an id whose key stands in front of the given place."""
    ids = (f"{name}-{i}" for i in range(1000))
    return next(one for one in ids if sum(key < key_of(one) for key in keys) == place)


def absent_job_file(place: int) -> CountedFile:
    job_id = key_at(place, [row[4:36] for row in WHOLE.rows], job_key, "never")
    left = WHOLE.job(place - 1) if place > 0 else None
    right = WHOLE.job(place) if place < len(WHOLE.rows) else None
    return WHOLE.file(AbsentJobProof(left, right, WHOLE.own), job_id=job_id)


def absent_node_file(place: int) -> CountedFile:
    node_id = key_at(place, [row[8:40] for row in WHOLE.node_rows], node_key, "stranger")
    left = WHOLE.node(place - 1) if place > 0 else None
    right = WHOLE.node(place) if place < len(WHOLE.ids) else None
    return WHOLE.file(AbsentNodeProof(left, right), node_id)


def empty_epoch_file() -> CountedFile:
    subject = Subject(EPOCH, committed(0, EMPTY_ROOT), LANES, "node-1")
    return CountedFile(NAME, subject, AbsentNodeProof(None, None))


def claim_file() -> ClaimFile:
    state = ClaimsState.empty().advance(
        {node_key(f"node-{i}"): (Address(bytes([i]) * 20), 1000 + i) for i in range(7)}
    )
    proof = state.proof(node_key("node-1"))
    return ClaimFile(NAME, EPOCH, "node-1", proof, state.reward_root, state.total)


FILES = {
    "job": job_file(),
    "node": WHOLE.file(NodeProof(WHOLE.own)),
    "absent job between": absent_job_file(2),
    "absent job before the first": absent_job_file(0),
    "absent job after the last": absent_job_file(5),
    "absent node between": absent_node_file(3),
    "absent node before the first": absent_node_file(0),
    "absent node after the last": absent_node_file(6),
    "absent node of an empty epoch": empty_epoch_file(),
    "claim": claim_file(),
}
SAID = {
    "job": "job 'job-3' is number ",
    "node": "node 'node-1' has 5 jobs in epoch 9",
    "absent_job": " is none of the 5 jobs of node 'node-1' in epoch 9",
    "absent_node": " has no job in epoch 9",
    "claim": "node 'node-1' earned 1001 atto in all, payable to 0x0101",
}
every_file = pytest.mark.parametrize("file", FILES.values(), ids=FILES.keys())


def chain_of(file: CountedFile | ClaimFile) -> MemoryChain:
    """Return a chain that has the file's root, and other roots in other epochs."""
    chain = MemoryChain(NETWORK, (), Schedule(0, bytes(32), bytes(32)), {})
    to = Address(bytes(20))
    if isinstance(file, ClaimFile):
        for epoch, root in ((EPOCH, file.reward_root), (8, bytes(32))):
            chain.reported.append(Reported(epoch, bytes(32), to, root, file.total, 0, bytes(32)))
        return chain
    for epoch, root in ((EPOCH, file.subject.root), (8, bytes(32))):
        chain.committed.append(Committed(epoch, to, root, 0, bytes(24), bytes(32), bytes(32)))
    return chain


def anchored(checked: Checked, chain: MemoryChain) -> bool:
    return checked.failed is None and chain_step(checked, chain, NETWORK.network_id).ok


@every_file
def test_a_proof_is_valid_says_so_and_shows_every_level(file: CountedFile | ClaimFile) -> None:
    data = encode_file(file)
    assert decode_file(data) == file
    checked = check_file(data)
    assert checked.failed is None
    assert (checked.kind, checked.epoch, checked.network) == (file.kind, EPOCH, NAME)
    assert SAID[file.kind] in checked.statement
    levels = [step for step in checked.steps if ", level " in step.name]
    assert len(levels) == sum(map(len, paths_in(file.document())))
    assert anchored(checked, chain_of(file))


def paths_in(value: object) -> list[list[str]]:
    if not isinstance(value, dict):
        return []
    inner = [path for item in value.values() for path in paths_in(item)]
    return [value["path"], *inner] if "path" in value else inner


@pytest.mark.parametrize("jobs", [1, 2, 3, 4, 7])
def test_job_proofs_of_every_position_are_valid(jobs: int) -> None:
    for number in range(jobs):
        assert check_file(encode_file(job_file(number, jobs))).failed is None


@every_file
def test_every_bit_flip_is_refused_or_changes_nothing_that_is_claimed(
    file: CountedFile | ClaimFile,
) -> None:
    data = encode_file(file)
    chain, true = chain_of(file), claimed(check_file(data))
    for at in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            checked = check_file(bytes(changed))
            if checked.failed is None:
                assert (checked.kind, checked.statement) == (file.kind, true[2]), (at, bit)
            if anchored(checked, chain):
                assert claimed(checked) == true, (at, bit)


def claimed(checked: Checked) -> tuple[object, ...]:
    said = (checked.kind, checked.epoch, checked.statement, checked.root, checked.total)
    return (*said, checked.network)


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
    if value is None:
        return {}
    if isinstance(value, int):
        return value + 1
    text = str(value)
    last = text[-1]
    return text[:-1] + ("1" if last != "1" else "2")


def with_value(file: CountedFile | ClaimFile, path: tuple, value: object) -> bytes:
    document = copy.deepcopy(file.document())
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return json.dumps(document).encode()


def value_at(file: CountedFile | ClaimFile, path: tuple) -> object:
    value = file.document()
    for key in path:
        value = value[key]
    return value


@pytest.mark.parametrize(
    ("name", "path"),
    [(name, path) for name, file in FILES.items() for path in leaves_of(file.document())],
)
def test_a_change_of_any_field_fails_a_step(name: str, path: tuple) -> None:
    file = FILES[name]
    checked = check_file(with_value(file, path, changed(value_at(file, path))))
    assert not anchored(checked, chain_of(file))
    if path == ("network",) or (name, path) == ("claim", ("epoch",)):
        assert checked.failed is None  # hashed nowhere, said nowhere; the chain is what refuses it
        return
    assert checked.failed is checked.steps[-1]
    assert (checked.statement, checked.root, checked.total) == ("", b"", 0)


def test_the_failing_step_is_named() -> None:
    def failed(name: str, path: tuple, value: object) -> str:
        return check_file(with_value(FILES[name], path, value)).failed.name

    path = value_at(FILES["job"], ("job", "path"))
    assert failed("job", ("job_id",), "job-4") == "job key"
    assert failed("job", ("job", "path"), [*path, path[0]]) == "job tree"
    assert failed("job", ("committed_root",), "00" * 32) == "root"
    assert failed("claim", ("total_atto",), "1") == "total"
    assert failed("absent job between", ("job_id",), "job-3") == "document"
    assert failed("absent job between", ("right",), None) == "neighbours"
    assert failed("absent node after the last", ("left",), None) == "root"
    assert failed("absent node of an empty epoch", ("epoch",), 8) == "root"


def test_absence_next_to_another_root_is_not_believed() -> None:
    """What one aggregator lacks another may have; what one has is counted anyway."""
    for name, file in FILES.items():
        if isinstance(file, CountedFile):
            chain = chain_of(file)
            chain.committed.append(replace(chain.committed[0], root=bytes(32)))
            checked = check_file(encode_file(file))
            assert anchored(checked, chain) == (not name.startswith("absent")), name


@every_file
def test_missing_and_added_fields_fail_the_document(file: CountedFile | ClaimFile) -> None:
    for key in file.document():
        document = file.document()
        del document[key]
        assert check_file(json.dumps(document).encode()).failed.name == "document", key
    for more in ({"more": 1}, {"job": None}, {"payee": None}):
        document = more | file.document()
        if document != file.document():
            assert check_file(json.dumps(document).encode()).failed.name == "document", more


@every_file
def test_a_value_has_one_spelling(file: CountedFile | ClaimFile) -> None:
    text = encode_file(file).decode()
    root = file.reward_root if isinstance(file, ClaimFile) else file.subject.root
    others = [
        text.replace(root.hex(), root.hex().upper()),
        text.replace('"meridian_proof": 1', '"meridian_proof": true'),
        text.replace('"meridian_proof": 1', '"meridian_proof": 1.0'),
        text.replace('"epoch": 9', '"epoch": 9.0'),
        text.replace('"epoch": 9', '"epoch": 8, "epoch": 9'),
        "\ufeff" + text,
    ]
    for other in others:
        assert other != text
        assert check_file(other.encode()).failed.name == "document"
    assert check_file(text.encode("utf-16")).failed.name == "document"
    assert check_file(json.dumps(file.document(), sort_keys=True).encode()).failed is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b"\xff",
        b"[" * 100_000,
        b'{"meridian_proof": 1}',
        b'{"meridian_proof": 1, "kind": 5}',
        b'{"meridian_proof": 1, "kind": "wish"}',
        b'{"meridian_proof": ' + b"1" * 5000 + b"}",
        b" " * FILE_BYTES_MAX + b" ",
    ],
    ids=range(11),
)
def test_garbage_fails_the_document(data: bytes) -> None:
    checked = check_file(data)
    assert (checked.failed.name, checked.kind, len(checked.steps)) == ("document", "", 1)


def test_text_that_is_not_unicode_is_refused() -> None:
    for name, path in (("job", ("node_id",)), ("job", ("job_id",)), ("claim", ("network",))):
        data = with_value(FILES[name], path, "\ud800")
        assert check_file(data).failed.name == "document"


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_no_value_of_a_field_raises(data: st.DataObject) -> None:
    file = FILES[data.draw(st.sampled_from(sorted(FILES)))]
    path = data.draw(st.sampled_from(list(leaves_of(file.document()))))
    value = data.draw(
        st.one_of(
            st.none(),
            st.integers(),
            st.text(st.characters(), max_size=8),
            st.lists(st.none()),
            st.booleans(),
            st.dictionaries(st.text(max_size=3), st.none()),
        )
    )
    checked = check_file(with_value(file, path, value))
    same = value == value_at(file, path) and type(value) is type(value_at(file, path))
    assert checked.failed is not None or same or path in {("network",), ("epoch",)}
