# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Registry: who takes part, and who decides each epoch
@custom:contract-name Registry
@license Apache-2.0
@notice Nodes and evaluators join with a signature of their own key and a stake, and leave after a
        delay. When an epoch opens, its members are chosen among the evaluators active at that
        moment: later joins and leaves change later epochs only. The others stand by.
@dev Nobody has special rights here but two contracts: Disputes, whose verdicts alone take a stake
     away, and Evaluations, which says by which rule members are chosen and has an epoch's members
     chosen anew when verdicts left too few of them. Anyone may relay a signed registration and
     pays its stake, which goes back to the registered account, never to the relayer.

     A rule is a greatest number of members (0 = no limit) and a least stake: of the evaluators
     with that stake, those with the most are chosen; of equal stakes, the lower address.

     A member set is stored as the code of a tiny contract that answers every call with the ABI
     encoding of `address[]`, ascending: reading a committee of any size costs one cold account,
     and writing it 6.4k gas a member instead of the 44k of a list and a mapping.

     Packed words:
       node identity   operator 160 | exit_at 64
       node money      payee 160 | stake 96
       evaluator       stake 96 | exit_at 64 | place in `active` + 1, 16; slashed: the top bit alone
       member set      code 160 | n 16 | set id 64
       rule            members at most 16 | stake at least 96
       progress        next epoch to open 64 | number of sets 64 | membership changed 1 |
                       rule of the last set 112
