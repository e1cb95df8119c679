# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
# pragma experimental-codegen
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

     A verdict may take locked reports away: Evaluations walks back from the report accepted last
     and has each forgotten, while Disputes holds back what is not decided yet. Forgotten reports
     have paid nothing, so their epochs' budgets are there for the reports that come in their place.

     Packed words:
       pool         total funded 96 | total of the last report 96 | held 1 | voiding 1 |
                    next epoch to settle 62
       budgeting    rate 96 | funded through 64 | number of checkpoints 64
       checkpoint   rate 96 | first epoch of that rate 64
       record       total 96 | unlock_at 64 | epoch of the report accepted before 48 | place of the
                    winner in its committee 16 (the last two are Evaluations' business, but a word
                    of their own would cost every report 22,100 gas)
"""

import eip712
import sum_tree

interface Registry:
    def network() -> bytes32: view
    def genesis() -> uint64: view
    def epoch_seconds() -> uint64: view
    def first_epoch() -> uint64: view
    def epoch_set(epoch: uint64) -> uint64: view

interface Evaluations:
    def registry() -> address: view
    def rewards() -> address: view
    def disputes() -> address: view
    def last_epoch() -> uint64: view


struct Claim:
    epoch: uint64
    node_key: bytes32
    payee: address
    cumulative: uint128
    index: uint64
    size: uint64
    path: DynArray[sum_tree.Node, sum_tree.DEPTH_MAX]


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

event ClaimedTo:
    node_key: indexed(bytes32)
    recipient: indexed(address)

event FeePaid:
    node_key: indexed(bytes32)
    relayer: indexed(address)
    fee: uint128

event DelegateSet:
    payee: indexed(address)
    delegate: indexed(address)

event Held:
    epoch: indexed(uint64)
    until: uint64

event PaymentRefused:
    node_key: indexed(bytes32)
    payee: indexed(address)
    epoch: uint64
    amount: uint128


CLAIMS_PER_CALL: constant(uint256) = 32
EPOCHS_PER_CALL: constant(uint64) = 1024
HELD_PER_CALL: constant(uint256) = 1024
# How far ahead of the running epoch money can be promised. The bound keeps one wei for a far epoch
# from fixing the schedule (which never changes under funded epochs) for ever.
EPOCHS_AHEAD_MAX: constant(uint64) = 2**16

CLAIM_LEAF: constant(bytes1) = 0x06
CLAIM_NODE: constant(bytes1) = 0x07
REWARD_ROOT: constant(bytes1) = 0x13

ONE_LEAF: constant(uint256) = 2**128
U96_MASK: constant(uint256) = 2**96 - 1
U64_MASK: constant(uint256) = 2**64 - 1
U62_MASK: constant(uint256) = 2**62 - 1
U48_MASK: constant(uint256) = 2**48 - 1
U16_MASK: constant(uint256) = 2**16 - 1
VOIDING: constant(uint256) = 2**62
HELD: constant(uint256) = 2**63

RELAYED_CLAIM_TYPEHASH: constant(bytes32) = keccak256(
    "RelayedClaim(bytes32 network,bytes32 nodeKey,address payee,uint128 feeMax,uint64 nonce,uint64 deadline)"
)
DELEGATE_TYPEHASH: constant(bytes32) = keccak256(
    "Delegate(bytes32 network,address payee,address delegate,uint64 nonce,uint64 deadline)"
)

registry: public(immutable(address))
evaluations: public(immutable(address))
disputes: public(immutable(address))
NETWORK: immutable(bytes32)
GENESIS: immutable(uint256)
EPOCH_SECONDS: immutable(uint256)
FIRST_EPOCH: immutable(uint64)
# The epoch that was running when this contract was deployed.
DEPLOYED: immutable(uint64)

claimed: public(HashMap[bytes32, uint128])
nonces: public(HashMap[address, uint64])
delegates: public(HashMap[address, address])
rolled: HashMap[uint64, bool]
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
    @param disputes_ Who may hold claims back, as Evaluations knows it too; the zero address:
           nobody.
    """
    assert staticcall Evaluations(evaluations_).rewards() == self, "rewards: wiring"
    assert staticcall Evaluations(evaluations_).registry() == registry_, "rewards: wiring"
    assert staticcall Evaluations(evaluations_).disputes() == disputes_, "rewards: wiring"
    registry = registry_
    evaluations = evaluations_
    disputes = disputes_
    NETWORK = staticcall Registry(registry_).network()
    GENESIS = convert(staticcall Registry(registry_).genesis(), uint256)
    EPOCH_SECONDS = convert(staticcall Registry(registry_).epoch_seconds(), uint256)
    FIRST_EPOCH = staticcall Registry(registry_).first_epoch()
    since: uint256 = max(block.timestamp, GENESIS) - GENESIS
    DEPLOYED = FIRST_EPOCH + convert(since // EPOCH_SECONDS, uint64)
    self.pool = convert(FIRST_EPOCH, uint256)
    if FIRST_EPOCH != 0:
        self.budgeting = convert(FIRST_EPOCH - 1, uint256) << 64


# -------------------------------------------------------------------------------------- funding


@external
@payable
def fund(first: uint64, n: uint64, each: uint256):
    """
    @notice Adds `each` to the budget of `n` epochs from `first` on. The cost does not depend on n.
    @dev Refused for epochs that are over or settled, and for epochs too far ahead of the running
         one.
    @param first The first epoch to fund.
    @param n How many epochs, at least 1.
    @param each Atto for each epoch, at least 1; the value sent must be n * each.
    """
    assert n != 0 and each != 0, "rewards: nothing"
    pool: uint256 = self.pool
    assert convert(first, uint256) >= pool & U62_MASK, "rewards: settled"
    # `first` is bounded before anything is added to it, so that no sum can overflow.
    running: uint64 = self._running_epoch()
    horizon: uint64 = running + EPOCHS_AHEAD_MAX
    assert first <= horizon and n <= EPOCHS_AHEAD_MAX, "rewards: too far"
    behind: uint64 = first + n
    assert behind - 1 <= horizon, "rewards: too far"
    # Who reads a budget when an epoch is committed, after its end, must see the final one. Epochs
    # that were over when this contract came (a network of records from the past) can only be
    # funded afterwards; their sponsors must be earlier than the aggregator.
    assert first >= running or running == DEPLOYED or behind <= DEPLOYED, "rewards: over"
    assert each <= U96_MASK and (pool >> 160) + msg.value <= U96_MASK, "rewards: value"
    assert msg.value == each * convert(n, uint256), "rewards: value"
    self.pool = pool + (msg.value << 160)
    self._add(first, behind, each)
    log Funded(sponsor=msg.sender, first=first, n=n, each=each)


@internal
def _add(first: uint64, behind: uint64, each: uint256):
    """
    @notice Adds to the budgets of the epochs from `first` on that are before `behind`.
    """
    self.changes[first] += convert(each, int256)
    self.changes[behind] -= convert(each, int256)
    budgeting: uint256 = self.budgeting
    last: uint256 = convert(behind - 1, uint256)
    if last > (budgeting >> 64) & U64_MASK:
        self.budgeting = (budgeting & ~(U64_MASK << 64)) | (last << 64)


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
    next: uint64 = convert(pool & U62_MASK, uint64)
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
    settled: uint256 = (pool & ~U62_MASK) | convert(through + 1, uint256)
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
    @param unlock_at From when on the root's claims are paid, if no earlier report is held longer.
    @param winner The transmitter's place in the epoch's committee.
    @param previous_epoch The epoch of the report accepted before; if there is none, one without a
           report.
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
    unlock: uint256 = convert(unlock_at, uint256)
    if pool & HELD != 0:
        # Nothing unlocks before its predecessor; without a hold the clock alone sees to that.
        before: uint256 = (self.records[previous_epoch] >> 64) & U64_MASK
        if before > unlock:
            unlock = before
        else:
            pool &= ~HELD
    self.pool = (pool & ~(U96_MASK << 64)) | (new << 64)
    self.reward_roots[epoch] = reward_root
    self.records[epoch] = (
        (new << 128)
        | (unlock << 64)
        | (convert(previous_epoch, uint256) << 16)
        | convert(winner, uint256)
    )
    return convert(unlock, uint64)


@external
def forget(epoch: uint64, more: bool) -> uint64:
    """
    @notice Forgets the report that was accepted last, whose claims are still locked. Only
            Evaluations calls this, walking back to a report that a verdict voided.
    @param more Whether the walk goes on in a later transaction; until then no claim is paid.
    @return What `accept` was told of the report accepted before.
    """
    assert msg.sender == evaluations, "rewards: sender"
    record: uint256 = self.records[epoch]
    assert record != 0, "rewards: unreported"
    self.records[epoch] = 0
    self.reward_roots[epoch] = empty(bytes32)
    previous: uint64 = convert((record >> 16) & U48_MASK, uint64)
    pool: uint256 = self.pool & ~((U96_MASK << 64) | VOIDING)
    pool |= (self.records[previous] >> 128) << 64
    if more:
        pool |= VOIDING
    self.pool = pool
    return previous


@external
def roll(epoch: uint64) -> (uint128, uint64):
    """
    @notice Moves the budget of an epoch that will never be reported to the next one that is
            neither over nor settled. Only Evaluations calls this, once for an epoch.
    @return The budget, and where it went.
    """
    assert msg.sender == evaluations, "rewards: sender"
    assert self.records[epoch] == 0 and not self.rolled[epoch], "rewards: reported"
    self.rolled[epoch] = True
    pool: uint256 = 0
    budget: uint256 = 0
    pool, budget = self._settle(epoch, self.pool)
    self.pool = pool
    # Not to an epoch that is over: evaluators read a budget at the block of the commitment.
    to: uint64 = max(convert(pool & U62_MASK, uint64), self._running_epoch())
    if budget != 0:
        self._add(to, to + 1, budget)
    return convert(budget, uint128), to


@external
def hold(epoch: uint64, until: uint64):
    """
    @notice Keeps the claims of a locked report, and of all accepted after it, locked until then
            at least. Only by Disputes.
    @dev Walks back from the report accepted last; at most 1024 reports.
    """
    assert msg.sender == disputes, "rewards: sender"
    record: uint256 = self.records[epoch]
    assert record != 0, "rewards: unreported"
    assert block.timestamp < (record >> 64) & U64_MASK, "rewards: unlocked"
    at: uint64 = staticcall Evaluations(evaluations).last_epoch()
    for _: uint256 in range(HELD_PER_CALL):
        record = self.records[at]
        if (record >> 64) & U64_MASK < convert(until, uint256):
            self.records[at] = (record & ~(U64_MASK << 64)) | (convert(until, uint256) << 64)
        if at == epoch:
            self.pool |= HELD
            log Held(epoch=epoch, until=until)
            return
        at = convert((record >> 16) & U48_MASK, uint64)
    raise "rewards: span"


# --------------------------------------------------------------------------------------- claims


@external
def claim(
    epoch: uint64,
    node_key: bytes32,
    payee: address,
    cumulative: uint128,
    index: uint64,
    size: uint64,
    path: DynArray[sum_tree.Node, sum_tree.DEPTH_MAX],
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
    @param path The path's nodes, leaf to root: hash, and annotation * 2**64.
    """
    node: bytes32 = self._leaf(node_key, payee, cumulative)
    sums: uint256 = ONE_LEAF | convert(cumulative, uint256)
    node, sums = sum_tree._fold(CLAIM_NODE, node, sums, index, size, path)
    self._check_root(epoch, size, node, sums)
    amount: uint128 = self._book(epoch, node_key, payee, cumulative)
    self._pay(payee, amount)


@external
def claim_relayed(claim: Claim, fee: uint128, deadline: uint64, r: uint256, vs: uint256):
    """
    @notice The same for a payee without gas: the sender keeps a fee that the payee signed for.
    @dev Whoever sends it first gets the fee. The payee is paid before the sender.
    @param claim What `claim` takes.
    @param fee The fee in the payee's RelayedClaim; at most the claim's amount is taken.
    @param deadline The last second in which the signature is good.
    """
    struct_hash: bytes32 = keccak256(
        abi_encode(
            RELAYED_CLAIM_TYPEHASH,
            NETWORK,
            claim.node_key,
            claim.payee,
            fee,
            self.nonces[claim.payee],
            deadline,
        )
    )
    self._check_signature(claim.payee, struct_hash, deadline, r, vs)
    amount: uint128 = self._prove(claim)
    share: uint128 = min(fee, amount)
    log FeePaid(node_key=claim.node_key, relayer=msg.sender, fee=share)
    if amount != share:
        self._pay(claim.payee, amount - share)
    if share != 0:
        self._pay(msg.sender, share)
    # A payee that claims more while it is paid could not see that the fee is still to come.
    self._check_reserve(0)


@external
def claim_to(claim: Claim, recipient: address):
    """
    @notice The same to another account, by the payee itself or its delegate.
    """
    assert (
        msg.sender == claim.payee or msg.sender == self.delegates[claim.payee]
    ), "rewards: delegate"
    assert recipient != empty(address), "rewards: recipient"
    amount: uint128 = self._prove(claim)
    log ClaimedTo(node_key=claim.node_key, recipient=recipient)
    self._pay(recipient, amount)


@external
def set_delegate(delegate: address):
    """
    @notice Names who may send the caller's claims to accounts of its choice; zero: nobody.
    """
    self.delegates[msg.sender] = delegate
    log DelegateSet(payee=msg.sender, delegate=delegate)


@external
def set_delegate_signed(payee: address, delegate: address, deadline: uint64, r: uint256, vs: uint256):
    """
    @notice The same for a payee without gas, which signed Delegate. Anyone may relay it.
    """
    struct_hash: bytes32 = keccak256(
        abi_encode(DELEGATE_TYPEHASH, NETWORK, payee, delegate, self.nonces[payee], deadline)
    )
    self._check_signature(payee, struct_hash, deadline, r, vs)
    self.delegates[payee] = delegate
    log DelegateSet(payee=payee, delegate=delegate)


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
        node: bytes32 = self._leaf(c.node_key, c.payee, c.cumulative)
        sums: uint256 = ONE_LEAF | convert(c.cumulative, uint256)
        node, sums = sum_tree._fold(CLAIM_NODE, node, sums, c.index, c.size, c.path)
        self._check_root(c.epoch, c.size, node, sums)
        before: uint128 = self.claimed[c.node_key]
        if c.cumulative > before:
            amount: uint128 = c.cumulative - before
            self._check_reserve(amount)
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
@pure
def _leaf(node_key: bytes32, payee: address, cumulative: uint128) -> bytes32:
    return sha256(
        concat(CLAIM_LEAF, node_key, convert(payee, bytes20), convert(cumulative, bytes16))
    )


@internal
@view
def _check_root(epoch: uint64, size: uint64, node: bytes32, sums: uint256):
    """
    @notice Requires a claim tree's root node to be that of an unlocked report.
    """
    record: uint256 = self.records[epoch]
    assert record != 0, "rewards: unreported"
    assert block.timestamp >= (record >> 64) & U64_MASK, "rewards: locked"
    assert sums == (convert(size, uint256) << 128) | (record >> 128), "rewards: sums"
    root: bytes32 = sha256(
        concat(REWARD_ROOT, convert(size, bytes8), node, sum_tree._bytes(sums))
    )
    assert root == self.reward_roots[epoch], "rewards: proof"


@internal
def _prove(c: Claim) -> uint128:
    """
    @notice Requires a claim's proof to hold, and books it.
    @return What is to be paid.
    """
    node: bytes32 = self._leaf(c.node_key, c.payee, c.cumulative)
    sums: uint256 = ONE_LEAF | convert(c.cumulative, uint256)
    node, sums = sum_tree._fold(CLAIM_NODE, node, sums, c.index, c.size, c.path)
    self._check_root(c.epoch, c.size, node, sums)
    return self._book(c.epoch, c.node_key, c.payee, c.cumulative)


@internal
def _book(epoch: uint64, node_key: bytes32, payee: address, cumulative: uint128) -> uint128:
    """
    @notice Books a proven claim. The caller pays what this returns, as the last thing it does.
    """
    before: uint128 = self.claimed[node_key]
    assert cumulative > before, "rewards: nothing"
    amount: uint128 = unsafe_sub(cumulative, before)
    self._check_reserve(amount)
    self.claimed[node_key] = cumulative
    log Claimed(
        node_key=node_key, payee=payee, epoch=epoch, amount=amount, cumulative=cumulative
    )
    return amount


@internal
def _pay(account: address, amount: uint128):
    accepted: bool = raw_call(
        account, b"", value=convert(amount, uint256), revert_on_failure=False
    )
    assert accepted, "rewards: payment"


@internal
def _check_signature(
    payee: address, struct_hash: bytes32, deadline: uint64, r: uint256, vs: uint256
):
    """
    @notice Requires the payee's signature with its present nonce, and uses the nonce up.
    """
    assert block.timestamp <= convert(deadline, uint256), "rewards: deadline"
    signer: address = eip712._signer(eip712._digest(struct_hash), r, vs)
    assert signer != empty(address) and signer == payee, "rewards: signature"
    self.nonces[payee] += 1


@internal
@view
def _check_reserve(amount: uint128):
    """
    @notice Requires the payment to leave all money that no report has given to anybody yet.
    @dev In the midst of a void nobody can say how much that is.
    """
    pool: uint256 = self.pool
    assert pool & VOIDING == 0, "rewards: voiding"
    reserve: uint256 = (pool >> 160) - ((pool >> 64) & U96_MASK)
    assert self.balance >= reserve + convert(amount, uint256), "rewards: reserve"


# ---------------------------------------------------------------------------------------- views


@external
@view
def budget(epoch: uint64) -> uint128:
    """
    @notice An epoch's budget. Final once the epoch is below `next_to_settle`; 0 if it went to
            another epoch.
    """
    budgeting: uint256 = self.budgeting
    next: uint64 = convert(self.pool & U62_MASK, uint64)
    if self.rolled[epoch]:
        return 0
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
    return convert(self.pool & U62_MASK, uint64)


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
        convert(record >> 128, uint128),
        convert((record >> 64) & U64_MASK, uint64),
        convert(record & U16_MASK, uint16),
    )


@external
@view
def previous_epoch(epoch: uint64) -> uint64:
    """
    @notice The epoch of the report that was accepted before that of a reported epoch, as Evaluations
            said; 0 if the epoch has not been reported.
    """
    return convert((self.records[epoch] >> 16) & U48_MASK, uint64)
