# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Statements that were signed for another contract
@custom:contract-name statements
@license Apache-2.0
@notice Receipts are signed in the domain of Commitments, the committee's statements and reports in
        that of Evaluations; a dispute judges both.
@dev A library: no state.
"""

DOMAIN_TYPEHASH: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
NAME_HASH: constant(bytes32) = keccak256("Meridian")
VERSION_HASH: constant(bytes32) = keccak256("1")


@internal
@view
def _digest_for(contract: address, struct_hash: bytes32) -> bytes32:
    """
    @notice The 32 bytes that are signed for a struct in another contract's domain on this chain.
    """
    domain: bytes32 = keccak256(
        abi_encode(DOMAIN_TYPEHASH, NAME_HASH, VERSION_HASH, chain.id, contract)
    )
    return keccak256(concat(x"1901", domain, struct_hash))
