"""Proof files: each hash step is shown, and no change of a file can make it say something else."""

import copy
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.audit_world import NETWORK
from audit.memory_chain import MemoryChain
from audit.proof_files import EPOCH, FILES, NAME, job_file
from meridian.audit.proofs import Checked, chain_step, check_file
from meridian.audit.source import Schedule
from meridian.contracts.events import Committed, Reported
from meridian.measure.proof_form import decode_file, document, encode_json
from meridian.primitives.ids import Address
from meridian.verifier import FILE_BYTES_MAX, ProofFile, root_of

SAID = {
    "job": "job 'job-3' is number ",
    "node": "node 'node-1' has 5 jobs in epoch 9",
    "absent_job": " is none of the 5 jobs of node 'node-1' in epoch 9",
    "absent_node": " has no job in epoch 9",
    "claim": "node 'node-1' earned 1001 atto in all, payable to 0x0101",
}
every_file = pytest.mark.parametrize("file", FILES.values(), ids=FILES.keys())


def chain_of(file: ProofFile) -> MemoryChain:
    """Return a chain that has the file's root, and other roots in other epochs."""
    chain = MemoryChain(NETWORK, (), Schedule(0, bytes(32), bytes(32)), {})
    to = Address(bytes(20))
    if file.kind == "claim":
        for epoch, root in ((EPOCH, file.fields["reward_root"]), (8, bytes(32))):
            total = file.fields["total_atto"]
            chain.reported.append(Reported(epoch, bytes(32), to, root, total, 0, bytes(32)))
        return chain
    for epoch, root in ((EPOCH, file.fields["committed_root"]), (8, bytes(32))):
        chain.committed.append(Committed(epoch, to, root, 0, bytes(24), bytes(32), bytes(32)))
    return chain


def anchored(checked: Checked, chain: MemoryChain) -> bool:
    return checked.failed is None and chain_step(checked, chain, NETWORK.network_id).ok


@every_file
def test_a_proof_is_valid_says_so_and_shows_every_level(file: ProofFile) -> None:
    data = encode_json(file)
    assert decode_file(data) == file
    checked = check_file(data)
    assert checked.failed is None
    assert (checked.kind, checked.epoch, checked.network) == (file.kind, EPOCH, NAME)
    assert SAID[file.kind] in checked.statement
    levels = [step for step in checked.steps if ", level " in step.name]
    assert len(levels) == sum(map(len, paths_in(document(file))))
    assert anchored(checked, chain_of(file))


def paths_in(value: object) -> list[list[str]]:
    if not isinstance(value, dict):
        return []
    inner = [path for item in value.values() for path in paths_in(item)]
    return [value["path"], *inner] if "path" in value else inner


@pytest.mark.parametrize("jobs", [1, 2, 3, 4, 7])
def test_job_proofs_of_every_position_are_valid(jobs: int) -> None:
    for number in range(jobs):
        assert check_file(encode_json(job_file(number, jobs))).failed is None


@every_file
def test_every_bit_flip_is_refused_or_changes_nothing_that_is_claimed(
    file: ProofFile,
) -> None:
    data = encode_json(file)
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


def with_value(file: ProofFile, path: tuple, value: object) -> bytes:
    whole = copy.deepcopy(document(file))
    holder = whole
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return json.dumps(whole).encode()


def value_at(file: ProofFile, path: tuple) -> object:
    value = document(file)
    for key in path:
        value = value[key]
    return value


@pytest.mark.parametrize(
    ("name", "path"),
    [(name, path) for name, file in FILES.items() for path in leaves_of(document(file))],
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
        if file.kind != "claim":
            chain = chain_of(file)
            chain.committed.append(replace(chain.committed[0], root=bytes(32)))
            checked = check_file(encode_json(file))
            assert anchored(checked, chain) == (not name.startswith("absent")), name


@every_file
def test_missing_and_added_fields_fail_the_document(file: ProofFile) -> None:
    for key in document(file):
        whole = document(file)
        del whole[key]
        checked = check_file(json.dumps(whole).encode())
        if key in {"node_id", "job_id"} and (by := whole.get(key.replace("_id", "_key"))):
            assert checked.failed is None
            assert f"with key {by}" in checked.statement
        else:
            assert checked.failed.name == "document", key
    for more in ({"more": 1}, {"job": None}, {"payee": None}):
        whole = more | document(file)
        if whole != document(file):
            assert check_file(json.dumps(whole).encode()).failed.name == "document", more


@every_file
def test_a_value_has_one_spelling(file: ProofFile) -> None:
    text = encode_json(file).decode()
    root = root_of(file)
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
    assert check_file(json.dumps(document(file), sort_keys=True).encode()).failed is None


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
    path = data.draw(st.sampled_from(list(leaves_of(document(file)))))
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
