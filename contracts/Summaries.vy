# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Summaries: nodes keep their jobs and commit to a Merkle tree of them
@custom:contract-name Summaries
@license Apache-2.0
@notice The model in which nothing but roots and sums is public. A root is the job tree's that every
        part of Meridian uses: rows of 100 bytes, sorted by job key, with counts and sums in every
        node. A challenged node shows the row under each drawn point, with its path and the row
        behind it. `summary_nodes` and `summary_rounds` hold all the rest.
@dev What an answer proves: behind the root there are rows that the node has kept, each below the
     greatest value, each of a job that ended in the epoch and did not end before it began, in
     ascending order wherever it was looked. It does not prove that a job happened.
"""

import sum_tree
import summary_nodes
import summary_rounds
import trees

initializes: summary_nodes
initializes: summary_rounds[summary_nodes := summary_nodes]

exports: (summary_nodes.__interface__, summary_rounds.__interface__)

MICROSECONDS: constant(uint256) = 10**6


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
    @notice As `summary_nodes` and `summary_rounds`.
    @param windows Seconds to commit, to challenge, to answer, and from leaving to the stake.
    """
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
    shown: DynArray[trees.Gap, summary_rounds.SAMPLES_MAX],
):
    """
    @notice Answers a challenge with all its points at once. Anyone may send it.
    @param shown For each point in turn: the row under it as `left`, and the next row as `right`.
    """
    seed: bytes32 = summary_rounds._begin_answer(epoch, node_key, challenger, summary)
    assert len(shown) == summary_rounds.samples, "summaries: samples"
    index: uint64 = 0
    key: uint256 = 0
    for i: uint256 in range(len(shown), bound=summary_rounds.SAMPLES_MAX):
        gap: trees.Gap = shown[i]
        self._check_tree(summary, gap)
        self._check_point(
            gap, summary.jobs, summary_rounds._point(seed, i, summary.weight)
        )
        self._check_times(gap.left, epoch)
        own: uint256 = trees._key(gap.left, trees.JOBS)
        assert i == 0 or gap.index == index or own > key, "summaries: order"
        index = gap.index
        key = own
    summary_rounds._end_answer(epoch, node_key, challenger)


@internal
@pure
def _check_tree(summary: summary_rounds.Summary, gap: trees.Gap):
    """
    @notice Requires two neighbouring rows, or the last one, to stand in order in the committed tree.
    """
    assert len(gap.left) != 0, "summaries: row"
    if len(gap.right) == 0:
        assert gap.index + 1 == summary.jobs, "summaries: row"
    else:
        assert (
            trees._key(gap.left, trees.JOBS) < trees._key(gap.right, trees.JOBS)
        ), "summaries: order"
    root: bytes32 = empty(bytes32)
    sums: uint256 = 0
    root, sums = trees._gap_root(gap, summary.jobs, trees.JOBS)
    assert (
        root == summary.root
        and sums
        == (convert(summary.jobs, uint256) << 128) | convert(summary.weight, uint256)
    ), "summaries: root"


@internal
@view
def _check_point(gap: trees.Gap, jobs: uint64, point: uint256):
    """
    @notice Requires a point to lie in what the left row adds to the sum of all rows before it.
    """
    sides: uint256 = 0
    length: uint256 = 0
    sides, length = sum_tree._sides(gap.index, jobs)
    before: uint256 = 0
    for node: trees.Node in gap.path:
        if sides & 1 == 1:
            before += (node.annotation >> 64) & trees.SUMS_MASK
        sides >>= 1
    value: uint256 = trees._annotation(gap.left, trees.JOBS) & trees.SUMS_MASK
    assert value <= convert(summary_rounds.value_max, uint256), "summaries: value"
    assert before <= point and point < before + value, "summaries: point"


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
