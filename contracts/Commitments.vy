# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Commitments: what was measured, fixed before anybody evaluates it
@custom:contract-name Commitments
@license Apache-2.0
@notice After an epoch's end each aggregator posts one commitment to all jobs it accepted: a tree's
        root node, the number of its nodes, and the digest of the published manifest. One
        transaction an epoch, whatever the number of jobs. A node that was left out may commit
        itself. What a verdict of Disputes voids no longer counts, and another aggregator may
        replace it.
@dev Only a running digest over an epoch's commitments, voids and self-commitments is stored, and
     one word for each commitment that says what it was; their contents are in the events. A report
     must name the digest, so it can only be about exactly what stands. What a report is held
     against is zero while no aggregator's commitment stands: such an epoch cannot be reported.
     Nothing can be taken back by who made it. The Receipt type is signed for this contract.

     Packed word:
       aggregator   next epoch + 1, 64 (0 = not active) | stake 96 | exit_at 64 | listed 1 |
                    slashed 1
"""

import eip712

interface Registry:
    def network() -> bytes32: view
    def genesis() -> uint64: view
    def epoch_seconds() -> uint64: view
    def first_epoch() -> uint64: view
    def exit_delay() -> uint64: view
    def evaluations() -> address: view
    def node(node_key: bytes32) -> (address, address, uint256, uint64): view

interface Evaluations:
    def report_hash(epoch: uint64) -> bytes32: view


event Committed:
    epoch: indexed(uint64)
    aggregator: indexed(address)
    root: bytes32
    n_nodes: uint64
    annotation: bytes24
    manifest: bytes32
    digest: bytes32

event Replaced:
    epoch: indexed(uint64)
    voided: indexed(address)
    aggregator: indexed(address)

event Voided:
    epoch: indexed(uint64)
    aggregator: indexed(address)
    root: bytes32
    digest: bytes32

event SelfCommitted:
    epoch: indexed(uint64)
    node_key: indexed(bytes32)
    tree_hash: bytes32
    annotation: bytes24
    segment: bytes32
    digest: bytes32

event AggregatorJoined:
    aggregator: indexed(address)
    first: uint64
    stake: uint256

event AggregatorLeft:
    aggregator: indexed(address)
    exit_at: uint64

event Withdrawn:
    account: indexed(address)
    amount: uint256

event Slashed:
    aggregator: indexed(address)
    amount: uint256


AGGREGATORS_MAX: constant(uint256) = 8
# Root, number of nodes, annotation, manifest: what digest and record are over.
CONTENT: constant(uint256) = 96
DELAY_MAX: constant(uint64) = 2**32
COMMITTED_ROOT: constant(bytes1) = 0x12
EPOCH_DIGEST: constant(bytes1) = 0x14
COMMITMENT_RECORD: constant(bytes1) = 0x1e
VOID_DIGEST: constant(bytes1) = 0x1f
SELF_DIGEST: constant(bytes1) = 0x20
# SHA-256 of nothing: the root of a tree without leaves.
EMPTY_TREE: constant(bytes32) = 0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
# What a record becomes; no SHA-256 that anybody can find is one of these.
VOIDED: constant(bytes32) = 0x0000000000000000000000000000000000000000000000000000000000000001
REPLACED: constant(bytes32) = 0x0000000000000000000000000000000000000000000000000000000000000002

U64_MASK: constant(uint256) = 2**64 - 1
U96_MASK: constant(uint256) = 2**96 - 1
LISTED: constant(uint256) = 2**224
SLASHED: constant(uint256) = 2**225

SELF_COMMIT_TYPEHASH: constant(bytes32) = keccak256(
    "SelfCommit(bytes32 network,uint64 epoch,bytes32 nodeKey,bytes32 treeHash,bytes24 annotation,bytes32 segment,uint64 deadline)"
)

registry: public(immutable(address))
disputes: public(immutable(address))
aggregator_stake_min: public(immutable(uint96))
sealing_seconds: public(immutable(uint64))
NETWORK: immutable(bytes32)
GENESIS: immutable(uint256)
EPOCH_SECONDS: immutable(uint256)
FIRST_EPOCH: immutable(uint64)
EXIT_DELAY: immutable(uint256)

# The running digest of an epoch while an aggregator's commitment stands, zero otherwise.
standing_digest: public(HashMap[uint64, bytes32])
# The running digest of an epoch while no aggregator's commitment stands.
idle_digest: HashMap[uint64, bytes32]
record: public(HashMap[uint64, HashMap[address, bytes32]])
listed: DynArray[address, AGGREGATORS_MAX]
words: HashMap[address, uint256]
self_committed: public(HashMap[uint64, HashMap[bytes32, bool]])
self_commitments: public(HashMap[uint64, uint64])


@deploy
def __init__(
    registry_: address,
    disputes_: address,
    aggregators_: DynArray[address, AGGREGATORS_MAX],
    aggregator_stake_min_: uint96,
    sealing_seconds_: uint64,
):
    """
    @notice Pins the registry, whose clock is copied, and who may ever be an aggregator.
    @param registry_ The network's Registry.
    @param disputes_ The only account that may void and slash; the zero address: nobody.
    @param aggregators_ The accounts that may commit; each has its own sequence of epochs.
    @param aggregator_stake_min_ The least stake; 0: all are active from the first epoch on.
    @param sealing_seconds_ How long after its end an epoch waits for nodes that commit themselves;
           0: they cannot.
    """
    assert len(aggregators_) != 0, "commitments: aggregators"
    assert sealing_seconds_ <= DELAY_MAX, "commitments: delay"
    registry = registry_
    disputes = disputes_
    aggregator_stake_min = aggregator_stake_min_
    sealing_seconds = sealing_seconds_
    NETWORK = staticcall Registry(registry_).network()
    GENESIS = convert(staticcall Registry(registry_).genesis(), uint256)
    EPOCH_SECONDS = convert(staticcall Registry(registry_).epoch_seconds(), uint256)
    FIRST_EPOCH = staticcall Registry(registry_).first_epoch()
    EXIT_DELAY = convert(staticcall Registry(registry_).exit_delay(), uint256)
    word: uint256 = LISTED
    if aggregator_stake_min_ == 0:
        word |= convert(FIRST_EPOCH, uint256) + 1
    for aggregator: address in aggregators_:
        assert aggregator != empty(address), "commitments: aggregators"
        assert self.words[aggregator] == 0, "commitments: aggregators"
        self.words[aggregator] = word
    self.listed = aggregators_


# ---------------------------------------------------------------------------------- aggregators


@external
@payable
def join():
    """
    @notice Makes a listed account an aggregator from the running epoch on; the value is its stake.
    """
    word: uint256 = self.words[msg.sender]
    assert word & LISTED != 0, "commitments: aggregator"
    assert word & SLASHED == 0, "commitments: slashed"
    assert word & U64_MASK == 0, "commitments: joined"
    assert (
        msg.value >= convert(aggregator_stake_min, uint256) and msg.value <= U96_MASK
    ), "commitments: stake"
    first: uint256 = convert(FIRST_EPOCH, uint256)
    if block.timestamp > GENESIS:
        first += (block.timestamp - GENESIS) // EPOCH_SECONDS
    self.words[msg.sender] = LISTED | (msg.value << 64) | (first + 1)
    log AggregatorJoined(
        aggregator=msg.sender, first=convert(first, uint64), stake=msg.value
    )


@external
def leave():
    """
    @notice Takes the caller out of epochs that have not started; its stake unlocks after the
            registry's exit delay. It still commits the epochs that it took part in.
    """
    word: uint256 = self.words[msg.sender]
    assert word & U64_MASK != 0, "commitments: aggregator"
    assert self._exit_at(word) == 0, "commitments: left"
    exit_at: uint256 = block.timestamp + EXIT_DELAY
    self.words[msg.sender] = word | (exit_at << 160)
    log AggregatorLeft(aggregator=msg.sender, exit_at=convert(exit_at, uint64))


@external
def withdraw():
    """
    @notice Pays the caller's stake back, once it has left and the exit delay is over.
    @dev The payment comes last: a caller that calls back finds nothing left to take.
    """
    word: uint256 = self.words[msg.sender]
    exit_at: uint256 = self._exit_at(word)
    assert exit_at != 0 and block.timestamp >= exit_at, "commitments: locked"
    stake: uint256 = (word >> 64) & U96_MASK
    self.words[msg.sender] = LISTED
    log Withdrawn(account=msg.sender, amount=stake)
    paid: bool = raw_call(msg.sender, b"", value=stake, revert_on_failure=False)
    assert paid, "commitments: payment"


@external
def slash(aggregator: address) -> uint256:
    """
    @notice Takes an aggregator's whole stake and its place, for good. Only by Disputes.
    @dev A second verdict finds nothing and does not fail, so that it can void what it is about.
    @return The stake, which is paid to Disputes.
    """
    assert msg.sender == disputes, "commitments: sender"
    word: uint256 = self.words[aggregator]
    assert word & LISTED != 0, "commitments: aggregator"
    stake: uint256 = (word >> 64) & U96_MASK
    self.words[aggregator] = LISTED | SLASHED
    if word & SLASHED == 0:
        log Slashed(aggregator=aggregator, amount=stake)
    if stake != 0:
        raw_call(msg.sender, b"", value=stake)
    return stake


@internal
@pure
def _exit_at(word: uint256) -> uint256:
    return (word >> 160) & U64_MASK


# ---------------------------------------------------------------------------------- commitments


@external
def commit(
    epoch: uint64, tree_hash: bytes32, n_nodes: uint64, annotation: bytes24, manifest: bytes32
):
    """
    @notice Commits the caller to an epoch's jobs, once, after the epoch's end.
    @dev Epochs without jobs are committed too: an aggregator's epochs have no gaps. The root is
         computed here, so that root, number and sums can never disagree.
    @param epoch The caller's next epoch.
    @param tree_hash The hash of the node tree's (L1) root node.
    @param n_nodes The number of nodes in the tree.
    @param annotation The root node's annotation: number of jobs u64 and 16 bytes of sums.
    @param manifest SHA-256 of the published manifest.
    """
    word: uint256 = self.words[msg.sender]
    turn: uint256 = word & U64_MASK
    assert turn != 0, "commitments: aggregator"
    assert convert(epoch, uint256) == unsafe_sub(turn, 1), "commitments: order"
    end: uint256 = self._end(epoch)
    assert block.timestamp >= end, "commitments: early"
    exit_at: uint256 = self._exit_at(word)
    if exit_at != 0:
        assert end - EPOCH_SECONDS + EXIT_DELAY <= exit_at, "commitments: left"
    self.words[msg.sender] = unsafe_add(word, 1)
    self._commit(epoch, tree_hash, n_nodes, annotation, manifest)


@external
def replace(
    epoch: uint64,
    voided: address,
    tree_hash: bytes32,
    n_nodes: uint64,
    annotation: bytes24,
    manifest: bytes32,
):
    """
    @notice Commits the caller to an epoch in place of a commitment that was voided, once for each,
            before the epoch is reported, whatever the caller's own turn is.
    @param voided The aggregator whose commitment was voided.
    """
    word: uint256 = self.words[msg.sender]
    assert word & U64_MASK != 0, "commitments: aggregator"
    assert self._exit_at(word) == 0, "commitments: left"
    assert self.record[epoch][voided] == VOIDED, "commitments: not void"
    evaluations: address = staticcall Registry(registry).evaluations()
    assert (
        staticcall Evaluations(evaluations).report_hash(epoch) == empty(bytes32)
    ), "commitments: reported"
    self.record[epoch][voided] = REPLACED
    self._commit(epoch, tree_hash, n_nodes, annotation, manifest)
    log Replaced(epoch=epoch, voided=voided, aggregator=msg.sender)


@external
def skip():
    """
    @notice Moves the caller's turn over an epoch that it has committed to by `replace`.
    """
    word: uint256 = self.words[msg.sender]
    turn: uint256 = word & U64_MASK
    assert turn != 0, "commitments: aggregator"
    assert (
        self.record[convert(turn - 1, uint64)][msg.sender] != empty(bytes32)
    ), "commitments: order"
    self.words[msg.sender] = word + 1


@internal
def _commit(
    epoch: uint64, tree_hash: bytes32, n_nodes: uint64, annotation: bytes24, manifest: bytes32
):
    assert self.record[epoch][msg.sender] == empty(bytes32), "commitments: committed"
    if n_nodes == 0:
        assert tree_hash == EMPTY_TREE and annotation == empty(bytes24), "commitments: empty"
    root: bytes32 = sha256(
        concat(
            COMMITTED_ROOT, convert(epoch, bytes8), convert(n_nodes, bytes8), tree_hash, annotation
        )
    )
    digest: bytes32 = self.standing_digest[epoch]
    if digest == empty(bytes32):
        digest = self.idle_digest[epoch]
    content: Bytes[CONTENT] = concat(root, convert(n_nodes, bytes8), annotation, manifest)
    digest = sha256(concat(EPOCH_DIGEST, digest, convert(msg.sender, bytes20), content))
    self.standing_digest[epoch] = digest
    self.record[epoch][msg.sender] = sha256(concat(COMMITMENT_RECORD, content))
    log Committed(
        epoch=epoch,
        aggregator=msg.sender,
        root=root,
        n_nodes=n_nodes,
        annotation=annotation,
        manifest=manifest,
        digest=digest,
    )


@external
def void(
    epoch: uint64,
    aggregator: address,
    root: bytes32,
    n_nodes: uint64,
    annotation: bytes24,
    manifest: bytes32,
):
    """
    @notice Takes the effect from a commitment that a verdict is about. Only by Disputes.
    """
    assert msg.sender == disputes, "commitments: sender"
    assert (
        self.record[epoch][aggregator] == self._record(root, n_nodes, annotation, manifest)
    ), "commitments: record"
    self.record[epoch][aggregator] = VOIDED
    digest: bytes32 = sha256(
        concat(VOID_DIGEST, self.standing_digest[epoch], convert(aggregator, bytes20), root)
    )
    if self._standing(epoch) == 0:
        self.standing_digest[epoch] = empty(bytes32)
        self.idle_digest[epoch] = digest
    else:
        self.standing_digest[epoch] = digest
    log Voided(epoch=epoch, aggregator=aggregator, root=root, digest=digest)


@external
def self_commit(
    epoch: uint64,
    node_key: bytes32,
    tree_hash: bytes32,
    annotation: bytes24,
    segment: bytes32,
    deadline: uint64,
    r: uint256,
    vs: uint256,
):
    """
    @notice Commits a node to its own jobs, once an epoch, in the first two thirds of the sealing
            time. Anyone may relay what the node's operator signed.
    @param tree_hash The hash of the root node of the node's job tree.
    @param annotation The root node's annotation.
    @param segment SHA-256 of the published segment of its jobs.
    @param deadline The last second in which the signature is good.
    """
    end: uint256 = self._end(epoch)
    assert block.timestamp >= end, "commitments: early"
    assert (
        block.timestamp < end + convert(sealing_seconds, uint256) * 2 // 3
    ), "commitments: late"
    assert block.timestamp <= convert(deadline, uint256), "commitments: deadline"
    assert not self.self_committed[epoch][node_key], "commitments: committed"
    operator: address = empty(address)
    payee: address = empty(address)
    stake: uint256 = 0
    exit_at: uint64 = 0
    operator, payee, stake, exit_at = staticcall Registry(registry).node(node_key)
    assert operator != empty(address) and exit_at == 0, "commitments: node"
    struct_hash: bytes32 = keccak256(
        abi_encode(
            SELF_COMMIT_TYPEHASH, NETWORK, epoch, node_key, tree_hash, annotation, segment, deadline
        )
    )
    signer: address = eip712._signer(eip712._digest(struct_hash), r, vs)
    assert signer == operator, "commitments: signature"
    self.self_committed[epoch][node_key] = True
    self.self_commitments[epoch] += 1
    standing: bytes32 = self.standing_digest[epoch]
    before: bytes32 = standing
    if standing == empty(bytes32):
        before = self.idle_digest[epoch]
    digest: bytes32 = sha256(concat(SELF_DIGEST, before, node_key, tree_hash, annotation, segment))
    if standing == empty(bytes32):
        self.idle_digest[epoch] = digest
    else:
        self.standing_digest[epoch] = digest
    log SelfCommitted(
        epoch=epoch,
        node_key=node_key,
        tree_hash=tree_hash,
        annotation=annotation,
        segment=segment,
        digest=digest,
    )


@internal
@pure
def _record(root: bytes32, n_nodes: uint64, annotation: bytes24, manifest: bytes32) -> bytes32:
    """
    @notice One word that says all of a commitment, so that a dispute needs no history.
    """
    return sha256(concat(COMMITMENT_RECORD, root, convert(n_nodes, bytes8), annotation, manifest))


@internal
@view
def _end(epoch: uint64) -> uint256:
    """
    @notice The first second after an epoch.
    """
    assert epoch >= FIRST_EPOCH, "commitments: epoch"
    # No sum or product of such small numbers can pass 256 bits.
    number: uint256 = unsafe_add(convert(unsafe_sub(epoch, FIRST_EPOCH), uint256), 1)
    return unsafe_add(GENESIS, unsafe_mul(number, EPOCH_SECONDS))


@internal
@view
def _standing(epoch: uint64) -> uint64:
    n: uint64 = 0
    for aggregator: address in self.listed:
        if convert(self.record[epoch][aggregator], uint256) > convert(REPLACED, uint256):
            n += 1
    return n


# ---------------------------------------------------------------------------------------- views


@external
@view
def epoch_digest(epoch: uint64) -> bytes32:
    """
    @notice The digest over all that was committed and voided for an epoch; zero if nothing was.
    """
    digest: bytes32 = self.standing_digest[epoch]
    if digest == empty(bytes32):
        return self.idle_digest[epoch]
    return digest


@external
@view
def standing(epoch: uint64) -> uint64:
    """
    @notice How many aggregators' commitments of an epoch are not void.
    """
    return self._standing(epoch)


@external
@view
def is_commitment(
    epoch: uint64,
    aggregator: address,
    root: bytes32,
    n_nodes: uint64,
    annotation: bytes24,
    manifest: bytes32,
) -> bool:
    """
    @notice Whether an aggregator's commitment of an epoch says exactly this and is not void.
    """
    return self.record[epoch][aggregator] == self._record(root, n_nodes, annotation, manifest)


@external
@view
def ready_at(epoch: uint64) -> uint64:
    """
    @notice From when on an epoch may be reported: its end and the sealing time.
    """
    return convert(self._end(epoch) + convert(sealing_seconds, uint256), uint64)


@external
@view
def next_epoch(aggregator: address) -> uint64:
    """
    @notice The only epoch that an active aggregator can commit to next.
    """
    turn: uint256 = self.words[aggregator] & U64_MASK
    assert turn != 0, "commitments: aggregator"
    return convert(turn - 1, uint64)


@external
@view
def aggregator(account: address) -> (bool, uint256, uint64, bool):
    """
    @notice Whether an account is an active aggregator, its stake, its exit time (0 = has not left)
            and whether it was slashed.
    """
    word: uint256 = self.words[account]
    return (
        word & U64_MASK != 0,
        (word >> 64) & U96_MASK,
        convert(self._exit_at(word), uint64),
        word & SLASHED != 0,
    )


@external
@view
def aggregators() -> DynArray[address, AGGREGATORS_MAX]:
    """
    @notice The accounts that may be aggregators, active or not.
    """
    return self.listed
