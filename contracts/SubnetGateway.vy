# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title SubnetGateway: a subnet's face on its parent chain
@custom:contract-name SubnetGateway
@license Apache-2.0
@notice Takes deposits of stake for the subnet, and checkpoints of the subnet's chain that a quorum
        of its validators signed. Under a checkpoint, nodes collect their rewards and the stake that
        they gave back. The validators are the evaluators of the Registry: the members of the epoch
        that a checkpoint settles.
@dev What q validators sign is believed: nothing here sees the child chain. A checkpoint can give
     away no more than the epoch's funds, and no more stake than was deposited. Who signs two
     checkpoints with the same number loses its stake to the next epoch's funds.

     Both trees are claim trees (`meridian.reward.claims`) with cumulative amounts; a leaf's key is
     the account, and so is its payee. The Registry's `evaluations` and `disputes` are this contract.
"""

import eip712
import quorums
import sum_tree

interface Registry:
    def evaluations() -> address: view
    def disputes() -> address: view
    def first_epoch() -> uint64: view
    def epoch_end(epoch: uint64) -> uint64: view
    def committee(epoch: uint64) -> DynArray[address, quorums.MEMBERS_MAX]: view
    def is_slashed(account: address) -> bool: view
    def open_epochs(through: uint64): nonpayable
    def slash_evaluator(account: address) -> uint256: nonpayable


struct Checkpoint:
    number: uint64
    settled: uint64
    height: uint64
    block_hash: bytes32
    jobs: uint64
    weight: uint128
    budget: uint128
    reward_root: bytes32
    reward_total: uint128
    minted: uint64
    release_root: bytes32
    release_total: uint128
    previous: bytes32

struct Claim:
    account: address
    cumulative: uint128
    index: uint64
    size: uint64
    path: DynArray[sum_tree.Node, sum_tree.DEPTH_MAX]


event Deposited:
    number: indexed(uint64)
    account: indexed(address)
    amount: uint256

event Checkpointed:
    number: indexed(uint64)
    settled: uint64
    height: uint64
    digest: bytes32

event Claimed:
    account: indexed(address)
    amount: uint256
    cumulative: uint256

event Withdrawn:
    account: indexed(address)
    amount: uint256
    cumulative: uint256

event Equivocated:
    validator: indexed(address)
    number: uint64
    stake: uint256


CLAIM_LEAF: constant(bytes1) = 0x06
CLAIM_NODE: constant(bytes1) = 0x07
REWARD_ROOT: constant(bytes1) = 0x13
ONE_LEAF: constant(uint256) = 2**128
CLAIMS_PER_CALL: constant(uint256) = 32
CHECKPOINT_TYPEHASH: constant(bytes32) = keccak256(
    "Checkpoint(uint64 number,uint64 settled,uint64 height,bytes32 blockHash,uint64 jobs,uint128 weight,uint128 budget,bytes32 rewardRoot,uint128 rewardTotal,uint64 minted,bytes32 releaseRoot,uint128 releaseTotal,bytes32 previous)"
)

registry: public(immutable(address))
first_epoch: public(immutable(uint64))
period_blocks: public(immutable(uint64))

funds: public(HashMap[uint64, uint256])
# How many deposits there are, and what they are worth together.
deposits: public(uint64)
deposited: public(uint256)
last: public(Checkpoint)
last_digest: public(bytes32)
claimed: public(HashMap[address, uint128])
withdrawn: public(HashMap[address, uint128])
any_slashed: bool


@deploy
def __init__(registry_: address, period_blocks_: uint64):
    """
    @notice Fixes whose members sign.
    @param registry_ Deployed with this contract's address as `evaluations` and as `disputes`.
    @param period_blocks_ The least number of child blocks from one checkpoint to the next.
    """
    registry = registry_
    period_blocks = period_blocks_
    first_epoch = staticcall Registry(registry_).first_epoch()
    assert staticcall Registry(registry_).evaluations() == self, "gateway: wiring"
    assert staticcall Registry(registry_).disputes() == self, "gateway: wiring"


# ------------------------------------------------------------------------------ for the Registry


@external
@payable
def __default__():
    """
    @notice Takes the stake of who was slashed.
    """
    assert msg.sender == registry, "gateway: sender"


@external
@view
def committee_rule(epoch: uint64) -> (uint16, uint96):
    """
    @notice All active evaluators are validators.
    """
    return 0, 0


@external
def note_slashing():
    """
    @notice From now on it is looked which members were slashed. Only the Registry calls this.
    """
    assert msg.sender == registry, "gateway: sender"
    self.any_slashed = True


# -------------------------------------------------------------------------------------- money in


@external
@payable
def fund(epoch: uint64):
    """
    @notice Adds to what an epoch pays that is not settled.
    """
    assert epoch >= first_epoch + self.last.settled, "gateway: settled"
    self.funds[epoch] += msg.value


@external
@payable
def deposit(accounts: DynArray[address, CLAIMS_PER_CALL]):
    """
    @notice Deposits the value as stake on the subnet, shared equally by some accounts.
    """
    n: uint256 = len(accounts)
    assert n != 0 and msg.value != 0 and msg.value % n == 0, "gateway: deposit"
    number: uint64 = self.deposits
    for account: address in accounts:
        log Deposited(number=number, account=account, amount=msg.value // n)
        number += 1
    self.deposits = number
    self.deposited += msg.value


# ----------------------------------------------------------------------------------- checkpoints


@external
def commit(checkpoint: Checkpoint, signatures: DynArray[eip712.Sig, quorums.MEMBERS_MAX]):
    """
    @notice Takes the next checkpoint. Anyone may send it.
    @param checkpoint It settles the next epoch, or none; its totals are since the beginning.
    @param signatures At least a quorum of the validators', ascending by signer.
    """
    last: Checkpoint = self.last
    assert checkpoint.previous == self.last_digest, "gateway: previous"
    assert checkpoint.number == last.number + 1, "gateway: number"
    assert checkpoint.height >= last.height + period_blocks, "gateway: period"
    assert (
        checkpoint.minted >= last.minted and checkpoint.minted <= self.deposits
    ), "gateway: minted"
    assert checkpoint.release_total >= last.release_total, "gateway: releases"
    assert convert(checkpoint.release_total, uint256) <= self.deposited, "gateway: releases"
    epoch: uint64 = self._check_rewards(checkpoint, last)
    extcall Registry(registry).open_epochs(epoch)
    members: DynArray[address, quorums.MEMBERS_MAX] = staticcall Registry(registry).committee(
        epoch
    )
    digest: bytes32 = self._digest_of(checkpoint)
    quorums._check(digest, self._standing(members), len(members), signatures)
    self.last = checkpoint
    self.last_digest = digest
    log Checkpointed(
        number=checkpoint.number,
        settled=checkpoint.settled,
        height=checkpoint.height,
        digest=digest,
    )


@internal
@view
def _check_rewards(checkpoint: Checkpoint, last: Checkpoint) -> uint64:
    """
    @notice Requires that a checkpoint pays no more than the epoch's funds, if it settles one.
    @return The epoch whose members sign: the one that was settled last, or the first.
    """
    if checkpoint.settled == last.settled:
        assert (
            checkpoint.reward_root == last.reward_root
            and checkpoint.reward_total == last.reward_total
            and checkpoint.budget == 0
        ), "gateway: rewards"
        return first_epoch + max(last.settled, 1) - 1
    assert checkpoint.settled == last.settled + 1, "gateway: settled"
    epoch: uint64 = first_epoch + last.settled
    end: uint64 = staticcall Registry(registry).epoch_end(epoch)
    assert block.timestamp >= convert(end, uint256), "gateway: early"
    assert convert(checkpoint.budget, uint256) <= self.funds[epoch], "gateway: budget"
    assert (
        checkpoint.reward_total >= last.reward_total
        and checkpoint.reward_total - last.reward_total <= checkpoint.budget
    ), "gateway: rewards"
    return epoch


@internal
@view
def _standing(
    members: DynArray[address, quorums.MEMBERS_MAX],
) -> DynArray[address, quorums.MEMBERS_MAX]:
    """
    @notice The members that were not slashed.
    """
    if not self.any_slashed:
        return members
    standing: DynArray[address, quorums.MEMBERS_MAX] = []
    for member: address in members:
        if not staticcall Registry(registry).is_slashed(member):
            standing.append(member)
    return standing


@internal
@view
def _digest_of(checkpoint: Checkpoint) -> bytes32:
    return eip712._digest(keccak256(abi_encode(CHECKPOINT_TYPEHASH, checkpoint)))


@external
def slash(first: Checkpoint, second: Checkpoint, signatures: eip712.Sig[2]):
    """
    @notice Takes the stake of a validator that signed two checkpoints with the same number.
    @param signatures Its signatures of the one and of the other.
    """
    digests: bytes32[2] = [self._digest_of(first), self._digest_of(second)]
    assert first.number == second.number and digests[0] != digests[1], "gateway: same"
    signer: address = eip712._signer(digests[0], signatures[0].r, signatures[0].vs)
    other: address = eip712._signer(digests[1], signatures[1].r, signatures[1].vs)
    assert signer != empty(address) and signer == other, "gateway: signature"
    stake: uint256 = extcall Registry(registry).slash_evaluator(signer)
    assert stake != 0, "gateway: nothing"
    self.funds[first_epoch + self.last.settled] += stake
    log Equivocated(validator=signer, number=first.number, stake=stake)


# ------------------------------------------------------------------------------------- money out


@external
def claim(claims: DynArray[Claim, CLAIMS_PER_CALL]):
    """
    @notice Pays what accounts have earned by the last checkpoint, and not been paid yet. Anyone may
            send it. An account that takes no money keeps its claim.
    """
    root: bytes32 = self.last.reward_root
    total: uint128 = self.last.reward_total
    for c: Claim in claims:
        self._prove(c, root, total)
        before: uint128 = self.claimed[c.account]
        if c.cumulative > before:
            self.claimed[c.account] = c.cumulative
            amount: uint256 = convert(c.cumulative - before, uint256)
            if raw_call(c.account, b"", value=amount, gas=0, revert_on_failure=False):
                log Claimed(
                    account=c.account, amount=amount, cumulative=convert(c.cumulative, uint256)
                )
            else:
                self.claimed[c.account] = before


@external
def withdraw(c: Claim):
    """
    @notice Pays the stake that an account gave back by the last checkpoint. Anyone may send it.
    """
    self._prove(c, self.last.release_root, self.last.release_total)
    before: uint128 = self.withdrawn[c.account]
    assert c.cumulative > before, "gateway: nothing"
    self.withdrawn[c.account] = c.cumulative
    amount: uint256 = convert(c.cumulative - before, uint256)
    log Withdrawn(account=c.account, amount=amount, cumulative=convert(c.cumulative, uint256))
    paid: bool = raw_call(c.account, b"", value=amount, revert_on_failure=False)
    assert paid, "gateway: payment"


@internal
@pure
def _prove(c: Claim, root: bytes32, total: uint128):
    """
    @notice Requires a claim to stand in the tree with this root and total.
    """
    node: bytes32 = sha256(
        concat(
            CLAIM_LEAF,
            convert(c.account, bytes32),
            convert(c.account, bytes20),
            convert(c.cumulative, bytes16),
        )
    )
    sums: uint256 = ONE_LEAF | convert(c.cumulative, uint256)
    node, sums = sum_tree._fold(CLAIM_NODE, node, sums, c.index, c.size, c.path)
    assert sums == (convert(c.size, uint256) << 128) | convert(total, uint256), "gateway: sums"
    top: bytes32 = sha256(
        concat(REWARD_ROOT, convert(c.size, bytes8), node, sum_tree._bytes(sums))
    )
    assert top == root, "gateway: proof"
