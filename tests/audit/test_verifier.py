"""The verifier alone: both forms, its own process without any package, and the same verdict as the library's trees."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.proof_files import (
    ALL_FILES,
    FILES,
    WHOLE,
    consistency_file,
    inclusion_file,
    job_file,
    others,
)
from meridian import verifier
from meridian.audit.proofs import check_file
from meridian.errors import InvalidInput
from meridian.measure.commitment import committed_root, node_leaf
from meridian.measure.manifest import NodeRow
from meridian.measure.proof_form import document, encode_binary, encode_json
from meridian.measure.row import JobRow, job_leaf
from meridian.primitives import hashing, rfc6962
from meridian.primitives.ids import NodeKey, network_id
from meridian.primitives.sumtree import EMPTY_ROOT, LaneKind, fold
from meridian.reward.claims import ClaimProof, verify_claim
from meridian.verifier import Leaf, Malformed, ProofFile

every_file = pytest.mark.parametrize("file", ALL_FILES.values(), ids=ALL_FILES.keys())


def verdict(file: ProofFile) -> bool:
    return verifier.holds(verifier.check(file))


# --- the same rules from the library's own trees ---------------------------------------------------


def plain(file: ProofFile) -> bool:
    """What the library's trees say of a proof; written from the specification, without the verifier."""
    f = file.fields
    try:
        if file.kind == "log_consistency":
            sizes = f["old_size"], f["size"]
            return rfc6962.verify_consistency(*sizes, f["path"], f["old_root"], f["log_root"])
        if file.kind == "log_inclusion":
            entry = f["entry"]
            head = b"\x15" + network_id(f["network"]) + f["epoch"].to_bytes(8, "big")
            place = f["index"], f["size"], f["path"], f["log_root"]
            inside = rfc6962.verify_inclusion(rfc6962.leaf_hash(entry), *place)
            return entry.startswith(head) and inside
        if file.kind == "claim":
            key, amount = NodeKey(f["node_id"].key), f["cumulative_atto"]
            proof = ClaimProof(key, f["payee"], amount, f["index"], f["size"], f["path"])
            return verify_claim(proof, f["reward_root"], f["total_atto"])
        return counted(file.kind, f, LaneKind(f["lanes"]))
    except InvalidInput:
        return False


def counted(kind: str, f, lanes: LaneKind) -> bool:
    def under_root(leaf: Leaf) -> bool:
        top = fold(node_leaf(leaf.row), leaf.index, leaf.size, leaf.path, hashing.NODE_NODE, lanes)
        is_root = committed_root(f["epoch"], leaf.size, top) == f["committed_root"]
        return NodeRow.decode(leaf.row).epoch == f["epoch"] and is_root

    def under_node(leaf: Leaf) -> bool:
        top = fold(job_leaf(leaf.row), leaf.index, leaf.size, leaf.path, hashing.JOB_NODE, lanes)
        is_whole = int.from_bytes(top[32:40], "big") == leaf.size
        return is_whole and top == NodeRow.decode(f["node"].row).job_root

    if kind == "absent_node":
        empty = f["committed_root"] == committed_root(f["epoch"], 0, EMPTY_ROOT)
        return gap(f, lambda row: NodeRow.decode(row).node_key, f["node_id"].key, under_root, empty)
    row = NodeRow.decode(f["node"].row)
    good = row.node_key == f["node_id"].key and under_root(f["node"])
    if kind == "job":
        return (
            good and JobRow.decode(f["job"].row).job_key == f["job_id"].key and under_node(f["job"])
        )
    if kind == "absent_job":
        empty = row.job_root == EMPTY_ROOT
        key = f["job_id"].key
        return good and gap(f, lambda row: JobRow.decode(row).job_key, key, under_node, empty)
    return good


def gap(f, key_of, key: bytes, under, empty: bool) -> bool:
    left, right = f["left"], f["right"]
    good = empty if left is None and right is None else True
    if left is not None:
        good = good and key_of(left.row) < key and under(left)
        good = good and (right is not None or left.index == left.size - 1)
    if right is not None:
        good = good and key < key_of(right.row) and under(right)
        good = good and right.index == (0 if left is None else left.index + 1)
    return good


# --- forms ---------------------------------------------------------------------------------------


@every_file
def test_both_forms_hold_the_same_and_have_one_spelling(file: ProofFile) -> None:
    text, data = encode_json(file), encode_binary(file)
    assert verifier.decode(text) == verifier.decode(data) == file
    assert verdict(file)
    assert plain(file)
    assert check_file(data) == check_file(text)
    assert len(data) < len(text) / 1.8


@every_file
def test_every_byte_of_the_binary_form_counts(file: ProofFile) -> None:
    """One bit of each byte: refused, or read and written alike, with the verdict of the library's trees."""
    data, said = encode_binary(file), verifier.statement(file)
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
        try:
            other = verifier.decode(changed)
        except Malformed:
            continue
        assert encode_binary(other) == changed, at
        holds = verdict(other)
        assert holds == plain(other), at
        if holds:  # the network's name is hashed nowhere, the epoch of a claim neither
            assert verifier.root_of(other) == verifier.root_of(file)
            assert file.kind != "log_inclusion"
            asked = file.fields.get("job_id", file.fields.get("node_id"))
            elsewhere = file.kind == "claim" or (
                file.kind.startswith("absent") and asked is not None and asked.id is None
            )  # between two leaves there is room for many keys; who asks by one knows which
            assert elsewhere or verifier.statement(other) == said, at
            assert other.fields.get("cumulative_atto") == file.fields.get("cumulative_atto"), at


