"""Trees and proofs that others made: RFC 6962 cases, OpenZeppelin dumps, an airdrop that was really paid."""

import base64
import csv
import gzip
import json

import pytest
from eth_abi.abi import encode
from eth_hash.auto import keccak as keccak256

from meridian.primitives import rfc6962

UNI_ROOT = "c8500f8e2fcf3c9a32880e1b973fb28acc88be35787a8abcf9981b2b65dbdeb5"


def data_of(text):
    return base64.b64decode(text) if text else b""


def inclusion(case, path):
    leaf, head = data_of(case["leafHash"]), data_of(case["root"])
    return rfc6962.verify_inclusion(leaf, case["leafIdx"], case["treeSize"], path, head)


def consistency(case, path):
    old, new = data_of(case["root1"]), data_of(case["root2"])
    return rfc6962.verify_consistency(case["size1"], case["size2"], path, old, new)


def subtree_inclusion(case, path):
    leaf, head = data_of(case["leafHash"]), data_of(case["root"])
    return rfc6962.verify_subtree_inclusion(
        leaf, case["leafIdx"], case["start"], case["end"], path, head
    )


def subtree_consistency(case, path):
    part, whole = data_of(case["root1"]), data_of(case["root2"])
    return rfc6962.verify_subtree_consistency(
        case["start"], case["end"], case["size"], path, part, whole
    )


@pytest.mark.parametrize(
    ("folder", "verify", "cases"),
    [
        ("inclusion", inclusion, 98),
        ("consistency", consistency, 98),
        ("subtreeinclusion", subtree_inclusion, 204),
        ("subtreeconsistency", subtree_consistency, 118),
    ],
)
def test_the_518_cases_of_rfc_6962_are_all_answered_as_expected(shared_dir, folder, verify, cases):
    paths = sorted((shared_dir / "vectors/rfc6962/testdata" / folder).rglob("*.json"))
    wrong = []
    for path in paths:
        case = json.loads(path.read_text())
        if verify(case, [data_of(p) for p in case["proof"] or []]) == case["wantErr"]:
            wrong.append(str(path))
    assert wrong == []
    assert len(paths) == cases


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 16, 21])
def test_subtree_proofs_made_by_definition_verify_and_changed_ones_do_not(size):
    """The proof of a subtree is that of consistency, cut where the subtree is reached (draft section 4.4.1)."""
    leaves = [rfc6962.leaf_hash(bytes((at,))) for at in range(size)]
    head, tried = rfc6962.root(leaves), 0
    for start in range(size):
        for end in range(start + 1, size + 1):
            if not rfc6962.is_subtree(start, end):
                continue
            part = rfc6962.root(leaves[start:end])
            path = subtree_path(leaves, start, end, complete=True)
            assert rfc6962.verify_subtree_consistency(start, end, size, path, part, head)
            for at in range(len(path)):
                bad = [*path[:at], bytes(32), *path[at + 1 :]]
                assert not rfc6962.verify_subtree_consistency(start, end, size, bad, part, head)
            other = rfc6962.leaf_hash(b"other")
            assert not rfc6962.verify_subtree_consistency(start, end, size, path, other, head)
            tried += 1
    assert tried >= size


def subtree_path(leaves, start, end, *, complete):
    """SUBTREE_SUBPROOF of the draft, recursively."""
    if start == 0 and end == len(leaves):
        return [] if complete else [rfc6962.root(leaves)]
    middle = 1 << ((len(leaves) - 1).bit_length() - 1)
    if end <= middle:
        inner = subtree_path(leaves[:middle], start, end, complete=complete)
        return [*inner, rfc6962.root(leaves[middle:])]
    if start >= middle:
        inner = subtree_path(leaves[middle:], start - middle, end - middle, complete=complete)
        return [*inner, rfc6962.root(leaves[:middle])]
    inner = subtree_path(leaves[middle:], 0, end - middle, complete=False)
    return [*inner, rfc6962.root(leaves[:middle])]


def sorted_pair(left, right):
    return keccak256(min(left, right) + max(left, right))


@pytest.mark.parametrize("name", ["simple", "standard"])
@pytest.mark.parametrize("order", ["sorted", "unsorted"])
def test_openzeppelin_dumps_are_the_trees_of_their_values(shared_dir, name, order):
    path = shared_dir / f"vectors/openzeppelin_merkle/{name}-v1.{order}.1_0_6.json"
    dump = json.loads(path.read_text())
    tree = [bytes.fromhex(node[2:]) for node in dump["tree"]]
    for entry in dump["values"]:
        if name == "standard":
            leaf = keccak256(keccak256(encode(dump["leafEncoding"], entry["value"])))
        else:
            leaf = bytes.fromhex(entry["value"][2:])
        assert tree[entry["treeIndex"]] == leaf
    inner = len(tree) // 2
    assert all(tree[at] == sorted_pair(tree[2 * at + 1], tree[2 * at + 2]) for at in range(inner))
    assert len(dump["values"]) == len(tree) - inner


def test_the_root_of_the_uni_airdrop_comes_from_its_252_803_leaves(shared_dir):
    """Leaves keccak(index u256 | address | amount u256) and pairs sorted, an odd last one carried up."""
    with gzip.open(shared_dir / "vectors/uniswap_airdrop/uni_airdrop_leaves.csv.gz", "rt") as file:
        rows = list(csv.reader(file))[1:]
    level = sorted(
        keccak256(
            int(index).to_bytes(32, "big")
            + bytes.fromhex(account[2:])
            + int(amount).to_bytes(32, "big")
        )
        for index, account, amount in rows
    )
    assert len(level) == 252_803
    while len(level) > 1:
        pairs = zip(level[0::2], level[1::2], strict=False)
        odd = level[-1:] if len(level) % 2 else []
        level = [keccak256(a + b if a < b else b + a) for a, b in pairs] + odd
    assert level[0].hex() == UNI_ROOT
