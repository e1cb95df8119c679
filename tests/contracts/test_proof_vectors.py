"""Proof files in the contracts' own trees: valid and broken ones have one verdict in Python and in the EVM.

The trees are those of the shipped contracts: another test compiles these from the same source and compares every byte.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from contract_world import World, abi_type
from eth_abi import encode
from vyper.compiler import compile_from_file_input
from vyper.compiler.input_bundle import FilesystemInputBundle

from meridian import verifier
from meridian.disputes.ways import NO_GAP, Gap, path_words
from meridian.measure.commitment import job_tree, node_tree
from meridian.measure.proof import BuiltTree, Subject, proof_file, prove
from meridian.measure.stored_tree import JOB_ROWS, NODE_ROWS
from meridian.primitives.eip712 import keccak
from meridian.verifier import Leaf, Name, ProofFile

sys.path.append(str(Path(__file__).resolve().parents[1] / "disputes"))
from published_epochs import LANES, job_row, published

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "contracts"
EPOCH = 9
SIZES = {f"n{i}": count for i, count in enumerate((1, 2, 3, 4, 7, 9))}
AT = 10**15


class Machine:
    """The harness in an empty EVM."""

    def __init__(self) -> None:
        bundle = FilesystemInputBundle([SOURCES, HERE])
        source = bundle.load_file("ProofHarness.vy")
        formats = ["abi", "bytecode"]
        made = compile_from_file_input(source, input_bundle=bundle, output_formats=formats)
        self.env = World.machine(World)
        code = bytes.fromhex(made["bytecode"].removeprefix("0x"))
        self.address, run = self.env.deploy(bytecode=code)
        assert not run.is_error
        self.types = {
            entry["name"]: [abi_type(part) for part in entry["inputs"]] for entry in made["abi"]
        }

    def accepts(self, function: str, *words: object) -> bool:
        types = self.types[function]
        selector = keccak(f"{function}({','.join(types)})".encode())[:4]
        data = selector + encode(types, words)
        return not self.env.execute_code(to_address=self.address, data=data).is_error


@pytest.fixture(scope="module")
def machine() -> Machine:
    return Machine()


@cache
def epoch() -> tuple[BuiltTree, dict[str, BuiltTree], bytes]:
    jobs = {
        name: [job_row(f"{name}/{k}", AT + k) for k in range(count)]
        for name, count in SIZES.items()
    }
    made = published(EPOCH, jobs, bytes(20))
    nodes = BuiltTree(made.node_rows, node_tree(made.node_rows, LANES), NODE_ROWS)
    own = [BuiltTree(rows, job_tree(rows, LANES), JOB_ROWS) for rows in made.job_rows]
    return nodes, own, made.commitment.root


def file_of(node: str, job: str | None = None) -> ProofFile:
    nodes, own, root = epoch()
    named = Name.of(node), None if job is None else Name.of(job)
    proof = prove(nodes, own.__getitem__, named[0].key, named[1].key if named[1] else None)
    return proof_file("net", Subject(EPOCH, root, LANES, *named), proof)


def vectors() -> dict[str, ProofFile]:
    """All jobs and nodes, and strangers until every kind of gap was there."""
    found = {f"node {name}": file_of(name) for name in SIZES}
    for name, count in SIZES.items():
        found |= {f"job {name}/{k}": file_of(name, f"{name}/{k}") for k in range(count)}
        found |= {f"no job {name} {k}": file_of(name, f"never {k}") for k in range(12)}
    return found | {f"no node {k}": file_of(f"stranger {k}") for k in range(24)}


# --- from a file to the contracts' arguments ------------------------------------------------------


def place(leaf: Leaf) -> tuple[object, ...]:
    return leaf.row, leaf.index, leaf.size, path_words(leaf.path)


def gap_of(left: Leaf | None, right: Leaf | None) -> Gap:
    """Two neighbours share the upper part of their paths; a contract gets it once."""
    if left is None and right is None:
        return NO_GAP
    if right is None:
        return Gap(left.row, b"", left.index, left.path, ())
    if left is None:
        return Gap(b"", right.row, right.index, right.path, ())
    level = (~left.index & (left.index + 1)).bit_length() - 1
    leaves = min(1 << level, right.size - right.index)
    return Gap(left.row, right.row, left.index, left.path, right.path[: (leaves - 1).bit_length()])


def judge(machine: Machine, file: ProofFile) -> bool:
    f = file.fields
    sides = [leaf for leaf in (f.get("left"), f.get("right")) if leaf is not None]
    size = sides[0].size if file.kind == "absent_node" and sides else 0
    if "node" in f:
        size = f["node"].size
    commitment = (f["epoch"], bytes(20), f["committed_root"], size, bytes(24), bytes(32))
    key = f["node_id"].key
    if file.kind == "node":
        return machine.accepts("node", commitment, place(f["node"]), key)
    if file.kind == "job":
        words = (place(f["node"]), key, place(f["job"]), f["job_id"].key)
        return machine.accepts("job", commitment, *words)
    gap = gap_of(f["left"], f["right"]).words
    if file.kind == "absent_node":
        return machine.accepts("absent_node", commitment, gap, key)
    return machine.accepts("absent_job", commitment, place(f["node"]), key, gap, f["job_id"].key)


def verdict(file: ProofFile) -> bool:
    return verifier.holds(verifier.check(file))


# --- broken ones ----------------------------------------------------------------------------------


def flip(data: bytes, at: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]


def broken_leaf(leaf: Leaf, shared: int) -> Iterator[Leaf]:
    """Changes that a contract can see: `shared` nodes at the upper end of the path are not sent."""
    for at in (1, 5, 9, 30, 40, 57, 66, 95, len(leaf.row) - 1):
        yield replace(leaf, row=flip(leaf.row, at))
    for node in range(len(leaf.path) - shared):
        for at in (0, 31, 39, 47, 55):
            changed = flip(leaf.path[node], at)
            yield replace(leaf, path=(*leaf.path[:node], changed, *leaf.path[node + 1 :]))


def broken(file: ProofFile) -> Iterator[ProofFile]:
    f = file.fields
    changes: list[tuple[str, object]] = [
        ("committed_root", flip(f["committed_root"], 3)),
        ("epoch", f["epoch"] + 1),
        ("node_id", Name.of("n0" if f["node_id"].id != "n0" else "n1")),
    ]
    if "job_id" in f:
        changes.append(("job_id", Name.of("n4/2" if f["job_id"].id != "n4/2" else "n4/3")))
    both = f.get("left") is not None and f.get("right") is not None
    for name in ("job", "node", "left", "right"):
        leaf = f.get(name)
        if leaf is None:
            continue
        sent = gap_of(f["left"], f["right"]).lower if both and name == "right" else leaf.path
        changes += [(name, one) for one in broken_leaf(leaf, len(leaf.path) - len(sent))]
        if name in {"job", "node"}:
            changes += [(name, replace(leaf, index=leaf.index + 1))]
            changes += [(name, replace(leaf, size=leaf.size + 1))]
            changes += [(name, replace(leaf, path=leaf.path[1:]))]
            changes += [(name, replace(leaf, path=(*leaf.path, bytes(56))))]
    if both:
        changes += [("right", None), ("left", None)]
    for name, value in changes:
        yield ProofFile(file.kind, {**f, name: value})


def test_the_vectors_have_every_kind_and_every_gap() -> None:
    files = vectors().values()
    assert {file.kind for file in files} == {"job", "node", "absent_job", "absent_node"}
    for kind in ("absent_job", "absent_node"):
        gaps = {(f["left"] is None, f["right"] is None) for k, f in files if k == kind}
        assert gaps == {(False, False), (True, False), (False, True)}


def test_every_valid_proof_holds_in_the_contracts_trees(machine: Machine) -> None:
    for name, file in vectors().items():
        assert verdict(file), name
        assert judge(machine, file), name


@pytest.mark.parametrize(
    "name",
    ["node n2", "job n4/2", "job n0/0", "no job n5 1", "no job n5 4", "no node 0", "no node 1"],
)
def test_broken_proofs_have_the_same_verdict(machine: Machine, name: str) -> None:
    refused = 0
    for file in broken(vectors()[name]):
        holds = verdict(file)
        assert judge(machine, file) == holds, file
        refused += not holds
    assert refused > 10
