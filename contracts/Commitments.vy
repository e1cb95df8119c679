# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Commitments: what was measured, fixed before anybody evaluates it
@custom:contract-name Commitments
@license Apache-2.0
@notice After an epoch's end each aggregator posts one commitment to all jobs it accepted: a root,
        their number and sums, the number of nodes, and the digest of the published manifest. One
        transaction an epoch, whatever the number of jobs.
@dev Only a running digest over an epoch's commitments is stored; their contents are in the events.
     A report must name the digest, so it can only be about exactly these commitments, in this
     order. Nothing can be replaced or taken back. The Receipt type is signed for this contract.
"""

interface Registry:
    def genesis() -> uint64: view
    def epoch_seconds() -> uint64: view
    def first_epoch() -> uint64: view


event Committed:
    epoch: indexed(uint64)
    aggregator: indexed(address)
    root: bytes32
    n_nodes: uint64
    annotation: bytes24
    manifest: bytes32
    digest: bytes32


AGGREGATORS_MAX: constant(uint256) = 8
EPOCH_DIGEST: constant(bytes1) = 0x14

registry: public(immutable(address))
GENESIS: immutable(uint256)
EPOCH_SECONDS: immutable(uint256)
FIRST_EPOCH: immutable(uint64)

epoch_digest: public(HashMap[uint64, bytes32])
listed: DynArray[address, AGGREGATORS_MAX]
# An aggregator's next epoch + 1; 0 = not an aggregator.
turns: HashMap[address, uint256]


@deploy
def __init__(registry_: address, aggregators_: DynArray[address, AGGREGATORS_MAX]):
    """
    @notice Pins the registry, whose clock is copied, and the aggregators.
    @param registry_ The network's Registry.
    @param aggregators_ The accounts that may commit; each has its own sequence of epochs.
    """
    assert len(aggregators_) != 0, "commitments: aggregators"
    registry = registry_
    GENESIS = convert(staticcall Registry(registry_).genesis(), uint256)
    EPOCH_SECONDS = convert(staticcall Registry(registry_).epoch_seconds(), uint256)
    FIRST_EPOCH = staticcall Registry(registry_).first_epoch()
    for aggregator: address in aggregators_:
        assert aggregator != empty(address), "commitments: aggregators"
        assert self.turns[aggregator] == 0, "commitments: aggregators"
        self.turns[aggregator] = convert(FIRST_EPOCH, uint256) + 1
    self.listed = aggregators_


@external
def commit(epoch: uint64, root: bytes32, n_nodes: uint64, annotation: bytes24, manifest: bytes32):
    """
    @notice Commits the caller to an epoch's jobs, once, after the epoch's end.
    @dev Epochs without jobs are committed too: an aggregator's epochs have no gaps.
    @param epoch The caller's next epoch.
    @param root SHA256(0x12, epoch, n_nodes, L1 root node).
    @param n_nodes The number of nodes in the tree.
    @param annotation The L1 root's annotation: number of jobs u64 and 16 bytes of sums.
    @param manifest SHA-256 of the published manifest.
    """
    turn: uint256 = self.turns[msg.sender]
    assert turn != 0, "commitments: aggregator"
    assert convert(epoch, uint256) + 1 == turn, "commitments: order"
    assert root != empty(bytes32), "commitments: root"
    end: uint256 = GENESIS + convert(epoch - FIRST_EPOCH + 1, uint256) * EPOCH_SECONDS
    assert block.timestamp >= end, "commitments: early"
    digest: bytes32 = sha256(
        concat(
            EPOCH_DIGEST,
            self.epoch_digest[epoch],
            convert(msg.sender, bytes20),
            root,
            convert(n_nodes, bytes8),
            annotation,
            manifest,
        )
    )
    self.epoch_digest[epoch] = digest
    self.turns[msg.sender] = turn + 1
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
@view
def next_epoch(aggregator: address) -> uint64:
    """
    @notice The only epoch that an aggregator can commit to next.
    """
    turn: uint256 = self.turns[aggregator]
    assert turn != 0, "commitments: aggregator"
    return convert(turn - 1, uint64)


@external
@view
def aggregators() -> DynArray[address, AGGREGATORS_MAX]:
    """
    @notice The accounts that may commit.
    """
    return self.listed
