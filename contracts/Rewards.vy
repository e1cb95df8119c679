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
@dev Nobody has special rights here; only Evaluations can add a reward root. Two bounds hold
     whatever a quorum signs: a report adds at most its epoch's budget to the total, and claims
     never pay more than that total. So a wrong root, even one that moves amounts which have been
     paid already to other nodes, cannot reach the money of epochs that have not been reported.

     Funding is a difference array: a deposit writes a change at its first epoch and the opposite
     change behind its last, whatever their distance. Settling walks the epochs once, in order,
     and keeps a checkpoint wherever the budget changes; an epoch that has been settled has its
     final budget and takes no more money.

     Payments are the last thing that a claim does, after all it writes; what a refused payment
     leaves to undo, the refusal has undone everywhere else. So calls back need no lock.

     Packed words:
       pool         total funded 96 | total of the last report 96 | a void is under way 1 |
                    next epoch to settle 63
       budgeting    rate 96 | funded through 64 | number of checkpoints 64
       checkpoint   rate 96 | first epoch of that rate 64
       record       total 96 | epoch of the report before 64 | unlock_at 64 |
                    place of the winner in its committee 16
                    (the winner is Evaluations' business, but a word of its own would cost every
                    report 22,100 gas)
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
    def disputes() -> address: view


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
U96_MASK: constant(uint256) = 2**96 - 1
U64_MASK: constant(uint256) = 2**64 - 1
NEXT_MASK: constant(uint256) = 2**63 - 1
VOIDING: constant(uint256) = 2**63
U16_MASK: constant(uint256) = 2**16 - 1

registry: public(immutable(address))
evaluations: public(immutable(address))
disputes: public(immutable(address))
GENESIS: immutable(uint256)
EPOCH_SECONDS: immutable(uint256)
FIRST_EPOCH: immutable(uint64)

claimed: public(HashMap[bytes32, uint128])
changes: HashMap[uint64, int256]
checkpoints: HashMap[uint256, uint256]
reward_roots: HashMap[uint64, bytes32]
records: HashMap[uint64, uint256]
pool: uint256
budgeting: uint256


@deploy
def __init__(registry_: address, evaluations_: address, disputes_: address):
    """
    @notice Pins the other contracts and checks that Evaluations was told this address.
    """
    assert staticcall Evaluations(evaluations_).rewards() == self, "rewards: wiring"
    assert staticcall Evaluations(evaluations_).registry() == registry_, "rewards: wiring"
    assert staticcall Evaluations(evaluations_).disputes() == disputes_, "rewards: wiring"
    registry = registry_
    evaluations = evaluations_
    disputes = disputes_
    GENESIS = convert(staticcall Registry(registry_).genesis(), uint256)
    EPOCH_SECONDS = convert(staticcall Registry(registry_).epoch_seconds(), uint256)
    FIRST_EPOCH = staticcall Registry(registry_).first_epoch()
    self.pool = convert(FIRST_EPOCH, uint256)
    if FIRST_EPOCH != 0:
        self.budgeting = convert(FIRST_EPOCH - 1, uint256) << 64


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
    pool: uint256 = self.pool
    assert convert(first, uint256) >= pool & NEXT_MASK, "rewards: settled"
    # `first` is bounded before anything is added to it, so that no sum can overflow.
    horizon: uint64 = self._running_epoch() + EPOCHS_AHEAD_MAX
    assert first <= horizon and n <= EPOCHS_AHEAD_MAX, "rewards: too far"
    behind: uint64 = first + n
    assert behind - 1 <= horizon, "rewards: too far"
    assert each <= U96_MASK and (pool >> 160) + msg.value <= U96_MASK, "rewards: value"
    assert msg.value == each * convert(n, uint256), "rewards: value"
    self.pool = pool + (msg.value << 160)
    self.changes[first] += convert(each, int256)
    self.changes[behind] -= convert(each, int256)
    budgeting: uint256 = self.budgeting
    last: uint256 = convert(behind - 1, uint256)
    if last > (budgeting >> 64) & U64_MASK:
        self.budgeting = (budgeting & ~(U64_MASK << 64)) | (last << 64)
    log Funded(sponsor=msg.sender, first=first, n=n, each=each)


@external
def settle(through: uint64) -> uint128:
    """
    @notice Makes the budgets of all open epochs up to `through` final.
    @dev Anyone may call. At most 1024 epochs in one call. Epochs settled before are left as they
         are, so that two callers who race both succeed.
    @return The budget of `through`.
    """
    pool: uint256 = self.pool
    settled: uint256 = 0
    budget: uint256 = 0
    settled, budget = self._settle(through, pool)
    if settled != pool:
        self.pool = settled
    return convert(budget, uint128)


