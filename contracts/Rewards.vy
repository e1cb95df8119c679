# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Rewards: sponsors fund epochs, payees claim what reports gave them
@custom:contract-name Rewards
@license Apache-2.0
@notice Anyone may fund any number of epochs in one transaction; nobody can take that money back.
        A report's reward root holds every node's cumulative amount; a claim proves one node's
        amount and pays the difference to what the node has had, at any time, sent by anyone.
@dev Nobody has special rights here. Two bounds hold whatever a quorum signs: what is paid never
     passes the greatest total claimed from so far (and Evaluations bounds every total by the
     budgets of reported epochs), and what is paid never passes what was funded. So a wrong root
     cannot reach the money of epochs that have not been reported.

     Funding is a difference array: a deposit writes a change at its first epoch and the opposite
     change behind its last, whatever their distance. Settling walks the epochs once, in order,
     and keeps a checkpoint wherever the budget changes; an epoch that has been settled has its
     final budget and takes no more money.

     Packed words:
       budgeting    rate 128 | next epoch to settle 64 | number of checkpoints 64
       checkpoint   rate 128 | first epoch of that rate 64
       paid         total claimed 128 | greatest total claimed from 128
       funding      total funded 128 | funded through 64
"""

import sum_tree

interface Registry:
    def genesis() -> uint64: view
    def epoch_seconds() -> uint64: view
    def first_epoch() -> uint64: view
    def epoch_set(epoch: uint64) -> uint64: view

interface Evaluations:
    def registry() -> address: view
    def rewards() -> address: view
    def claimable(epoch: uint64) -> (bytes32, uint128): view


struct Claim:
    epoch: uint64
    node_key: bytes32
    payee: address
    cumulative: uint128
    index: uint64
    size: uint64
    hashes: DynArray[bytes32, sum_tree.DEPTH_MAX]
    annotations: DynArray[uint256, sum_tree.DEPTH_MAX]


event Funded:
    sponsor: indexed(address)
    first: uint64
    n: uint64
    each: uint256

event Claimed:
    node_key: indexed(bytes32)
    payee: indexed(address)
    epoch: uint64
    amount: uint128
    cumulative: uint128

event PaymentRefused:
    node_key: indexed(bytes32)
    payee: indexed(address)
    epoch: uint64
    amount: uint128


CLAIMS_PER_CALL: constant(uint256) = 32
EPOCHS_PER_CALL: constant(uint64) = 1024
# How far ahead of the running epoch money can be promised. The bound keeps one wei for a far epoch
# from fixing the schedule (which never changes under funded epochs) for ever.
EPOCHS_AHEAD_MAX: constant(uint64) = 2**16

CLAIM_LEAF: constant(bytes1) = 0x06
CLAIM_NODE: constant(bytes1) = 0x07
REWARD_ROOT: constant(bytes1) = 0x13

ONE_LEAF: constant(uint256) = 2**128
U128_MASK: constant(uint256) = 2**128 - 1
U64_MASK: constant(uint256) = 2**64 - 1

registry: public(immutable(address))
evaluations: public(immutable(address))
GENESIS: immutable(uint256)
EPOCH_SECONDS: immutable(uint256)
FIRST_EPOCH: immutable(uint64)

claimed: public(HashMap[bytes32, uint128])
changes: HashMap[uint64, int256]
checkpoints: HashMap[uint64, uint256]
budgeting: uint256
paid: uint256
funding: uint256


@deploy
def __init__(registry_: address, evaluations_: address):
    """
    @notice Pins the other contracts and checks that Evaluations was told this address.
    """
    assert staticcall Evaluations(evaluations_).rewards() == self, "rewards: wiring"
    assert staticcall Evaluations(evaluations_).registry() == registry_, "rewards: wiring"
    registry = registry_
    evaluations = evaluations_
    GENESIS = convert(staticcall Registry(registry_).genesis(), uint256)
    EPOCH_SECONDS = convert(staticcall Registry(registry_).epoch_seconds(), uint256)
    FIRST_EPOCH = staticcall Registry(registry_).first_epoch()
    self.budgeting = convert(FIRST_EPOCH, uint256) << 64
    if FIRST_EPOCH != 0:
        self.funding = convert(FIRST_EPOCH - 1, uint256)


# -------------------------------------------------------------------------------------- funding


@external
@payable
def fund(first: uint64, n: uint64, each: uint256):
    """
    @notice Adds `each` to the budget of `n` epochs from `first` on. The cost does not depend on n.
    @dev Refused for epochs already settled, and for epochs too far ahead of the running one.
    @param first The first epoch to fund.
    @param n How many epochs, at least 1.
    @param each Atto for each epoch, at least 1; the value sent must be n * each.
    """
    assert n != 0 and each != 0, "rewards: nothing"
    assert first >= self._next_to_settle(), "rewards: settled"
    # `first` is compared before anything is added to it, so that no sum can overflow.
    horizon: uint64 = self._running_epoch() + EPOCHS_AHEAD_MAX
    assert first <= horizon and n <= EPOCHS_AHEAD_MAX, "rewards: too far"
    behind: uint64 = first + n
    assert behind - 1 <= horizon, "rewards: too far"
    funding: uint256 = self.funding
    total: uint256 = (funding >> 128) + msg.value
    assert each <= U128_MASK and total <= U128_MASK, "rewards: value"
    assert msg.value == each * convert(n, uint256), "rewards: value"
    self.changes[first] += convert(each, int256)
    self.changes[behind] -= convert(each, int256)
    through: uint256 = max(funding & U64_MASK, convert(behind - 1, uint256))
    self.funding = (total << 128) | through
    log Funded(sponsor=msg.sender, first=first, n=n, each=each)


@external
def settle(through: uint64) -> uint128:
    """
    @notice Makes the budgets of all open epochs up to `through` final.
    @dev Anyone may call; Evaluations does for the epoch it accepts a report of. At most 1024
         epochs in one call. Epochs settled before are left as they are.
    @return The budget of `through`.
    """
    budgeting: uint256 = self.budgeting
    next: uint64 = convert((budgeting >> 64) & U64_MASK, uint64)
    if through < next:
        return self._budget_settled(through, budgeting)
    assert staticcall Registry(registry).epoch_set(through) != 0, "rewards: not open"
    span: uint64 = through - next
    assert span < EPOCHS_PER_CALL, "rewards: span"
    rate: int256 = convert(budgeting >> 128, int256)
    count: uint64 = convert(budgeting & U64_MASK, uint64)
    for i: uint64 in range(span + 1, bound=EPOCHS_PER_CALL):
        epoch: uint64 = next + i
        change: int256 = self.changes[epoch]
        if change != 0:
            rate += change
            self.changes[epoch] = 0
            self.checkpoints[count] = (convert(rate, uint256) << 64) | convert(epoch, uint256)
            count += 1
    self.budgeting = (
        (convert(rate, uint256) << 128)
        | (convert(through + 1, uint256) << 64)
        | convert(count, uint256)
    )
    return convert(rate, uint128)


@internal
@view
def _budget_settled(epoch: uint64, budgeting: uint256) -> uint128:
    """
    @notice The budget of a settled epoch: the rate of the last checkpoint at or before it.
    """
    high: uint64 = convert(budgeting & U64_MASK, uint64)
    low: uint64 = 0
    # Invariant: checkpoints below `low` start at or before the epoch, those from `high` on after.
    for _: uint256 in range(64):
        if low >= high:
            break
        middle: uint64 = low + (high - low) // 2
        if self.checkpoints[middle] & U64_MASK <= convert(epoch, uint256):
            low = middle + 1
        else:
            high = middle
    if low == 0:
        return 0
    return convert(self.checkpoints[low - 1] >> 64, uint128)


@internal
@view
def _next_to_settle() -> uint64:
    return convert((self.budgeting >> 64) & U64_MASK, uint64)


@internal
@view
def _running_epoch() -> uint64:
    """
    @notice The epoch of the current time; the first one before the genesis.
    """
    if block.timestamp < GENESIS:
        return FIRST_EPOCH
    return FIRST_EPOCH + convert((block.timestamp - GENESIS) // EPOCH_SECONDS, uint64)


# --------------------------------------------------------------------------------------- claims


@external
@nonreentrant
def claim(
    epoch: uint64,
    node_key: bytes32,
    payee: address,
    cumulative: uint128,
    index: uint64,
    size: uint64,
    hashes: DynArray[bytes32, sum_tree.DEPTH_MAX],
    annotations: DynArray[uint256, sum_tree.DEPTH_MAX],
):
    """
    @notice Pays a node's payee what an unlocked report gives beyond what the node has had.
    @dev Anyone may send it; the money goes to the payee in the proven leaf. All gas goes along:
         payees may be contracts, and no chain's price of a transfer is assumed.
    @param epoch An epoch whose report is unlocked.
    @param node_key SHA-256 of the node's id.
    @param payee The account in the leaf.
    @param cumulative The node's amount since the first epoch, in the leaf.
    @param index The leaf's place in the claim tree.
    @param size The number of leaves.
    @param hashes The hashes of the path's nodes, leaf to root.
    @param annotations Their annotations: count * 2**128 + total.
    """
    total: uint256 = self._proven_total(
        epoch, node_key, payee, cumulative, index, size, hashes, annotations
    )
    before: uint128 = self.claimed[node_key]
    assert cumulative > before, "rewards: nothing"
    self._book(node_key, before, cumulative, total)
    accepted: bool = raw_call(
        payee, b"", value=convert(cumulative - before, uint256), revert_on_failure=False
    )
    assert accepted, "rewards: payment"
    log Claimed(
        node_key=node_key,
        payee=payee,
        epoch=epoch,
        amount=cumulative - before,
        cumulative=cumulative,
    )


@external
@nonreentrant
def claim_many(claims: DynArray[Claim, CLAIMS_PER_CALL]) -> uint256:
    """
    @notice Pays many claims. A claim that has been paid already, or whose payee refuses the
            money, is passed over and does not block the others; a refused one stays claimable.
    @dev A wrong proof reverts the whole batch: it is the sender's error. Each payee gets an equal
         share of the gas that is left, so that none can burn the others'.
    @return How many claims were paid.
    """
    done: uint256 = 0
    left: uint256 = len(claims)
    for c: Claim in claims:
        total: uint256 = self._proven_total(
            c.epoch, c.node_key, c.payee, c.cumulative, c.index, c.size, c.hashes, c.annotations
        )
        before: uint128 = self.claimed[c.node_key]
        if c.cumulative > before:
            amount: uint128 = c.cumulative - before
            paid: uint256 = self.paid
            self._book(c.node_key, before, c.cumulative, total)
            accepted: bool = raw_call(
                c.payee,
                b"",
                value=convert(amount, uint256),
                gas=msg.gas // (left + 1),
                revert_on_failure=False,
            )
            if accepted:
                done += 1
                log Claimed(
                    node_key=c.node_key,
                    payee=c.payee,
                    epoch=c.epoch,
                    amount=amount,
                    cumulative=c.cumulative,
                )
            else:
                # Nothing can have claimed in between: both ways in are locked against re-entry.
                self.claimed[c.node_key] = before
                self.paid = paid
                log PaymentRefused(
                    node_key=c.node_key, payee=c.payee, epoch=c.epoch, amount=amount
                )
        left -= 1
    return done


@internal
@view
def _proven_total(
    epoch: uint64,
    node_key: bytes32,
    payee: address,
    cumulative: uint128,
    index: uint64,
    size: uint64,
    hashes: DynArray[bytes32, sum_tree.DEPTH_MAX],
    annotations: DynArray[uint256, sum_tree.DEPTH_MAX],
) -> uint256:
    """
    @notice Requires the leaf to stand under the reward root of an unlocked report.
    @return The report's cumulative total.
    """
    reward_root: bytes32 = empty(bytes32)
    total: uint128 = 0
    reward_root, total = staticcall Evaluations(evaluations).claimable(epoch)
    leaf: bytes32 = sha256(
        concat(CLAIM_LEAF, node_key, convert(payee, bytes20), convert(cumulative, bytes16))
    )
    node: bytes32 = empty(bytes32)
    sums: uint256 = 0
    node, sums = sum_tree._fold(
        CLAIM_NODE, leaf, ONE_LEAF | convert(cumulative, uint256), index, size, hashes, annotations
    )
    assert sums == (convert(size, uint256) << 128) | convert(total, uint256), "rewards: sums"
    root: bytes32 = sha256(
        concat(REWARD_ROOT, convert(size, bytes8), node, sum_tree._bytes(sums))
    )
    assert root == reward_root, "rewards: proof"
    return convert(total, uint256)


@internal
def _book(node_key: bytes32, before: uint128, cumulative: uint128, total: uint256):
    """
    @notice Writes a payment down before it is made.
    @dev Totals are cumulative along the chain of reports, so all that honest trees ever gave fits
         under the greatest total claimed from. A root that moves amounts between nodes, so that
         both the old and the new owner could claim them, ends here.
    """
    paid: uint256 = self.paid
    greatest: uint256 = max(paid & U128_MASK, total)
    sum: uint256 = (paid >> 128) + convert(cumulative - before, uint256)
    assert sum <= greatest, "rewards: total"
    self.paid = (sum << 128) | greatest
    self.claimed[node_key] = cumulative


# ---------------------------------------------------------------------------------------- views


@external
@view
def budget(epoch: uint64) -> uint128:
    """
    @notice An epoch's budget. Final once the epoch is below `next_to_settle`.
    """
    budgeting: uint256 = self.budgeting
    next: uint64 = self._next_to_settle()
    if epoch < next:
        return self._budget_settled(epoch, budgeting)
    rate: int256 = convert(budgeting >> 128, int256)
    ahead: uint64 = epoch - next
    assert ahead <= EPOCHS_AHEAD_MAX, "rewards: span"
    for i: uint64 in range(ahead + 1, bound=EPOCHS_AHEAD_MAX + 1):
        rate += self.changes[next + i]
    return convert(rate, uint128)


@external
@view
def next_to_settle() -> uint64:
    """
    @notice The first epoch that can still be funded; all before it have their final budget.
    """
    return self._next_to_settle()


@external
@view
def funded_through() -> uint64:
    """
    @notice The last epoch that anybody has funded; the one before the first (or 0) at first.
    """
    return convert(self.funding & U64_MASK, uint64)


@external
@view
def total_funded() -> uint256:
    """
    @notice Atto given by sponsors so far.
    """
    return self.funding >> 128


@external
@view
def total_claimed() -> uint256:
    """
    @notice Atto paid to payees so far; never more than `total_funded`.
    """
    return self.paid >> 128
