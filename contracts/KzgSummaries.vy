# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title KzgSummaries: nodes keep their jobs and commit to KZG columns of them
@custom:contract-name KzgSummaries
@license Apache-2.0
@notice `Summaries` with another commitment. A node's jobs are cut into chunks of 4,096; a chunk is
        two columns: a hash of each row, and what all its jobs up to this one weigh. Chunks are the
        leaves of a sum tree, whose root the node commits to. The on-chain twin of
        `meridian.models.summary_kzg`.
@dev An answer costs up to four point evaluations (EIP-4844) for each point. The contract refuses to
     be deployed where that precompile is missing. Weaker than the tree: the order of rows is not
     seen across the border of two chunks.
"""

import kzg
import sum_tree
import summary_nodes
import summary_rounds
import trees

initializes: summary_nodes
initializes: summary_rounds[summary_nodes := summary_nodes]

exports: (summary_nodes.__interface__, summary_rounds.__interface__)


struct Chunk:
    names: Bytes[48]
    sums: Bytes[48]
    weight: uint128

# The row that owns a point. `behind` is the next row of the chunk, and empty for its last one;
# `before` is what the rows of the chunk before it weigh.
struct Shown:
    index: uint64
    row: Bytes[116]
    behind: Bytes[116]
    before: uint128
    chunk: Chunk
    path: DynArray[sum_tree.Node, PATH_MAX]
    name_proof: Bytes[48]
    behind_proof: Bytes[48]
    sum_proof: Bytes[48]
    before_proof: Bytes[48]


SLOTS: constant(uint64) = 4096
# 2**32 jobs are 2**20 chunks.
PATH_MAX: constant(uint256) = 20
MICROSECONDS: constant(uint256) = 10**6
KZG_NODE: constant(bytes1) = 0x3A
KZG_CHUNK: constant(bytes1) = 0x3B
KZG_JOB: constant(bytes1) = 0x3C
# The point at infinity: the commitment to nothing, which has the value 0 everywhere.
INFINITY: constant(Bytes[48]) = x"c00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"


@deploy
def __init__(
    network_: bytes32,
    genesis_: uint64,
    epoch_seconds_: uint64,
    first_epoch_: uint64,
    windows: uint64[4],
    stake_min_: uint256,
    bond_: uint256,
    samples_: uint256,
    value_max_: uint64,
):
    """
    @notice As `Summaries`; opens the commitment to nothing first, to see whether this chain can.
    """
    assert kzg._opens(INFINITY, 0, 0, INFINITY), "summaries: precompile"
    summary_nodes.__init__(network_, windows[3], stake_min_)
    summary_rounds.__init__(
        genesis_,
        epoch_seconds_,
        first_epoch_,
        [windows[0], windows[1], windows[2]],
        bond_,
        samples_,
        value_max_,
    )


@external
def answer(
    epoch: uint64,
    node_key: bytes32,
    challenger: address,
    summary: summary_rounds.Summary,
    shown: DynArray[Shown, summary_rounds.SAMPLES_MAX],
):
    """
    @notice Answers a challenge with all its points at once. Anyone may send it.
    @param shown For each point in turn: the row under it.
    """
    seed: bytes32 = summary_rounds._begin_answer(epoch, node_key, challenger, summary)
    assert len(shown) == summary_rounds.samples, "summaries: samples"
    index: uint64 = 0
    key: uint256 = 0
    for i: uint256 in range(len(shown), bound=summary_rounds.SAMPLES_MAX):
        one: Shown = shown[i]
        start: uint256 = self._chunk_start(summary, one) + convert(one.before, uint256)
        point: uint256 = summary_rounds._point(seed, i, summary.weight)
        value: uint256 = trees._annotation(one.row, trees.JOBS) & trees.SUMS_MASK
        assert value <= convert(summary_rounds.value_max, uint256), "summaries: value"
        assert start <= point and point < start + value, "summaries: point"
        self._check_times(one.row, epoch)
        self._check_columns(one, self._jobs_in(summary, one.index), value)
        own: uint256 = trees._key(one.row, trees.JOBS)
        assert i == 0 or one.index == index or own > key, "summaries: order"
        index = one.index
        key = own
    summary_rounds._end_answer(epoch, node_key, challenger)


@internal
@pure
def _jobs_in(summary: summary_rounds.Summary, index: uint64) -> uint64:
    """
    @notice How many jobs the chunk of a job has.
    """
    return min(SLOTS, summary.jobs - (index // SLOTS) * SLOTS)


@internal
@pure
def _chunk_start(summary: summary_rounds.Summary, one: Shown) -> uint256:
    """
    @notice Requires a chunk to hang below the summary.
    @return What all chunks before it weigh.
    """
    assert one.index < summary.jobs and len(one.row) != 0, "summaries: row"
    at: uint64 = one.index // SLOTS
    chunks: uint64 = (summary.jobs + SLOTS - 1) // SLOTS
    assert len(one.chunk.names) == 48 and len(one.chunk.sums) == 48, "summaries: root"
    # The library takes paths of any depth.
    path: DynArray[sum_tree.Node, sum_tree.DEPTH_MAX] = []
    before: uint256 = 0
    sides: uint256 = 0
    length: uint256 = 0
    sides, length = sum_tree._sides(at, chunks)
    for node: sum_tree.Node in one.path:
        path.append(node)
        if sides & 1 == 1:
            before += (node.annotation >> 64) & trees.SUMS_MASK
        sides >>= 1
    root: bytes32 = empty(bytes32)
    sums: uint256 = 0
    root, sums = sum_tree._fold(
        KZG_NODE,
        sha256(concat(KZG_CHUNK, one.chunk.names, one.chunk.sums)),
        (convert(self._jobs_in(summary, one.index), uint256) << 128)
        | convert(one.chunk.weight, uint256),
        at,
        chunks,
        path,
    )
    assert (
        root == summary.root
        and sums
        == (convert(summary.jobs, uint256) << 128) | convert(summary.weight, uint256)
    ), "summaries: root"
    return before


@internal
@view
def _check_columns(one: Shown, jobs: uint64, weighs: uint256):
    """
    @notice Requires the chunk's columns to hold the row, its sum, the sum before it, and the row behind.
    """
    slot: uint64 = one.index % SLOTS
    before: uint256 = convert(one.before, uint256)
    assert kzg._opens(
        one.chunk.names, slot, self._name(one.row), one.name_proof
    ), "summaries: name"
    assert kzg._opens(one.chunk.sums, slot, before + weighs, one.sum_proof), "summaries: sum"
    if slot == 0:
        assert before == 0, "summaries: before"
    else:
        assert kzg._opens(one.chunk.sums, slot - 1, before, one.before_proof), "summaries: before"
    if slot + 1 == jobs:
        assert len(one.behind) == 0, "summaries: row"
    else:
        assert len(one.behind) != 0, "summaries: row"
        assert (
            trees._key(one.row, trees.JOBS) < trees._key(one.behind, trees.JOBS)
        ), "summaries: order"
        assert kzg._opens(
            one.chunk.names, slot + 1, self._name(one.behind), one.behind_proof
        ), "summaries: behind"


@internal
@pure
def _name(row: Bytes[116]) -> uint256:
    """
    @notice The field element that names a row.
    """
    return convert(sha256(concat(KZG_JOB, row)), uint256) >> 8


@internal
@view
def _check_times(row: Bytes[116], epoch: uint64):
    """
    @notice Requires a job to end in the epoch, and not before it began.
    """
    ended_us: uint256 = trees._ended_us(row)
    assert convert(extract32(row, 36), uint256) >> 192 <= ended_us, "summaries: times"
    start_us: uint256 = summary_rounds._start(epoch) * MICROSECONDS
    length_us: uint256 = convert(summary_rounds.epoch_seconds, uint256) * MICROSECONDS
    assert start_us <= ended_us and ended_us < start_us + length_us, "summaries: times"
