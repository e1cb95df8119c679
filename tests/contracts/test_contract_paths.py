"""The contracts' tree library gives the roots of `meridian.primitives.sumtree`, and no others."""

from pathlib import Path

import numpy as np
import pytest
from contract_world import World, refuses
from eth_abi import decode, encode
from hypothesis import given, settings
from hypothesis import strategies as st
from vyper.compiler import compile_from_file_input
from vyper.compiler.input_bundle import FilesystemInputBundle

from meridian.contracts.calldata import path_words
from meridian.errors import InvalidInput
from meridian.primitives.eip712 import keccak
from meridian.primitives.hashing import CLAIM_NODE, sha256
from meridian.primitives.sumtree import LaneKind, SumTree, fold, leaf_node

SOURCES = Path(__file__).resolve().parents[2] / "contracts"
TYPES = ["bytes32", "uint256", "uint64", "uint64", "(bytes32,uint256)[]"]
SELECTOR = keccak(f"fold({','.join(TYPES)})".encode())[:4]
SOURCE = """
# pragma evm-version cancun
# pragma optimize gas
import sum_tree

@external
def fold(
    leaf: bytes32, annotation: uint256, index: uint64, size: uint64,
    path: DynArray[sum_tree.Node, 40],
) -> (bytes32, uint256):
    return sum_tree._fold(0x07, leaf, annotation, index, size, path)
"""


class Folder:
    """A contract that does nothing but fold."""

    def __init__(self, folder: Path, generator: str) -> None:
        (folder / "Folder.vy").write_text(generator + SOURCE)
        bundle = FilesystemInputBundle([SOURCES, folder])
        output = compile_from_file_input(
            bundle.load_file("Folder.vy"), input_bundle=bundle, output_formats=["bytecode"]
        )
        self.world = World()
        code = bytes.fromhex(output["bytecode"].removeprefix("0x"))
        self.address = self.world.deploy_code(code)

    def root(self, leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
        annotation = int.from_bytes(leaf[32:], "big")
        data = SELECTOR + encode(TYPES, [leaf[:32], annotation, index, size, path_words(path)])
        run = self.world.execute(self.address, data, None, 0, None)
        digest, annotation = decode(["bytes32", "uint256"], run.output)
        return bytes(digest) + annotation.to_bytes(24, "big")


@pytest.fixture(scope="module", params=["", "# pragma experimental-codegen\n"])
def folder(tmp_path_factory, request) -> Folder:
    """Of either code generator: Rewards comes from the second."""
    return Folder(tmp_path_factory.mktemp("folder"), request.param)


def leaves(n: int, seed: int) -> list[bytes]:
    rows = (sha256(bytes([seed]), i.to_bytes(8, "big")) for i in range(n))
    return [leaf_node(row, 1, bytes(4) + row[:12]) for row in rows]


def tree_of(nodes: list[bytes]) -> SumTree:
    matrix = np.frombuffer(b"".join(nodes), dtype=np.uint8).reshape(len(nodes), 56)
    return SumTree(matrix, CLAIM_NODE, LaneKind.U128)


def test_every_leaf_of_every_small_tree_leads_to_the_root(folder):
    for size in range(1, 20):
        nodes = leaves(size, 1)
        tree = tree_of(nodes)
        for index in range(size):
            assert folder.root(nodes[index], index, size, tree.path(index)) == tree.root


@settings(max_examples=150, deadline=None)
@given(
    index=st.integers(0, 2**40),
    size=st.integers(0, 2**40),
    near=st.booleans(),
    length=st.none() | st.integers(0, 40),
    seed=st.integers(0, 255),
)
def test_contract_and_package_agree_on_any_shape(folder, index, size, near, length, seed):
    """With the path's right length mostly, and with a wrong one sometimes."""
    if near:
        index = max(0, size - 1 - index % 5)
    if length is None:
        at, last, length = index, size - 1, 0
        while last > 0:
            length += at != last or at & 1
            at, last = at >> 1, last >> 1
    nodes = leaves(length + 1, seed)
    leaf, path = nodes[0], nodes[1:]
    try:
        expected = fold(leaf, index, size, path, CLAIM_NODE, LaneKind.U128)
    except InvalidInput:
        assert refuses(folder.root, leaf, index, size, path) == "sum tree: path"
    else:
        assert folder.root(leaf, index, size, path) == expected