@every_file
def test_other_places_sizes_paths_and_leaves_have_the_verdict_of_the_trees(file: ProofFile) -> None:
    seen = set()
    for other in others(file):
        holds = verdict(other)
        assert holds == plain(other), other
        seen.add(holds)
        try:
            data = encode_binary(other)
        except Malformed:  # a row of another tree, or a place below zero
            assert not holds
            continue
        assert (check_file(data).failed is None) == holds
        assert (check_file(encode_json(other)).failed is None) == holds
    assert False in seen


def test_logs_of_all_sizes_are_consistent_and_no_path_of_another_is() -> None:
    for size in range(1, 8):
        for old_size in range(1, size + 1):
            file = consistency_file(old_size, size)
            assert verdict(file)
            for other in others(file):
                assert verdict(other) == plain(other), other
        for index in range(size):
            assert verdict(inclusion_file(index, size))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_bytes_raise(data: st.DataObject) -> None:
    whole = encode_binary(ALL_FILES[data.draw(st.sampled_from(sorted(ALL_FILES)))])
    at = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(at, min(len(whole), at + 40)))
    changed = whole[:at] + data.draw(st.binary(max_size=40)) + whole[end:]
    try:
        other = verifier.decode(changed)
    except Malformed:
        return
    assert encode_binary(other) == changed
    assert verdict(other) == plain(other)


def test_what_has_no_binary_form_is_no_proof_file() -> None:
    file = FILES["job"]
    for name, value in (("node_id", "x" * 70_000), ("epoch", 1 << 63), ("lanes", "u256")):
        whole = document(file) | {name: value}
        with pytest.raises(Malformed, match=name):
            verifier.decode(json.dumps(whole).encode())
    data = encode_binary(file)
    for wrong in (
        data[:-1],
        data + b"\0",
        data[:3] + b"\2" + data[4:],
        data[:4] + b"\x09" + data[5:],
    ):
        with pytest.raises(Malformed):
            verifier.decode(wrong)


def test_no_kind_has_the_number_0() -> None:
    data = encode_binary(ALL_FILES["log consistency"])
    with pytest.raises(Malformed, match="0 is no kind of proof"):
        verifier.decode(data[:4] + b"\0" + data[5:])


def test_a_proof_of_another_root_than_yours_does_not_hold() -> None:
    steps = verifier.check(FILES["job"], WHOLE.root)
    assert verifier.holds(steps)
    steps = verifier.check(FILES["job"], bytes(32))
    assert (steps[-1].name, steps[-1].ok) == ("your root", False)
    other = job_file(jobs=6)
    assert not verifier.holds(verifier.check(other, WHOLE.root))


# --- alone ---------------------------------------------------------------------------------------

ASK = """
import contextlib, io, runpy, sys
for path in sys.stdin.read().split():
    sys.argv = ["verifier.py", path]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            runpy.run_path("verifier.py", run_name="__main__")
        except SystemExit as end:
            code = end.code
    print(code, out.getvalue().splitlines()[-2 if code == 0 else -1])
"""


def test_a_copy_of_the_file_needs_nothing_but_python(tmp_path: Path) -> None:
    shutil.copy(verifier.__file__, tmp_path / "verifier.py")
    expected, names = [], []
    for at, file in enumerate(ALL_FILES.values()):
        wrong = next(other for other in others(file) if not verdict(other))
        for form, data in (
            ("json", encode_json(file)),
            ("bin", encode_binary(file)),
            ("wrong", encode_json(wrong)),
            ("cut", encode_binary(file)[:-1]),
        ):
            names.append(f"{at}.{form}")
            (tmp_path / names[-1]).write_bytes(data)
            checked = check_file(data)
            if checked.failed is None:
                expected.append(f"0 valid: {checked.statement}")
            elif form == "wrong" and checked.failed.name != "document":
                expected.append(f"1 invalid: {checked.failed.name}")
            else:
                expected.append("1 invalid: ")
    asked = [sys.executable, "-I", "-S", "-c", ASK]
    done = subprocess.run(
        asked, input=" ".join(names), cwd=tmp_path, capture_output=True, text=True, check=True
    )
    answers = done.stdout.splitlines()
    assert len(answers) == len(expected)
    for answer, said in zip(answers, expected, strict=True):
        assert answer == said if not said.endswith(": ") else answer.startswith(said)


def test_the_command_prints_every_step_and_compares_the_root(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "proof.bin"
    path.write_bytes(encode_binary(FILES["job"]))
    assert verifier.main([str(path), "--root", WHOLE.root.hex()]) == 0
    printed = capsys.readouterr().out
    for step in verifier.check(FILES["job"], WHOLE.root):
        assert f"{step.name}: {step.rule}" in printed
        assert f"= {step.value}" in printed
    assert printed.splitlines()[-1].startswith("valid: job 'job-3' is number")
    for arguments, last in ((["--root", "00" * 32], "your root"), (["--root", "xy"], "non-hex")):
        assert verifier.main([str(path), *arguments]) == 1
        assert last in capsys.readouterr().out.splitlines()[-1]


def test_its_tags_and_widths_are_the_librarys() -> None:
    for name in [
        "LOG_LEAF",
        "LOG_NODE",
        "JOB_LEAF",
        "JOB_NODE",
        "NODE_LEAF",
        "NODE_NODE",
        "CLAIM_LEAF",
        "CLAIM_NODE",
        "COMMITTED_ROOT",
        "REWARD_ROOT",
        "EPOCH_RECORD",
    ]:
        assert getattr(verifier, name) == getattr(hashing, name), name
    assert verifier.EMPTY_ROOT == EMPTY_ROOT
    assert tuple(kind.value for kind in LaneKind) == verifier.LANES
