"""Answers to challenges: the row that somebody asks for, with its way to the committed root."""

from meridian.disputes.accusation import Commitment
from meridian.disputes.ways import PathWords, job_row_tree, node_row_tree, path_words
from meridian.errors import InvalidInput
from meridian.measure.commitment import committed_root
from meridian.measure.manifest import NodeRow
from meridian.primitives.hashing import ByteMatrix
from meridian.primitives.sumtree import LaneKind

AnswerWords = tuple[object, int, bytes, PathWords, int, bytes, PathWords]
"""The arguments of ``Disputes.answer``."""


def answer_words(
    commitment: Commitment,
    lanes: LaneKind,
    node_rows: ByteMatrix,
    node_index: int,
    job_rows: ByteMatrix | None = None,
    job_index: int = 0,
) -> AnswerWords:
    """Return the arguments that answer a challenge.

    Args:
        commitment: What was committed.
        lanes: Of the network's schema.
        node_rows: All rows of the epoch's node tree, shape (n, 116).
        node_index: Of the node that is asked for.
        job_rows: That node's job rows, shape (m, 100), if a job is asked for; else None.
        job_index: Of the job.

    Raises:
        InvalidInput: If there is no such row, or the rows do not lead to the committed root: nothing can be answered
            with them.
    """
    nodes = node_row_tree(node_rows, lanes)
    if committed_root(commitment.epoch, nodes.size, nodes.tree.root) != commitment.root:
        raise InvalidInput("node rows", "they do not lead to the committed root")
    if not 0 <= node_index < nodes.size:
        raise InvalidInput("node_index", f"{node_index} of {nodes.size} nodes")
    row, path = nodes.rows[node_index], path_words(nodes.tree.path(node_index))
    if job_rows is None:
        return commitment.words, node_index, row, path, 0, b"", []
    jobs = job_row_tree(job_rows, lanes)
    if jobs.tree.root != NodeRow.decode(row).job_root:
        raise InvalidInput("job rows", "they do not lead to the node's row")
    if not 0 <= job_index < jobs.size:
        raise InvalidInput("job_index", f"{job_index} of {jobs.size} jobs")
    job_path = path_words(jobs.tree.path(job_index))
    return commitment.words, node_index, row, path, job_index, jobs.rows[job_index], job_path
