# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Locations: jobs in a store, their places on chain
@custom:contract-name Locations
@license Apache-2.0
@notice The model `offchain-store`: each node puts its jobs of an epoch into a content-addressed
        store, and this contract is told where, under which digest and how many, before a cut-off.
        That fixes the input. Evaluators compute weights from it, each for itself; the first result
        that a quorum of them signed is accepted, and pays by proof when its window is over.
@dev The cut-off is counted from an epoch's end, or from its first location where that is later: so
     jobs of the past can be told too. Evaluators are fixed at deployment. In the window the referee
     may veto a result; it can neither make one nor pay anybody. A vetoed result never comes back,
     another one may.

     Locations of an epoch form a chain of hashes, SHA256(before, node key, object, count), in the
     order in which they came; a result names its end. Claims are those of Rewards, except that each
     epoch has a tree of its own.

     Packed words:
       records  total 128 | second from which it pays 64
"""

import eip712
import sum_tree


struct Registration:
    node_key: bytes32
    operator: address
    payee: address
    r: uint256
    vs: uint256

struct Location:
    node_key: bytes32
    object: bytes32
    count: uint64
    r: uint256
    vs: uint256

struct Result:
    epoch: uint64
    locations: bytes32
    outcome: bytes32
    function_digest: bytes32
    parameters_digest: bytes32
    reward_root: bytes32
    total: uint128

struct Claim:
    epoch: uint64
    node_key: bytes32
    payee: address
    amount: uint128
    index: uint64
    size: uint64
    path: DynArray[sum_tree.Node, sum_tree.DEPTH_MAX]


event Registered:
    node_key: indexed(bytes32)
    operator: address
    payee: address

event Located:
    epoch: indexed(uint64)
    node_key: indexed(bytes32)
    object: bytes32
    count: uint64

event Reported:
    epoch: indexed(uint64)
    result: bytes32
    outcome: bytes32
    reward_root: bytes32
    total: uint128
    unlock_at: uint64

event Vetoed:
    epoch: indexed(uint64)
    result: bytes32

event Claimed:
    epoch: indexed(uint64)
    node_key: indexed(bytes32)
    payee: address
    amount: uint128

event PaymentRefused:
    epoch: indexed(uint64)
    node_key: indexed(bytes32)
    payee: address
    amount: uint128

event Funded:
    epoch: indexed(uint64)
    budget: uint256

event Abandoned:
    epoch: indexed(uint64)
    atto: uint256


EVALUATORS_MAX: constant(uint256) = 31
NODES_PER_CALL: constant(uint256) = 64
CLAIMS_PER_CALL: constant(uint256) = 32
U64_MASK: constant(uint256) = 2**64 - 1
BUDGET_MAX: constant(uint256) = 2**96 - 1
DELAY_MAX: constant(uint256) = 2**32
EPOCH_MAX: constant(uint64) = 2**48

CLAIM_LEAF: constant(bytes1) = 0x06
CLAIM_NODE: constant(bytes1) = 0x07
REWARD_ROOT: constant(bytes1) = 0x13
ONE_LEAF: constant(uint256) = 2**128

REGISTRATION_TYPEHASH: constant(bytes32) = keccak256(
    "StoreNode(bytes32 network,bytes32 nodeKey,address operator,address payee)"
)
LOCATION_TYPEHASH: constant(bytes32) = keccak256(
    "Location(bytes32 network,uint64 epoch,bytes32 nodeKey,bytes32 object,uint64 count)"
)
RESULT_TYPEHASH: constant(bytes32) = keccak256(
    "StoreResult(bytes32 network,uint64 epoch,bytes32 locations,bytes32 outcome,bytes32 functionDigest,bytes32 parametersDigest,bytes32 rewardRoot,uint128 total)"
)

network: public(immutable(bytes32))
genesis: public(immutable(uint256))
epoch_seconds: public(immutable(uint256))
first_epoch: public(immutable(uint64))
locate_seconds: public(immutable(uint256))
challenge_seconds: public(immutable(uint256))
report_seconds: public(immutable(uint256))
referee: public(immutable(address))
function_digest: public(immutable(bytes32))
parameters_digest: public(immutable(bytes32))
quorum: public(immutable(uint256))

evaluator_list: DynArray[address, EVALUATORS_MAX]
# One more than the place among the evaluators.
places: HashMap[address, uint256]
operators: public(HashMap[bytes32, address])
payees: public(HashMap[bytes32, address])
# Epoch -> node -> digest of its jobs.
objects: public(HashMap[uint64, HashMap[bytes32, bytes32]])
locations: public(HashMap[uint64, bytes32])
cutoffs: public(HashMap[uint64, uint256])
budgets: public(HashMap[uint64, uint256])
funded_at: public(HashMap[uint64, uint256])
results: public(HashMap[uint64, bytes32])
reward_roots: public(HashMap[uint64, bytes32])
records: HashMap[uint64, uint256]
vetoed: public(HashMap[bytes32, bool])
claimed: public(HashMap[uint64, HashMap[bytes32, bool]])


@deploy
def __init__(
    network_: bytes32,
    genesis_: uint256,
    epoch_seconds_: uint256,
    first_epoch_: uint64,
    delays: uint256[3],
    referee_: address,
    evaluators_: DynArray[address, EVALUATORS_MAX],
    function_digest_: bytes32,
    parameters_digest_: bytes32,
):
    """
    @notice Pins the network, its rules and who evaluates.
    @param network_ SHA-256 of the network's name.
    @param genesis_ The second in which the first epoch starts.
    @param epoch_seconds_ Length of an epoch.
    @param first_epoch_ Its number.
    @param delays Seconds to tell locations, to veto a result, and to report until an epoch may be
           abandoned.
    @param referee_ Who may veto; the zero address: nobody.
    @param evaluators_ Who evaluates.
    @param function_digest_ The content address of the evaluation function.
    @param parameters_digest_ The content address of its parameters.
    """
    assert epoch_seconds_ != 0 and epoch_seconds_ <= DELAY_MAX, "locations: epoch seconds"
    for delay: uint256 in delays:
        assert delay <= DELAY_MAX, "locations: delay"
    assert len(evaluators_) != 0, "locations: evaluators"
    network = network_
    genesis = genesis_
    epoch_seconds = epoch_seconds_
    first_epoch = first_epoch_
    locate_seconds = delays[0]
    challenge_seconds = delays[1]
    report_seconds = delays[2]
    referee = referee_
    function_digest = function_digest_
    parameters_digest = parameters_digest_
    quorum = (len(evaluators_) + (len(evaluators_) - 1) // 3) // 2 + 1
    for evaluator: address in evaluators_:
        assert evaluator != empty(address), "locations: evaluators"
        assert self.places[evaluator] == 0, "locations: evaluators"
        self.evaluator_list.append(evaluator)
        self.places[evaluator] = len(self.evaluator_list)


# --------------------------------------------------------------------------------- money and nodes


@external
@payable
def fund(epoch: uint64):
    """
    @notice Adds to what an epoch pays that has no result yet.
    """
    self._check_epoch(epoch)
    assert self.results[epoch] == empty(bytes32), "locations: reported"
    budget: uint256 = self.budgets[epoch] + msg.value
    assert budget <= BUDGET_MAX, "locations: budget"
    self.budgets[epoch] = budget
    self.funded_at[epoch] = block.timestamp
    log Funded(epoch=epoch, budget=budget)


@external
def register_many(nodes: DynArray[Registration, NODES_PER_CALL]):
    """
    @notice Binds node keys to the operators that sign for them, and says who is paid. Anyone may
            relay; a node key is its first operator's for good.
    """
    for one: Registration in nodes:
        known: address = self.operators[one.node_key]
        if known != empty(address):
            # Somebody else may have relayed it; that must not block the others.
            assert known == one.operator, "locations: registered"
            assert self.payees[one.node_key] == one.payee, "locations: registered"
            continue
        assert one.payee != empty(address), "locations: payee"
        digest: bytes32 = eip712._digest(
            keccak256(
                abi_encode(REGISTRATION_TYPEHASH, network, one.node_key, one.operator, one.payee)
            )
        )
        self._check_signer(digest, one.r, one.vs, one.operator)
        self.operators[one.node_key] = one.operator
        self.payees[one.node_key] = one.payee
        log Registered(node_key=one.node_key, operator=one.operator, payee=one.payee)


@external
def locate_many(epoch: uint64, told: DynArray[Location, NODES_PER_CALL]):
    """
    @notice Takes down where nodes' jobs of an ended epoch are. Anyone may relay; each node tells
            once, before the epoch's cut-off.
    """
    end: uint256 = self._check_epoch(epoch)
    assert block.timestamp >= end, "locations: early"
    if self.cutoffs[epoch] == 0:
        self.cutoffs[epoch] = block.timestamp + locate_seconds
    assert block.timestamp < self.cutoffs[epoch], "locations: late"
    told_before: bytes32 = self.locations[epoch]
    for one: Location in told:
        operator: address = self.operators[one.node_key]
        assert operator != empty(address), "locations: unregistered"
        assert one.object != empty(bytes32), "locations: object"
        before: bytes32 = self.objects[epoch][one.node_key]
        if before != empty(bytes32):
            assert before == one.object, "locations: told"
            continue
        digest: bytes32 = eip712._digest(
            keccak256(
                abi_encode(
                    LOCATION_TYPEHASH, network, epoch, one.node_key, one.object, one.count
                )
            )
        )
        self._check_signer(digest, one.r, one.vs, operator)
        self.objects[epoch][one.node_key] = one.object
        told_before = sha256(
            concat(told_before, one.node_key, one.object, convert(one.count, bytes8))
        )
        log Located(epoch=epoch, node_key=one.node_key, object=one.object, count=one.count)
    self.locations[epoch] = told_before


# ---------------------------------------------------------------------------------------- results


@external
def report(result: Result, signatures: DynArray[eip712.Sig, EVALUATORS_MAX]):
    """
    @notice Accepts the first result of an epoch that a quorum of evaluators signed. Anyone may send.
    @param signatures In the order of the evaluators.
    """
    epoch: uint64 = result.epoch
    cutoff: uint256 = self.cutoffs[epoch]
    assert cutoff != 0 and block.timestamp >= cutoff, "locations: early"
    assert self.results[epoch] == empty(bytes32), "locations: reported"
    assert result.locations == self.locations[epoch], "locations: input"
    assert result.function_digest == function_digest, "locations: function"
    assert result.parameters_digest == parameters_digest, "locations: function"
    assert convert(result.total, uint256) <= self.budgets[epoch], "locations: budget"
    assert result.reward_root != empty(bytes32), "locations: root"
    digest: bytes32 = eip712._digest(
        keccak256(
            abi_encode(
                RESULT_TYPEHASH,
                network,
                epoch,
                result.locations,
                result.outcome,
                result.function_digest,
                result.parameters_digest,
                result.reward_root,
                result.total,
            )
        )
    )
    assert not self.vetoed[digest], "locations: vetoed"
    last: uint256 = 0
    for signature: eip712.Sig in signatures:
        place: uint256 = self.places[eip712._signer(digest, signature.r, signature.vs)]
        assert place > last, "locations: signer"
        last = place
    assert len(signatures) >= quorum, "locations: quorum"
    unlock_at: uint256 = block.timestamp + challenge_seconds
    self.results[epoch] = digest
    self.reward_roots[epoch] = result.reward_root
    self.records[epoch] = (convert(result.total, uint256) << 128) | (unlock_at << 64)
    log Reported(
        epoch=epoch,
        result=digest,
        outcome=result.outcome,
        reward_root=result.reward_root,
        total=result.total,
        unlock_at=convert(unlock_at, uint64),
    )


@external
def veto(epoch: uint64):
    """
    @notice Takes an accepted result back before it pays. Only by the referee.
    """
    assert msg.sender == referee and referee != empty(address), "locations: referee"
    digest: bytes32 = self.results[epoch]
    assert digest != empty(bytes32), "locations: unreported"
    assert block.timestamp < self._unlock_at(epoch), "locations: unlocked"
    self.vetoed[digest] = True
    self.results[epoch] = empty(bytes32)
    self.reward_roots[epoch] = empty(bytes32)
    self.records[epoch] = 0
    log Vetoed(epoch=epoch, result=digest)


@external
def abandon(epoch: uint64):
    """
    @notice Moves the budget of an epoch that nobody reported in time to the next one. Anyone may call.
    """
    since: uint256 = max(self._check_epoch(epoch), max(self.cutoffs[epoch], self.funded_at[epoch]))
    assert block.timestamp >= since + report_seconds, "locations: early"
    assert self.results[epoch] == empty(bytes32), "locations: reported"
    assert self.results[epoch + 1] == empty(bytes32), "locations: reported"
    atto: uint256 = self.budgets[epoch]
    assert atto != 0, "locations: nothing"
    self.budgets[epoch] = 0
    self.budgets[epoch + 1] += atto
    self.funded_at[epoch + 1] = block.timestamp
    log Abandoned(epoch=epoch, atto=atto)


# ----------------------------------------------------------------------------------------- claims


@external
@nonreentrant
def claim_many(claims: DynArray[Claim, CLAIMS_PER_CALL]) -> uint256:
    """
    @notice Pays what an unlocked result gives to nodes. Anyone may send; the money goes to the payee
            in the proven leaf. What was paid already is passed over; a payee that takes no money
            does not block the others and may be paid later.
    @dev A wrong proof reverts the whole batch: it is the sender's error.
    @return How many claims were paid.
    """
    done: uint256 = 0
    left: uint256 = len(claims)
    for c: Claim in claims:
        self._prove(c)
        if not self.claimed[c.epoch][c.node_key]:
            self.claimed[c.epoch][c.node_key] = True
            accepted: bool = raw_call(
                c.payee,
                b"",
                value=convert(c.amount, uint256),
                gas=msg.gas // (left + 1),
                revert_on_failure=False,
            )
            if accepted:
                done += 1
                log Claimed(epoch=c.epoch, node_key=c.node_key, payee=c.payee, amount=c.amount)
            else:
                self.claimed[c.epoch][c.node_key] = False
                log PaymentRefused(
                    epoch=c.epoch, node_key=c.node_key, payee=c.payee, amount=c.amount
                )
        left -= 1
    return done


@internal
@view
def _prove(c: Claim):
    """
    @notice Requires a claim to stand in the tree of an unlocked result.
    """
    record: uint256 = self.records[c.epoch]
    assert record != 0, "locations: unreported"
    assert block.timestamp >= self._unlock_at(c.epoch), "locations: locked"
    node: bytes32 = sha256(
        concat(CLAIM_LEAF, c.node_key, convert(c.payee, bytes20), convert(c.amount, bytes16))
    )
    sums: uint256 = ONE_LEAF | convert(c.amount, uint256)
    node, sums = sum_tree._fold(CLAIM_NODE, node, sums, c.index, c.size, c.path)
    assert sums == (convert(c.size, uint256) << 128) | (record >> 128), "locations: sums"
    root: bytes32 = sha256(
        concat(REWARD_ROOT, convert(c.size, bytes8), node, sum_tree._bytes(sums))
    )
    assert root == self.reward_roots[c.epoch], "locations: proof"


# ------------------------------------------------------------------------------------------ inside


@internal
@view
def _check_epoch(epoch: uint64) -> uint256:
    """
    @notice The second in which an epoch ends.
    """
    assert epoch >= first_epoch and epoch < EPOCH_MAX, "locations: epoch"
    return genesis + convert(epoch - first_epoch + 1, uint256) * epoch_seconds


@internal
@view
def _unlock_at(epoch: uint64) -> uint256:
    return (self.records[epoch] >> 64) & U64_MASK


@internal
@pure
def _check_signer(digest: bytes32, r: uint256, vs: uint256, account: address):
    signer: address = eip712._signer(digest, r, vs)
    assert signer != empty(address) and signer == account, "locations: signature"


@external
@view
def unlock_at(epoch: uint64) -> uint256:
    """
    @notice The second from which an epoch's result pays; 0 without one.
    """
    return self._unlock_at(epoch)


@external
@view
def evaluators() -> DynArray[address, EVALUATORS_MAX]:
    """
    @notice Who evaluates, in the order in which signatures stand.
    """
    return self.evaluator_list
