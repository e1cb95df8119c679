# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title EIP-712 digests and compact signatures
@custom:contract-name eip712
@license Apache-2.0
@notice What every contract of Meridian asks about a signed statement: which bytes were signed
        (domain "Meridian", version "1", this chain, this contract) and by whom.
@dev A library: no state. Signatures are EIP-2098 (r, then s with the parity in its top bit); the
     upper half of s is refused, so that a signature has exactly one spelling. The domain is
     computed at every use: after a chain split the two chains stop to accept each other's
     signatures without anybody's doing.
"""

DOMAIN_TYPEHASH: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
NAME_HASH: constant(bytes32) = keccak256("Meridian")
VERSION_HASH: constant(bytes32) = keccak256("1")
S_MASK: constant(uint256) = 2**255 - 1
# Half of the order of secp256k1, rounded down (EIP-2: greater s are refused).
S_MAX: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168


struct Sig:
    r: uint256
    vs: uint256


@internal
@view
def _digest(struct_hash: bytes32) -> bytes32:
    """
    @notice The 32 bytes that are signed for a struct, for this contract on this chain.
    """
    domain: bytes32 = keccak256(
        abi_encode(DOMAIN_TYPEHASH, NAME_HASH, VERSION_HASH, chain.id, self)
    )
    return keccak256(concat(x"1901", domain, struct_hash))


@internal
@pure
def _signer(digest: bytes32, r: uint256, vs: uint256) -> address:
    """
    @notice The account that signed `digest`, or the zero address if these are no signature.
    """
    s: uint256 = vs & S_MASK
    if s > S_MAX:
        return empty(address)
    return ecrecover(digest, (vs >> 255) + 27, r, s)