@internal
def _settle(through: uint64, pool: uint256) -> (uint256, uint256):
    """
    @notice Walks the epochs not yet settled up to `through`.
    @return The pool's new word, which the caller stores, and the budget of `through`.
    """
    budgeting: uint256 = self.budgeting
    next: uint64 = convert(pool & NEXT_MASK, uint64)
    if through < next:
        return pool, self._settled_budget(through, budgeting)
    assert staticcall Registry(registry).epoch_set(through) != 0, "rewards: not open"
    span: uint64 = through - next
    assert span < EPOCHS_PER_CALL, "rewards: span"
    rate: int256 = convert(budgeting >> 128, int256)
    count: uint256 = budgeting & U64_MASK
    for i: uint64 in range(span + 1, bound=EPOCHS_PER_CALL):
        epoch: uint64 = next + i
        change: int256 = self.changes[epoch]
        if change != 0:
            rate += change
            self.changes[epoch] = 0
            self.checkpoints[count] = (convert(rate, uint256) << 64) | convert(epoch, uint256)
            count += 1
    if count != budgeting & U64_MASK:
        self.budgeting = (
            (convert(rate, uint256) << 128) | (budgeting & (U64_MASK << 64)) | count
        )
    settled: uint256 = (pool & ~NEXT_MASK) | convert(through + 1, uint256)
    return settled, convert(rate, uint256)


@internal
@view
def _settled_budget(epoch: uint64, budgeting: uint256) -> uint256:
    """
    @notice The budget of a settled epoch: the rate of the last checkpoint at or before it.
    """
    high: uint256 = budgeting & U64_MASK
    low: uint256 = 0
    # Invariant: checkpoints below `low` start at or before the epoch, those from `high` on after.
    for _: uint256 in range(64):
        if low >= high:
            break
        middle: uint256 = (low + high) // 2
        if self.checkpoints[middle] & U64_MASK <= convert(epoch, uint256):
            low = middle + 1
        else:
            high = middle
    if low == 0:
        return 0
    return self.checkpoints[low - 1] >> 64


