# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title KzgProofs: one job of a node's KZG commitment
@custom:contract-name KzgProofs
@license Apache-2.0
@notice Says whether a commitment (root, number of jobs, total) holds a job's row at a place, with a
        value, in a chunk whose values add up to what the chunk says. The on-chain twin of
        `meridian.models.kzg.verify_job`. Costs three point evaluations and a path of one node for
        each doubling of the number of chunks.
@dev Without state, so one deployment serves all networks of a chain. It refuses to be deployed
     where the precompile is missing.
"""

import kzg
import sum_tree


# What is committed of up to 4,096 jobs.
struct Chunk:
    names: Bytes[48]
    values: Bytes[48]
    jobs: uint64
    total: uint128

struct Opening:
    chunk: Chunk
    path: DynArray[sum_tree.Node, sum_tree.DEPTH_MAX]
    name_proof: Bytes[48]
    value_proof: Bytes[48]
    total_proof: Bytes[48]


SLOTS: constant(uint64) = 4096
# 1 / 4096 in the field: the mean of a polynomial's values is its value at 0.
SLOT_SHARE: constant(uint256) = 52423073447788513186850219087163459498374710080483563692275874603576291491841
KZG_NODE: constant(bytes1) = 0x3A
KZG_CHUNK: constant(bytes1) = 0x3B
KZG_JOB: constant(bytes1) = 0x3C
# The point at infinity: the commitment to nothing, which has the value 0 everywhere.
INFINITY: constant(Bytes[48]) = x"c00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"


@deploy
def __init__():
    """
    @notice Opens the commitment to nothing, to see whether this chain can.
    """
    assert kzg._opens(INFINITY, 1, 0, INFINITY), "kzg proofs: precompile"


@external
@view
def check_job(
    root: bytes32,
    jobs: uint64,
    total: uint128,
    index: uint64,
    row: Bytes[116],
    job_value: uint64,
    opening: Opening,
):
    """
    @notice Reverts unless the commitment holds the job there.
    @param index The job's place.
    @param row The job's row.
    @param job_value The job's value.
    @param opening What the node answers.
    """
    assert index < jobs, "kzg proofs: index"
    at: uint64 = index // SLOTS
    chunk: Chunk = opening.chunk
    assert chunk.jobs == min(SLOTS, jobs - at * SLOTS), "kzg proofs: path"
    assert len(chunk.names) == 48 and len(chunk.values) == 48, "kzg proofs: path"
    node: bytes32 = empty(bytes32)
    sums: uint256 = 0
    node, sums = sum_tree._fold(
        KZG_NODE,
        sha256(concat(KZG_CHUNK, chunk.names, chunk.values)),
        (convert(chunk.jobs, uint256) << 128) | convert(chunk.total, uint256),
        at,
        (jobs + SLOTS - 1) // SLOTS,
        opening.path,
    )
    assert (
        node == root and sums == (convert(jobs, uint256) << 128) | convert(total, uint256)
    ), "kzg proofs: root"
    z: uint256 = kzg._domain_point(convert(index % SLOTS, uint256))
    name: uint256 = convert(sha256(concat(KZG_JOB, row)), uint256) >> 8
    assert kzg._opens(chunk.names, z, name, opening.name_proof), "kzg proofs: name"
    assert kzg._opens(
        chunk.values, z, convert(job_value, uint256), opening.value_proof
    ), "kzg proofs: value"
    mean: uint256 = uint256_mulmod(convert(chunk.total, uint256), SLOT_SHARE, kzg.MODULUS)
    assert kzg._opens(chunk.values, 0, mean, opening.total_proof), "kzg proofs: total"
