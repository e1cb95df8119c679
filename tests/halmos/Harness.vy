# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title What the symbolic checks call: the libraries that contracts share, as functions
@custom:contract-name Harness
@license Apache-2.0
"""

import eip712
import sum_tree


@external
@pure
def signer(digest: bytes32, r: uint256, vs: uint256) -> address:
    return eip712._signer(digest, r, vs)


@external
@pure
def fold(
    leaf: bytes32, sums: uint256, index: uint64, size: uint64, path: DynArray[sum_tree.Node, 40]
) -> (bytes32, uint256):
    return sum_tree._fold(0x07, leaf, sums, index, size, path)