@internal
@view
def _running_epoch() -> uint64:
    """
    @notice The epoch of the current time; the first one before the genesis.
    """
    if block.timestamp < GENESIS:
        return FIRST_EPOCH
    return FIRST_EPOCH + convert((block.timestamp - GENESIS) // EPOCH_SECONDS, uint64)


# --------------------------------------------------------------------------------------- totals


@external
def accept(
    epoch: uint64,
    reward_root: bytes32,
    total: uint128,
    unlock_at: uint64,
    winner: uint16,
    previous_epoch: uint64,
) -> uint64:
    """
    @notice Adds an epoch's reward root. Only Evaluations calls this, once for an epoch.
    @dev Settles the epoch: money that came later could no longer reach anybody.
    @param total The cumulative total of the claim tree: at least that of the last report, and at
           most the epoch's budget more.
    @param unlock_at From when on the root's claims are paid, if the report before does not lock
           them longer.
    @param winner The transmitter's place in the epoch's committee.
    @param previous_epoch The epoch of the report accepted before; the epoch itself if none was.
    @return From when on the root's claims are paid.
    """
    assert msg.sender == evaluations, "rewards: sender"
    pool: uint256 = 0
    budget: uint256 = 0
    pool, budget = self._settle(epoch, self.pool)
    new: uint256 = convert(total, uint256)
    last: uint256 = (pool >> 64) & U96_MASK
    assert new >= last, "rewards: total"
    assert new - last <= budget, "rewards: budget"
    self.pool = (pool & ~(U96_MASK << 64)) | (new << 64)
    self.reward_roots[epoch] = reward_root
    unlocks: uint256 = max(
        convert(unlock_at, uint256), (self.records[previous_epoch] >> 16) & U64_MASK
    )
    self.records[epoch] = (
        (new << 144)
        | (convert(previous_epoch, uint256) << 80)
        | (unlocks << 16)
        | convert(winner, uint256)
    )
    return convert(unlocks, uint64)


@external
def forget(epoch: uint64, more: bool) -> uint64:
    """
    @notice Takes back the report accepted last. Only Evaluations calls this, when it is void.
    @param epoch Its epoch.
    @param more Whether others will follow: until then no claim is paid.
    @return The epoch of the report accepted before, which is the last one now; `epoch` itself if
            there is none.
    """
    assert msg.sender == evaluations, "rewards: sender"
    previous: uint64 = convert((self.records[epoch] >> 80) & U64_MASK, uint64)
    self.records[epoch] = 0
    self.reward_roots[epoch] = empty(bytes32)
    pool: uint256 = self.pool & ~((U96_MASK << 64) | VOIDING)
    if more:
        pool |= VOIDING
    self.pool = pool | ((self.records[previous] >> 144) << 64)
    return previous


@external
def roll(epoch: uint64) -> (uint128, uint64):
    """
    @notice Moves the budget of an epoch that will never be reported to the next one that is
            neither over nor settled. Only Evaluations calls this, once for an epoch.
    @return The budget, and the epoch that has it now.
    """
    assert msg.sender == evaluations, "rewards: sender"
    pool: uint256 = 0
    budget: uint256 = 0
    pool, budget = self._settle(epoch, self.pool)
    self.pool = pool
    # Not to an epoch that is over: evaluators read a budget at the block of the commitment.
    to: uint64 = max(convert(pool & NEXT_MASK, uint64), self._running_epoch())
    if budget != 0:
        self.changes[to] += convert(budget, int256)
        self.changes[to + 1] -= convert(budget, int256)
        budgeting: uint256 = self.budgeting
        if convert(to, uint256) > (budgeting >> 64) & U64_MASK:
            self.budgeting = (budgeting & ~(U64_MASK << 64)) | (convert(to, uint256) << 64)
    return convert(budget, uint128), to


# --------------------------------------------------------------------------------------- claims


@external
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
    self._check_proof(epoch, node_key, payee, cumulative, index, size, hashes, annotations)
    before: uint128 = self.claimed[node_key]
    assert cumulative > before, "rewards: nothing"
    amount: uint128 = cumulative - before
    self._check_reserve(convert(amount, uint256))
    self.claimed[node_key] = cumulative
    accepted: bool = raw_call(
        payee, b"", value=convert(amount, uint256), revert_on_failure=False
    )
    assert accepted, "rewards: payment"
    log Claimed(
        node_key=node_key,
        payee=payee,
        epoch=epoch,
        amount=amount,
        cumulative=cumulative,
    )


@external
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
        self._check_proof(
            c.epoch, c.node_key, c.payee, c.cumulative, c.index, c.size, c.hashes, c.annotations
        )
        before: uint128 = self.claimed[c.node_key]
        if c.cumulative > before:
            amount: uint128 = c.cumulative - before
            self._check_reserve(convert(amount, uint256))
            self.claimed[c.node_key] = c.cumulative
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
                # All that the payee may have done here before it failed is undone with it.
                self.claimed[c.node_key] = before
                log PaymentRefused(
                    node_key=c.node_key, payee=c.payee, epoch=c.epoch, amount=amount
                )
        left -= 1
    return done


@internal
@view
def _check_proof(
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
    @notice Requires the leaf to stand under the reward root of an unlocked report.
    """
    record: uint256 = self.records[epoch]
    assert record != 0, "rewards: unreported"
    assert block.timestamp >= (record >> 16) & U64_MASK, "rewards: locked"
    leaf: bytes32 = sha256(
        concat(CLAIM_LEAF, node_key, convert(payee, bytes20), convert(cumulative, bytes16))
    )
    node: bytes32 = empty(bytes32)
    sums: uint256 = 0
    node, sums = sum_tree._fold(
        CLAIM_NODE, leaf, ONE_LEAF | convert(cumulative, uint256), index, size, hashes, annotations
    )
    assert sums == (convert(size, uint256) << 128) | (record >> 144), "rewards: sums"
    root: bytes32 = sha256(
        concat(REWARD_ROOT, convert(size, bytes8), node, sum_tree._bytes(sums))
    )
    assert root == self.reward_roots[epoch], "rewards: proof"


@internal
@view
def _check_reserve(amount: uint256):
    """
    @notice Requires the payment to leave all money that no report has given to anybody yet.
    """
    pool: uint256 = self.pool
    assert pool & VOIDING == 0, "rewards: voiding"
    reserve: uint256 = (pool >> 160) - ((pool >> 64) & U96_MASK)
    assert self.balance >= reserve + amount, "rewards: reserve"


# ---------------------------------------------------------------------------------------- views


@external
@view
def budget(epoch: uint64) -> uint128:
    """
    @notice An epoch's budget. Final once the epoch is below `next_to_settle`.
    """
    budgeting: uint256 = self.budgeting
    next: uint64 = convert(self.pool & NEXT_MASK, uint64)
    if epoch < next:
        return convert(self._settled_budget(epoch, budgeting), uint128)
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
    return convert(self.pool & NEXT_MASK, uint64)


@external
@view
def funded_through() -> uint64:
    """
    @notice The last epoch that anybody has funded; the one before the first (or 0) at first.
    """
    return convert((self.budgeting >> 64) & U64_MASK, uint64)


@external
@view
def total_funded() -> uint256:
    """
    @notice Atto given by sponsors so far.
    """
    return self.pool >> 160


@external
@view
def total_claimed() -> uint256:
    """
    @notice Atto paid to payees so far: what was funded and is no longer here.
    @dev Coins forced upon the contract (no function takes them) make it look smaller.
    """
    funded: uint256 = self.pool >> 160
    if self.balance >= funded:
        return 0
    return funded - self.balance


@external
@view
def last_total() -> uint128:
    """
    @notice The cumulative total of the report accepted last: the most that claims can pay.
    """
    return convert((self.pool >> 64) & U96_MASK, uint128)


@external
@view
def allotment(epoch: uint64) -> (bytes32, uint128, uint64, uint16):
    """
    @notice A reported epoch's reward root, cumulative total, unlock time and the winner's place;
            zeros if the epoch has not been reported.
    """
    record: uint256 = self.records[epoch]
    return (
        self.reward_roots[epoch],
        convert(record >> 144, uint128),
        convert((record >> 16) & U64_MASK, uint64),
        convert(record & U16_MASK, uint16),
    )


@external
@view
def previous_epoch(epoch: uint64) -> uint64:
    """
    @notice The epoch of the report accepted before a reported epoch's; the epoch itself if none.
    """
    return convert((self.records[epoch] >> 80) & U64_MASK, uint64)
