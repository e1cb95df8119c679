# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Openings of KZG commitments
@custom:contract-name kzg
@license Apache-2.0
@notice Tells whether a committed polynomial has a value at a point, by the point evaluation
        precompile of EIP-4844, and where the polynomial of a column has the value of a slot. The
        on-chain twin of `meridian.models.kzg`.
@dev A library: no state. A chain without the precompile answers every call with success and no
     bytes, which proves nothing.
"""


POINT_EVALUATION: constant(address) = 0x000000000000000000000000000000000000000A
MODEXP: constant(address) = 0x0000000000000000000000000000000000000005
MODULUS: constant(uint256) = 52435875175126190479447740508185965837690552500527637822603658699938581184513
# 7 ** ((MODULUS - 1) / 4096): a primitive root of unity of the order of a column's slots.
ROOT_OF_UNITY: constant(uint256) = 39033254847818212395286706435128746857159659164139250548781411570340225835782
SLOT_BITS: constant(uint256) = 12


@internal
@view
def _opens(commitment: Bytes[48], slot: uint64, y: uint256, proof: Bytes[48]) -> bool:
    """
    @notice Whether the committed column has the value y in a slot.
    """
    hashed: uint256 = convert(sha256(commitment), uint256)
    versioned: bytes32 = convert((hashed & (2**248 - 1)) | (1 << 248), bytes32)
    success: bool = False
    answer: Bytes[64] = b""
    success, answer = raw_call(
        POINT_EVALUATION,
        concat(
            versioned, self._domain_point(slot), convert(y, bytes32), commitment, proof
        ),
        max_outsize=64,
        is_static_call=True,
        revert_on_failure=False,
    )
    return success and len(answer) == 64


@internal
@view
def _domain_point(slot: uint64) -> bytes32:
    """
    @notice The root of unity at which polynomials of columns have the values of a slot: its bits reversed.
    """
    rest: uint256 = convert(slot, uint256)
    exponent: uint256 = 0
    for _: uint256 in range(SLOT_BITS):
        exponent = (exponent << 1) | (rest & 1)
        rest >>= 1
    answer: Bytes[32] = raw_call(
        MODEXP,
        abi_encode(
            convert(32, uint256), convert(32, uint256), convert(32, uint256), ROOT_OF_UNITY, exponent, MODULUS
        ),
        max_outsize=32,
        is_static_call=True,
    )
    return convert(answer, bytes32)
