# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title CommitmentProofs: what arithmetic can say against an aggregator
@custom:contract-name CommitmentProofs
@license Apache-2.0
@notice Each function proves one fault of a commitment, or of receipts, from the bytes that the
        aggregator committed or signed, and tells Disputes who is guilty. Anyone may call; the
        caller is the winner. Nothing is asked of anybody: a proof holds or the call reverts.
@dev Holds no money and no state. Law: no function can succeed against an aggregator that kept its
     rules, whatever jobs it was sent, however late or often. So running counts and places in a
     tree, which a repeated or late job changes, prove nothing here.
"""

import eip712
import statements
import sum_tree
import trees

interface Disputes:
    def registry() -> address: view
    def commitments() -> address: view
    def convict_aggregator(
        kind: uint8, commitment: trees.Commitment, winner: address, harmed: address
    ): nonpayable
    def convict_signer(kind: uint8, aggregator: address, winner: address): nonpayable

interface Registry:
    def network() -> bytes32: view
    def genesis() -> uint64: view
    def epoch_seconds() -> uint64: view
    def first_epoch() -> uint64: view
    def node(node_key: bytes32) -> (address, address, uint256, uint64): view

interface Commitments:
    def is_commitment(
        epoch: uint64,
        aggregator: address,
        root: bytes32,
        n_nodes: uint64,
        annotation: bytes24,
        manifest: bytes32,
    ) -> bool: view


struct Receipt:
    deadline_epoch: uint64
    aggregator: address
    sequence: uint64
    batch_root: bytes32
    received_at_us: uint64

# A job row of a receipt: its way in its node's part of the batch, and the part's in the batch.
struct Promise:
    receipt: Receipt
    signature: eip712.Sig
    node_key: bytes32
    job: trees.Spot
    part_sides: uint256
    part_path: DynArray[trees.Node, trees.DEPTH_MAX]

# That an epoch does not hold a job: the node has no row, or the node's row alone and then no job.
struct Absence:
    commitment: trees.Commitment
    node: trees.Gap
    job: trees.Gap


BAD_SUM: constant(uint8) = 1
OMISSION: constant(uint8) = 2
DISORDER: constant(uint8) = 3
EQUIVOCATION: constant(uint8) = 5

PAIR: constant(uint256) = 112
EPOCHS_MAX: constant(uint256) = 3
MICROSECONDS: constant(uint256) = 10**6
BATCH_LEAF: constant(bytes1) = 0x0c
BATCH_NODE: constant(bytes1) = 0x0d
RECEIPT_TYPEHASH: constant(bytes32) = keccak256(
    "Receipt(bytes32 network,uint64 deadlineEpoch,address aggregator,uint64 sequence,bytes32 batchRoot,uint64 receivedAtUs)"
)

disputes: public(immutable(address))
REGISTRY: immutable(address)
COMMITMENTS: immutable(address)
NETWORK: immutable(bytes32)
GENESIS_US: immutable(uint256)
EPOCH_US: immutable(uint256)
FIRST_EPOCH: immutable(uint256)


@deploy
def __init__(disputes_: address):
    """
    @notice Pins Disputes and what it says of the network.
    """
    disputes = disputes_
    REGISTRY = staticcall Disputes(disputes_).registry()
    COMMITMENTS = staticcall Disputes(disputes_).commitments()
    NETWORK = staticcall Registry(REGISTRY).network()
    GENESIS_US = convert(staticcall Registry(REGISTRY).genesis(), uint256) * MICROSECONDS
    EPOCH_US = convert(staticcall Registry(REGISTRY).epoch_seconds(), uint256) * MICROSECONDS
    FIRST_EPOCH = convert(staticcall Registry(REGISTRY).first_epoch(), uint256)


# ----------------------------------------------------------------------------------------- sums


@external
def bad_sum(
    commitment: trees.Commitment,
    content: Bytes[116],
    claimed: uint256,
    sides: uint256,
    path: DynArray[trees.Node, trees.DEPTH_MAX],
    node: trees.Spot,
):
    """
    @notice Proves that a node of a tree does not have the annotation that its content gives.
    @param commitment A standing commitment.
    @param content Two child nodes (112 bytes), or the row of a leaf: a job (100) or a node (116).
    @param claimed The annotation that stands beside the content's hash: in its parent, in the node
           row above, or in the committed root.
    @param sides On which sides the path's nodes stand.
    @param path From the content's node to the root of its tree.
    @param node For the tree of a node's jobs: the node's row; without a row: the tree of nodes.
    """
    tree: uint256 = trees.JOBS if len(node.row) != 0 else trees.NODES
    node_hash: bytes32 = empty(bytes32)
    if len(content) == PAIR:
        left: uint256 = convert(extract32(content, 24), uint256) & trees.ANNOTATION_MASK
        right: uint256 = convert(extract32(content, 80), uint256) & trees.ANNOTATION_MASK
        assert not trees._adds_up(left, right, claimed), "proofs: right"
        node_hash = sha256(concat(trees._tag(tree), content))
    else:
        node_hash = trees._leaf(content, tree)
        wrong: bool = trees._annotation(content, tree) != claimed
        if tree == trees.NODES:
            wrong = wrong or trees._row_epoch(content) != commitment.epoch
        assert wrong, "proofs: right"
    root: bytes32 = empty(bytes32)
    sums: uint256 = 0
    root, sums = trees._climb(
        trees._tag(tree), node_hash, claimed, sides, path
    )
    if tree == trees.JOBS:
        trees._check_job_root(node.row, root, sums)
        trees._check_node(commitment, node)
    else:
        assert node.sides == 0 and len(node.path) == 0, "proofs: node"
        trees._check_root(commitment, root, sums)
    self._check_standing(commitment)
    extcall Disputes(disputes).convict_aggregator(
        BAD_SUM, commitment, msg.sender, empty(address)
    )


# ---------------------------------------------------------------------------------------- order


@external
def disorder(commitment: trees.Commitment, gap: trees.Gap, node: trees.Spot):
    """
    @notice Proves that two neighbouring leaves are not in ascending order of their keys.
    @param commitment A standing commitment.
    @param gap The two rows.
    @param node For two jobs: the row of their node; without a row: the two are nodes.
    """
    tree: uint256 = trees.JOBS if len(node.row) != 0 else trees.NODES
    assert len(gap.left) != 0 and len(gap.right) != 0, "proofs: neighbours"
    root: bytes32 = empty(bytes32)
    sums: uint256 = 0
    if tree == trees.JOBS:
        trees._check_node(commitment, node)
        root, sums = trees._gap_root(gap, trees._job_count(node.row), trees.JOBS)
        trees._check_job_root(node.row, root, sums)
    else:
        assert node.sides == 0 and len(node.path) == 0, "proofs: node"
        root, sums = trees._gap_root(gap, commitment.n_nodes, trees.NODES)
        trees._check_root(commitment, root, sums)
    assert trees._key(gap.left, tree) >= trees._key(gap.right, tree), "proofs: right"
    self._check_standing(commitment)
    extcall Disputes(disputes).convict_aggregator(
        DISORDER, commitment, msg.sender, empty(address)
    )


@external
def duplicate(
    first: trees.Commitment,
    first_node: trees.Spot,
    first_job: trees.Spot,
    second: trees.Commitment,
    second_node: trees.Spot,
    second_job: trees.Spot,
):
    """
    @notice Proves that an aggregator counted one job in two epochs: same node, same job id, ended
            in the same epoch. The second commitment is void.
    @dev A node may use an id again when its aggregator has forgotten it; such a job ended in
         another epoch, because what is forgotten is too late to come again.
    """
    assert first.aggregator == second.aggregator, "proofs: aggregator"
    assert first.epoch < second.epoch, "proofs: epochs"
    self._check_job(first, first_node, first_job)
    self._check_job(second, second_node, second_job)
    assert (
        trees._node_key(first_node.row) == trees._node_key(second_node.row)
        and trees._job_key(first_job.row) == trees._job_key(second_job.row)
        and self._epoch_of(first_job.row) == self._epoch_of(second_job.row)
    ), "proofs: right"
    self._check_standing(first)
    self._check_standing(second)
    extcall Disputes(disputes).convict_aggregator(DISORDER, second, msg.sender, empty(address))


@internal
@pure
def _check_job(commitment: trees.Commitment, node: trees.Spot, job: trees.Spot):
    """
    @notice Requires a job row to hang under a node row, and that under a commitment's root.
    """
    root: bytes32 = empty(bytes32)
    sums: uint256 = 0
    root, sums = trees._climb(
        trees.JOB_NODE,
        trees._leaf(job.row, trees.JOBS),
        trees._annotation(job.row, trees.JOBS),
        job.sides,
        job.path,
    )
    trees._check_job_root(node.row, root, sums)
    trees._check_node(commitment, node)


# ------------------------------------------------------------------------------------- receipts


@external
def omission(promise: Promise, absences: DynArray[Absence, EPOCHS_MAX]):
    """
    @notice Proves that a job of a receipt stands, with exactly the promised row, in none of its
            aggregator's epochs from the job's own to the deadline. The deadline's commitment is
            void; the node's payee gets half of what the winner would.
    @param promise The receipt, its signature and the row's way to it.
    @param absences One for each of these epochs, in order.
    """
    receipt: Receipt = promise.receipt
    aggregator: address = receipt.aggregator
    assert (
        aggregator != empty(address)
        and self._receipt_signer(receipt, promise.signature) == aggregator
    ), "proofs: signature"
    node_key: bytes32 = promise.node_key
    node: bytes32 = empty(bytes32)
    sums: uint256 = 0
    node, sums = trees._climb(
        trees.JOB_NODE,
        trees._leaf(promise.job.row, trees.JOBS),
        trees._annotation(promise.job.row, trees.JOBS),
        promise.job.sides,
        promise.job.path,
    )
    leaf: bytes32 = sha256(concat(BATCH_LEAF, node_key, node, sum_tree._bytes(sums)))
    node, sums = trees._climb(BATCH_NODE, leaf, sums, promise.part_sides, promise.part_path)
    assert node == receipt.batch_root, "proofs: batch"
    row: Bytes[116] = promise.job.row
    epoch: uint256 = self._epoch_of(row)
    assert epoch + len(absences) == convert(receipt.deadline_epoch, uint256) + 1, "proofs: epochs"
    assert len(absences) != 0, "proofs: epochs"
    for i: uint256 in range(len(absences), bound=EPOCHS_MAX):
        assert (
            convert(absences[i].commitment.epoch, uint256) == epoch + i
            and absences[i].commitment.aggregator == aggregator
        ), "proofs: epochs"
        self._check_absence(absences[i], node_key, row)
        self._check_standing(absences[i].commitment)
    last: trees.Commitment = absences[len(absences) - 1].commitment
    payee: address = (staticcall Registry(REGISTRY).node(node_key))[1]
    extcall Disputes(disputes).convict_aggregator(OMISSION, last, msg.sender, payee)


@external
def double_receipt(first: Receipt, first_signature: eip712.Sig, second: Receipt, second_signature: eip712.Sig):
    """
    @notice Proves that an aggregator numbered two receipts alike.
    """
    assert (
        first.aggregator != empty(address)
        and first.aggregator == second.aggregator
        and first.sequence == second.sequence
    ), "proofs: receipts"
    assert (
        first.batch_root != second.batch_root
        or first.deadline_epoch != second.deadline_epoch
        or first.received_at_us != second.received_at_us
    ), "proofs: right"
    assert (
        self._receipt_signer(first, first_signature) == first.aggregator
        and self._receipt_signer(second, second_signature) == first.aggregator
    ), "proofs: signature"
    extcall Disputes(disputes).convict_signer(EQUIVOCATION, first.aggregator, msg.sender)


@internal
@view
def _receipt_signer(receipt: Receipt, signature: eip712.Sig) -> address:
    struct_hash: bytes32 = keccak256(abi_encode(RECEIPT_TYPEHASH, NETWORK, receipt))
    digest: bytes32 = statements._digest_for(COMMITMENTS, struct_hash)
    return eip712._signer(digest, signature.r, signature.vs)


@internal
@pure
def _check_absence(absence: Absence, node_key: bytes32, row: Bytes[116]):
    """
    @notice Requires a commitment to hold no job of the node with exactly this row.
    """
    node: bytes32 = empty(bytes32)
    sums: uint256 = 0
    n_nodes: uint64 = absence.commitment.n_nodes
    node, sums = trees._gap_root(absence.node, n_nodes, trees.NODES)
    trees._check_root(absence.commitment, node, sums)
    if trees._is_absent(absence.node, node_key, n_nodes, trees.NODES):
        assert (
            len(absence.job.left) == 0
            and len(absence.job.right) == 0
            and absence.job.index == 0
            and len(absence.job.path) == 0
            and len(absence.job.lower) == 0
        ), "proofs: job"
        return
    count: uint64 = trees._job_count(absence.node.left)
    node, sums = trees._gap_root(absence.job, count, trees.JOBS)
    trees._check_job_root(absence.node.left, node, sums)
    if not trees._is_absent(absence.job, trees._job_key(row), count, trees.JOBS):
        assert keccak256(absence.job.left) != keccak256(row), "proofs: right"


# ---------------------------------------------------------------------------------------- chain


@internal
@view
def _check_standing(c: trees.Commitment):
    assert staticcall Commitments(COMMITMENTS).is_commitment(
        c.epoch, c.aggregator, c.root, c.n_nodes, c.annotation, c.manifest
    ), "proofs: commitment"


@internal
@view
def _epoch_of(row: Bytes[116]) -> uint256:
    """
    @notice The epoch in which a job ended.
    """
    ended_us: uint256 = trees._ended_us(row)
    assert ended_us >= GENESIS_US, "proofs: time"
    return FIRST_EPOCH + (ended_us - GENESIS_US) // EPOCH_US
