# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title What proof files ask of the contracts' trees
@custom:contract-name ProofHarness
@license Apache-2.0
@notice Puts the functions with which `CommitmentProofs` and `Disputes` judge rows, places and gaps
        in the order of `meridian.verifier`, and adds no rule but the comparison of keys.
"""

import trees


struct Place:
    row: Bytes[116]
    index: uint64
    size: uint64
    path: DynArray[trees.Node, trees.DEPTH_MAX]


@internal
@pure
def _node(commitment: trees.Commitment, node: Place, key: bytes32):
    root: bytes32 = empty(bytes32)
    sums: uint256 = 0
    root, sums = trees._row_root(node.row, node.index, node.size, node.path, trees.NODES)
    trees._check_root(commitment, root, sums)
    assert trees._node_key(node.row) == key, "harness: node"
    assert trees._row_epoch(node.row) == commitment.epoch, "harness: epoch"


@external
@pure
def node(commitment: trees.Commitment, node: Place, key: bytes32):
    """
    @notice Reverts unless a node has this row.
    """
    self._node(commitment, node, key)


@external
@pure
def job(commitment: trees.Commitment, node: Place, key: bytes32, job: Place, job_key: bytes32):
    """
    @notice Reverts unless a job has this row.
    """
    self._node(commitment, node, key)
    root: bytes32 = empty(bytes32)
    sums: uint256 = 0
    assert job.size == trees._job_count(node.row), "harness: count"
    root, sums = trees._row_root(job.row, job.index, job.size, job.path, trees.JOBS)
    trees._check_job_root(node.row, root, sums)
    assert trees._job_key(job.row) == job_key, "harness: job"


@external
@pure
def absent_job(
    commitment: trees.Commitment, node: Place, key: bytes32, gap: trees.Gap, job_key: bytes32
):
    """
    @notice Reverts unless a node has this row and a job is none of its jobs.
    """
    self._node(commitment, node, key)
    root: bytes32 = empty(bytes32)
    sums: uint256 = 0
    count: uint64 = trees._job_count(node.row)
    root, sums = trees._gap_root(gap, count, trees.JOBS)
    trees._check_job_root(node.row, root, sums)
    assert trees._is_absent(gap, job_key, count, trees.JOBS), "harness: job"


@external
@pure
def absent_node(commitment: trees.Commitment, gap: trees.Gap, key: bytes32):
    """
    @notice Reverts unless a node has no row.
    """
    root: bytes32 = empty(bytes32)
    sums: uint256 = 0
    root, sums = trees._gap_root(gap, commitment.n_nodes, trees.NODES)
    trees._check_root(commitment, root, sums)
    assert trees._is_absent(gap, key, commitment.n_nodes, trees.NODES), "harness: node"
