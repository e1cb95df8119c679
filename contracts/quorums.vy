# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Whether enough members signed
@custom:contract-name quorums
@license Apache-2.0
@notice A quorum q of n members: two sets of q members always share one that is honest.
@dev A library: no state.
"""

import eip712

MEMBERS_MAX: constant(uint256) = 128


@internal
@view
def _check(
    digest: bytes32,
    members: DynArray[address, MEMBERS_MAX],
    n: uint256,
    signatures: DynArray[eip712.Sig, MEMBERS_MAX],
):
    """
    @notice Requires a quorum of n members' signatures of a digest, strictly ascending by signer.
    @dev Signers and members both ascend, so one pass over the members finds all signers.
    @param members Those whose signatures count, ascending.
    @param n How many members there are, with those whose signatures do not count.
    """
    assert n != 0 and len(signatures) >= (n + (n - 1) // 3) // 2 + 1, "quorum: too few"
    at: uint256 = 0
    last: address = empty(address)
    for signature: eip712.Sig in signatures:
        signer: address = eip712._signer(digest, signature.r, signature.vs)
        assert signer != empty(address), "quorum: signature"
        assert convert(signer, uint256) > convert(last, uint256), "quorum: order"
        last = signer
        for _: uint256 in range(MEMBERS_MAX):
            assert at < len(members), "quorum: signer"
            if members[at] == signer:
                break
            at += 1
        at += 1