"""

import eip712

interface Evaluations:
    def committee_rule(epoch: uint64) -> (uint16, uint96): view
    def note_slashing(): nonpayable

interface MemberSet:
    def members() -> DynArray[address, MEMBERS_MAX]: view


struct NodeRegistration:
    node_key: bytes32
    operator: address
    payee: address
    deadline: uint64
    r: uint256
    vs: uint256


event NodeRegistered:
    node_key: indexed(bytes32)
    operator: indexed(address)
    payee: address
    stake: uint256

event NodeLeft:
    node_key: indexed(bytes32)
    exit_at: uint64

event EvaluatorRegistered:
    evaluator: indexed(address)
    link_key: bytes32
    endpoint: String[ENDPOINT_MAX]
    stake: uint256

event EvaluatorLeft:
    evaluator: indexed(address)
    exit_at: uint64

event EpochOpened:
    epoch: indexed(uint64)
    set_id: uint64
    n: uint64

event Slashed:
    account: indexed(address)
    amount: uint256

event Withdrawn:
    account: indexed(address)
    amount: uint256


MEMBERS_MAX: constant(uint256) = 128
NODES_PER_CALL: constant(uint256) = 64
EPOCHS_PER_CALL: constant(uint64) = 256
ENDPOINT_MAX: constant(uint256) = 64
DELAY_MAX: constant(uint64) = 2**32
FIRST_EPOCH_MAX: constant(uint64) = 2**31

ADDRESS_MASK: constant(uint256) = 2**160 - 1
U96_MASK: constant(uint256) = 2**96 - 1
U64_MASK: constant(uint256) = 2**64 - 1
U16_MASK: constant(uint256) = 2**16 - 1
CHANGED: constant(uint256) = 2**128
RULE_SHIFT: constant(uint256) = 129
SLASHED: constant(uint256) = 2**255

NODE_TYPEHASH: constant(bytes32) = keccak256(
    "RegisterNode(bytes32 network,bytes32 nodeKey,address operator,address payee,uint64 nonce,uint64 deadline)"
)
EVALUATOR_TYPEHASH: constant(bytes32) = keccak256(
    "RegisterEvaluator(bytes32 network,address evaluator,bytes32 linkKey,bytes32 endpointHash,uint64 nonce,uint64 deadline)"
)

# The code of a member set: copy everything behind these 11 bytes to memory and return it.
# PUSH1 11 CODESIZE SUB DUP1 PUSH1 11 PUSH0 CODECOPY PUSH0 RETURN
SET_CODE: constant(Bytes[11]) = x"600b380380600b5f395ff3"
# The init code behind PUSH2 <length>: return that many bytes from offset 10.
# DUP1 PUSH1 10 PUSH0 CODECOPY PUSH0 RETURN
SET_INIT: constant(Bytes[7]) = x"80600a5f395ff3"

network: public(immutable(bytes32))
genesis: public(immutable(uint64))
epoch_seconds: public(immutable(uint64))
first_epoch: public(immutable(uint64))
node_stake_min: public(immutable(uint256))
evaluator_stake_min: public(immutable(uint256))
exit_delay: public(immutable(uint64))
evaluations: public(immutable(address))
disputes: public(immutable(address))

nonces: public(HashMap[address, uint64])
node_identity: HashMap[bytes32, uint256]
node_money: HashMap[bytes32, uint256]
evaluators: HashMap[address, uint256]
link_keys: HashMap[address, bytes32]
active: DynArray[address, MEMBERS_MAX]
sets: HashMap[uint64, uint256]
epochs: HashMap[uint64, uint256]
progress: uint256


@deploy
def __init__(
    network_: bytes32,
    genesis_: uint64,
    epoch_seconds_: uint64,
    first_epoch_: uint64,
    node_stake_min_: uint256,
    evaluator_stake_min_: uint256,
    exit_delay_: uint64,
    evaluations_: address,
    disputes_: address,
):
    """
    @notice Pins the network and its clock for good.
    @param network_ The 32 bytes that every signature of the network binds.
    @param genesis_ When `first_epoch_` starts, in seconds since the Unix epoch.
    @param epoch_seconds_ The length of every epoch.
    @param first_epoch_ The number of the first epoch.
    @param node_stake_min_ The least stake of a node; 0 is allowed.
    @param evaluator_stake_min_ The least stake of an evaluator; 0 is allowed.
    @param exit_delay_ Seconds between leaving and withdrawing the stake.
    @param evaluations_ The address that Evaluations will be deployed at; Evaluations checks it.
    @param disputes_ The address that Disputes will be deployed at, which may slash; the zero
           address: nobody may.
    """
    assert network_ != empty(bytes32), "registry: network"
    assert epoch_seconds_ != 0, "registry: epoch seconds"
    assert epoch_seconds_ <= DELAY_MAX and exit_delay_ <= DELAY_MAX, "registry: delay"
    assert first_epoch_ <= FIRST_EPOCH_MAX, "registry: first epoch"
    assert evaluations_ != empty(address), "registry: wiring"
    network = network_
    genesis = genesis_
    epoch_seconds = epoch_seconds_
    first_epoch = first_epoch_
    node_stake_min = node_stake_min_
    evaluator_stake_min = evaluator_stake_min_
    exit_delay = exit_delay_
    evaluations = evaluations_
    disputes = disputes_
    self.progress = convert(first_epoch_, uint256)


# ---------------------------------------------------------------------------------------- nodes


@external
@payable
def register_nodes(registrations: DynArray[NodeRegistration, NODES_PER_CALL]):
    """
    @notice Registers nodes, each signed for by its operator; the value is shared equally as stake.
    @dev Anyone may relay. All or nothing.
    @param registrations One entry a node; the signed struct is RegisterNode with the operator's
           current nonce.
    """
    n: uint256 = len(registrations)
    assert n != 0, "registry: nothing"
    stake: uint256 = msg.value // n
    assert (
        stake * n == msg.value and stake >= node_stake_min and stake <= U96_MASK
    ), "registry: stake"
    for entry: NodeRegistration in registrations:
        self._register_node(entry, stake)


@internal
def _register_node(entry: NodeRegistration, stake: uint256):
    assert self.node_identity[entry.node_key] == 0, "registry: node exists"
    assert entry.payee != empty(address), "registry: payee"
    assert block.timestamp <= convert(entry.deadline, uint256), "registry: deadline"
    nonce: uint64 = self.nonces[entry.operator]
    struct_hash: bytes32 = keccak256(
        abi_encode(
            NODE_TYPEHASH,
            network,
            entry.node_key,
            entry.operator,
            entry.payee,
            nonce,
            entry.deadline,
        )
    )
    signer: address = eip712._signer(eip712._digest(struct_hash), entry.r, entry.vs)
    assert signer != empty(address) and signer == entry.operator, "registry: signature"
    self.nonces[entry.operator] = nonce + 1
    self.node_identity[entry.node_key] = convert(entry.operator, uint256)
    self.node_money[entry.node_key] = convert(entry.payee, uint256) | (stake << 160)
    log NodeRegistered(
        node_key=entry.node_key, operator=entry.operator, payee=entry.payee, stake=stake
    )


@external
def leave_node(node_key: bytes32):
    """
    @notice Takes a node out; its stake can be withdrawn after the exit delay. By its operator.
    """
    identity: uint256 = self.node_identity[node_key]
    assert identity != 0, "registry: no node"
    assert identity & ADDRESS_MASK == convert(msg.sender, uint256), "registry: operator"
    assert identity >> 160 == 0, "registry: left"
    exit_at: uint256 = block.timestamp + convert(exit_delay, uint256)
    self.node_identity[node_key] = identity | (exit_at << 160)
    log NodeLeft(node_key=node_key, exit_at=convert(exit_at, uint64))


@external
def withdraw_node(node_key: bytes32):
    """
    @notice Pays a left node's stake to its operator and forgets the node. Anyone may call.
    """
    identity: uint256 = self.node_identity[node_key]
    exit_at: uint256 = identity >> 160
    assert exit_at != 0 and block.timestamp >= exit_at, "registry: locked"
    stake: uint256 = self.node_money[node_key] >> 160
    self.node_identity[node_key] = 0
    self.node_money[node_key] = 0
    self._pay(convert(identity & ADDRESS_MASK, address), stake)


# ----------------------------------------------------------------------------------- evaluators


@external
@payable
def register_evaluator(
    evaluator: address,
    link_key: bytes32,
    endpoint: String[ENDPOINT_MAX],
    deadline: uint64,
    r: uint256,
    vs: uint256,
):
    """
    @notice Registers an evaluator with the value as stake; it decides epochs opened from now on.
    @dev Anyone may relay. The signature binds the link (TLS) identity to the deciding key.
    @param evaluator The account that will sign reports.
    @param link_key The Ed25519 public key of its links.
    @param endpoint Where its peers reach it: host:port.
    @param deadline The last second in which the signature is good.
    """
    assert msg.value >= evaluator_stake_min and msg.value <= U96_MASK, "registry: stake"
    record: uint256 = self.evaluators[evaluator]
    assert record != SLASHED, "registry: slashed"
    assert record == 0, "registry: evaluator exists"
    assert block.timestamp <= convert(deadline, uint256), "registry: deadline"
    place: uint256 = len(self.active) + 1
    assert place <= MEMBERS_MAX, "registry: full"
    nonce: uint64 = self.nonces[evaluator]
    struct_hash: bytes32 = keccak256(
        abi_encode(
            EVALUATOR_TYPEHASH,
            network,
            evaluator,
            link_key,
            keccak256(endpoint),
            nonce,
            deadline,
        )
    )
    signer: address = eip712._signer(eip712._digest(struct_hash), r, vs)
    assert signer != empty(address) and signer == evaluator, "registry: signature"
    self.nonces[evaluator] = nonce + 1
    self.evaluators[evaluator] = msg.value | (place << 160)
    self.link_keys[evaluator] = link_key
    self.active.append(evaluator)
    self.progress |= CHANGED
    log EvaluatorRegistered(
        evaluator=evaluator, link_key=link_key, endpoint=endpoint, stake=msg.value
    )


@external
def leave_evaluator():
    """
    @notice Takes the caller out of epochs not yet opened; the stake unlocks after the exit delay.
    """
    record: uint256 = self.evaluators[msg.sender]
    place: uint256 = (record >> 160) & U16_MASK
    assert place != 0, "registry: no evaluator"
    self._deactivate(msg.sender, place)
    exit_at: uint256 = block.timestamp + convert(exit_delay, uint256)
    self.evaluators[msg.sender] = (record & U96_MASK) | (exit_at << 96)
    log EvaluatorLeft(evaluator=msg.sender, exit_at=convert(exit_at, uint64))


@internal
def _deactivate(account: address, place: uint256):
    last: address = self.active.pop()
    if last != account:
        self.active[place - 1] = last
        other: uint256 = self.evaluators[last]
        self.evaluators[last] = (other & (2**160 - 1)) | (place << 160)
    self.progress |= CHANGED


@external
def withdraw_evaluator():
    """
    @notice Pays the caller's stake back, once it has left and the exit delay is over.
    """
    record: uint256 = self.evaluators[msg.sender]
    exit_at: uint256 = (record >> 96) & U64_MASK
    assert exit_at != 0 and block.timestamp >= exit_at, "registry: locked"
    self.evaluators[msg.sender] = 0
    self.link_keys[msg.sender] = empty(bytes32)
    self._pay(msg.sender, record & U96_MASK)


@external
def slash_evaluator(account: address) -> uint256:
    """
    @notice Takes an evaluator's whole stake and bars the account for good. Only Disputes may call.
    @dev Also while the evaluator is leaving. An account without a stake, or slashed before, is no
         error: one of several guilty ones must not keep the others from their verdict.
    @return The stake, which Disputes has received.
    """
    assert msg.sender == disputes, "registry: sender"
    record: uint256 = self.evaluators[account]
    if record == SLASHED:
        return 0
    place: uint256 = (record >> 160) & U16_MASK
    if place != 0:
        self._deactivate(account, place)
    self.evaluators[account] = SLASHED
    extcall Evaluations(evaluations).note_slashing()
    stake: uint256 = record & U96_MASK
    log Slashed(account=account, amount=stake)
    if stake != 0:
        paid: bool = raw_call(msg.sender, b"", value=stake, revert_on_failure=False)
        assert paid, "registry: payment"
    return stake


@internal
def _pay(account: address, amount: uint256):
    """
    @dev Called last, when all state is written: a re-entering account finds nothing left to take.
    """
    log Withdrawn(account=account, amount=amount)
    paid: bool = raw_call(account, b"", value=amount, revert_on_failure=False)
    assert paid, "registry: payment"


# --------------------------------------------------------------------------------------- epochs


@external
def open_epochs(through: uint64):
    """
    @notice Opens all epochs up to `through` whose turn it is; their members are fixed by this.
    @dev Anyone may call. Epochs that are open already are left as they are, so that two callers
         who race both succeed. At most 256 epochs in one call.
    @param through The last epoch to open; it must have started.
    """
    progress: uint256 = self.progress
    next: uint64 = convert(progress & U64_MASK, uint64)
    if through < next:
        return
    span: uint64 = through - next
    assert span < EPOCHS_PER_CALL, "registry: span"
    assert block.timestamp >= self._start(through), "registry: early"
    set_count: uint64 = convert((progress >> 64) & U64_MASK, uint64)
    member_set: uint256 = self.sets[set_count]
    changed: bool = progress & CHANGED != 0
    made_by: uint256 = progress >> RULE_SHIFT
    for i: uint64 in range(span + 1, bound=EPOCHS_PER_CALL):
        rule: uint256 = self._rule(next + i)
        if changed or rule != made_by:
            set_count, member_set = self._choose(rule, set_count, member_set)
            changed = False
            made_by = rule
        assert member_set != 0, "registry: no evaluators"
        self.epochs[next + i] = member_set
        log EpochOpened(
            epoch=next + i,
            set_id=set_count,
            n=convert((member_set >> 160) & U16_MASK, uint64),
        )
    self.progress = (
        convert(through + 1, uint256)
        | (convert(set_count, uint256) << 64)
        | (made_by << RULE_SHIFT)
    )


@external
def renew(epoch: uint64) -> uint64:
    """
    @notice Chooses an open epoch's members anew, by its own rule, among those active now. Only
            Evaluations calls this, for an epoch in which verdicts left no quorum.
    @return The id of the epoch's new member set.
    """
    assert msg.sender == evaluations, "registry: sender"
    progress: uint256 = self.progress
    assert epoch < convert(progress & U64_MASK, uint64), "registry: not open"
    set_count: uint64 = convert((progress >> 64) & U64_MASK, uint64)
    member_set: uint256 = self.sets[set_count]
    set_count, member_set = self._choose(self._rule(epoch), set_count, member_set)
    self.epochs[epoch] = member_set
    # The last set may be of an older rule now: the next opening has to look again.
    self.progress = (
        (progress & ~(U64_MASK << 64)) | (convert(set_count, uint256) << 64) | CHANGED
    )
    log EpochOpened(
        epoch=epoch,
        set_id=set_count,
        n=convert((member_set >> 160) & U16_MASK, uint64),
    )
    return set_count


@internal
@view
def _rule(epoch: uint64) -> uint256:
    size: uint16 = 0
    stake_min: uint96 = 0
    size, stake_min = staticcall Evaluations(evaluations).committee_rule(epoch)
    return convert(size, uint256) | (convert(stake_min, uint256) << 16)


@internal
def _choose(rule: uint256, set_count: uint64, member_set: uint256) -> (uint64, uint256):
    """
    @notice The set that the rule gives now: the last one, or a new one with the next id.
    """
    members: DynArray[uint256, MEMBERS_MAX] = self._chosen(rule)
    assert len(members) != 0, "registry: no evaluators"
    if self._same(member_set, members):
        return set_count, member_set
    return set_count + 1, self._store_set(set_count + 1, members)


@internal
@view
def _chosen(rule: uint256) -> DynArray[uint256, MEMBERS_MAX]:
    """
    @notice The active evaluators that a rule makes members, in ascending order.
    """
    size: uint256 = rule & U16_MASK
    stake_min: uint256 = rule >> 16
    members: DynArray[uint256, MEMBERS_MAX] = []
    if stake_min == 0 and (size == 0 or size >= len(self.active)):
        for account: address in self.active:
            members.append(convert(account, uint256))
        return self._sorted(members)
    # Ascending: the least stake first, of equal ones the higher address, so the last are chosen.
    ranks: DynArray[uint256, MEMBERS_MAX] = []
    for account: address in self.active:
        stake: uint256 = self.evaluators[account] & U96_MASK
        if stake >= stake_min:
            ranks.append((stake << 160) | (ADDRESS_MASK - convert(account, uint256)))
    skip: uint256 = 0
    if size != 0 and len(ranks) > size:
        skip = len(ranks) - size
        ranks = self._sorted(ranks)
    for i: uint256 in range(len(ranks) - skip, bound=MEMBERS_MAX):
        members.append(ADDRESS_MASK - (ranks[skip + i] & ADDRESS_MASK))
    return self._sorted(members)


@internal
@pure
def _sorted(items_: DynArray[uint256, MEMBERS_MAX]) -> DynArray[uint256, MEMBERS_MAX]:
    """
    @notice The items in ascending order (insertion sort in memory).
    """
    items: DynArray[uint256, MEMBERS_MAX] = items_
    for i: uint256 in range(len(items), bound=MEMBERS_MAX):
        item: uint256 = items[i]
        at: uint256 = i
        for _: uint256 in range(i, bound=MEMBERS_MAX):
            before: uint256 = items[at - 1]
            if before < item:
                break
            items[at] = before
            at -= 1
        items[at] = item
    return items


@internal
@view
def _same(member_set: uint256, members: DynArray[uint256, MEMBERS_MAX]) -> bool:
    """
    @notice Whether a stored set holds exactly `members` (somebody left and came back).
    """
    if (member_set >> 160) & U16_MASK != len(members):
        return False
    return keccak256(abi_encode(self._members(member_set))) == keccak256(abi_encode(members))


@internal
def _store_set(set_id: uint64, members: DynArray[uint256, MEMBERS_MAX]) -> uint256:
    code: Bytes[32 * (MEMBERS_MAX + 2) + 11] = concat(SET_CODE, abi_encode(members))
    size: bytes2 = convert(convert(len(code), uint16), bytes2)
    at: address = raw_create(concat(x"61", size, SET_INIT, code))
    member_set: uint256 = (
        convert(at, uint256) | (len(members) << 160) | (convert(set_id, uint256) << 176)
    )
    self.sets[set_id] = member_set
    return member_set


@internal
@view
def _members(member_set: uint256) -> DynArray[address, MEMBERS_MAX]:
    if member_set == 0:
        return []
    return staticcall MemberSet(convert(member_set & ADDRESS_MASK, address)).members()


@internal
@view
def _start(epoch: uint64) -> uint256:
    """
    @notice When an epoch starts, in seconds since the Unix epoch.
    """
    assert epoch >= first_epoch, "registry: epoch"
    return convert(genesis, uint256) + convert(epoch - first_epoch, uint256) * convert(
        epoch_seconds, uint256
    )


# ---------------------------------------------------------------------------------------- views


@external
@view
def epoch_set(epoch: uint64) -> uint64:
    """
    @notice The id of the epoch's member set; 0 if the epoch has not been opened.
    """
    return convert(self.epochs[epoch] >> 176, uint64)


@external
@view
def committee(epoch: uint64) -> DynArray[address, MEMBERS_MAX]:
    """
    @notice The epoch's members in ascending order; empty if the epoch has not been opened.
    """
    return self._members(self.epochs[epoch])


@external
@view
def next_epoch() -> uint64:
    """
    @notice The epoch that will be opened next.
    """
    return convert(self.progress & U64_MASK, uint64)


@external
@view
def is_member(set_id: uint64, account: address) -> bool:
    """
    @notice Whether an account belongs to a member set.
    """
    return account in self._members(self.sets[set_id])


@external
@view
def set_size(set_id: uint64) -> uint64:
    """
    @notice The number of members of a set; 0 if there is no such set.
    """
    return convert((self.sets[set_id] >> 160) & U16_MASK, uint64)


@external
@view
def epoch_start(epoch: uint64) -> uint64:
    """
    @notice The first second of an epoch.
    """
    return convert(self._start(epoch), uint64)


@external
@view
def epoch_end(epoch: uint64) -> uint64:
    """
    @notice The first second after an epoch.
    """
    return convert(self._start(epoch), uint64) + epoch_seconds


@external
@view
def node(node_key: bytes32) -> (address, address, uint256, uint64):
    """
    @notice A node's operator, payee, stake and exit time (0 = has not left); zeros if unknown.
    """
    identity: uint256 = self.node_identity[node_key]
    money: uint256 = self.node_money[node_key]
    return (
        convert(identity & ADDRESS_MASK, address),
        convert(money & ADDRESS_MASK, address),
        money >> 160,
        convert(identity >> 160, uint64),
    )


@external
@view
def evaluator(account: address) -> (uint256, bytes32, uint64):
    """
    @notice An evaluator's stake, link key and exit time (0 = has not left); zeros if unknown.
    """
    record: uint256 = self.evaluators[account]
    return (
        record & U96_MASK,
        self.link_keys[account],
        convert((record >> 96) & U64_MASK, uint64),
    )


@external
@view
def active_evaluators() -> DynArray[address, MEMBERS_MAX]:
    """
    @notice The evaluators among whom the next opened epoch's members are chosen, ascending.
    """
    members: DynArray[uint256, MEMBERS_MAX] = self._chosen(0)
    accounts: DynArray[address, MEMBERS_MAX] = []
    for member: uint256 in members:
        accounts.append(convert(member, address))
    return accounts


@external
@view
def is_slashed(account: address) -> bool:
    """
    @notice Whether a verdict took the account's stake and barred it.
    """
    return self.evaluators[account] == SLASHED


@external
@view
def standing(epoch: uint64) -> uint64:
    """
    @notice How many of the epoch's members have not been slashed.
    """
    n: uint64 = 0
    members: DynArray[address, MEMBERS_MAX] = self._members(self.epochs[epoch])
    for member: address in members:
        if self.evaluators[member] != SLASHED:
            n += 1
    return n
