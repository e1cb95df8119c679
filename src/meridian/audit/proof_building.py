"""Makes proof files from a publication: what `proofs` checks.

Only what the chain anchors is used: the manifest that was committed, and the claims under the accepted reward root.
"""

from meridian.audit.case import Case
from meridian.audit.epoch import MEASURED_STEPS
from meridian.audit.evidence import first_broken, run_steps
from meridian.audit.measured import commitment_of
from meridian.audit.node_account import GoodCopies, find_node
from meridian.audit.proofs import Document, Place, claim_document, job_document, node_document
from meridian.audit.record import OutcomeRecord
from meridian.audit.source import EvidenceSource
from meridian.errors import InvalidInput, MeridianError, NotFound
from meridian.measure.manifest import Manifest, Nodes
from meridian.measure.proof import Leaf, ProofMaker
from meridian.primitives.ids import NodeKey, node_key
from meridian.reward.claims import ClaimsState


def _measured(source: EvidenceSource, epoch: int) -> Case:
    """Return the epoch with its jobs, rebuilt up to the committed root."""
    commitment_of(source, epoch)
    case = Case(GoodCopies(source), epoch)
    broken = first_broken(run_steps(case, MEASURED_STEPS))
    if broken:
        raise MeridianError(
            f"nothing can be proved about epoch {epoch}: {broken.name}: {broken.detail}"
        )
    return case


def job_proof(source: EvidenceSource, epoch: int, node_id: str, job_id: str) -> Document:
    """Return the proof that a job was counted.

    Raises:
        NotFound: If the epoch, the node or the job does not exist.
    """
    case = _measured(source, epoch)
    node_id = case.nodes.ids[find_node(case.nodes.ids, node_id)]
    proof = ProofMaker(case.schema, case.nodes, case.jobs).job(node_id, job_id)
    if proof.job is None or proof.node is None:
        raise NotFound(f"node {node_id!r} has no job {job_id!r} in epoch {epoch}")
    jobs = case.nodes.job_counts[proof.node.index]
    return job_document(
        source.network.name,
        epoch,
        node_id,
        job_id,
        lanes=case.schema.lanes.kind,
        job=_place(proof.job, jobs),
        node=_place(proof.node, len(case.nodes.ids)),
        root=case.committed.root,
    )


def node_proof(source: EvidenceSource, epoch: int, node_id: str) -> Document:
    """Return the proof of a node's row: job count, sums and job-tree root.

    Raises:
        NotFound: If the epoch or the node does not exist.
    """
    case = _measured(source, epoch)
    node_id = case.nodes.ids[find_node(case.nodes.ids, node_id)]
    proof = ProofMaker(case.schema, case.nodes, case.jobs).node(node_id)
    assert proof.node is not None  # the node is one of the epoch's
    return node_document(
        source.network.name,
        epoch,
        node_id,
        lanes=case.schema.lanes.kind,
        node=_place(proof.node, len(case.nodes.ids)),
        root=case.committed.root,
    )


def _place(leaf: Leaf, size: int) -> Place:
    return Place(leaf.row, leaf.index, size, leaf.path)


def claim_proof(source: EvidenceSource, epoch: int, node_id: str) -> Document:
    """Return the proof of what a node had earned in all by the report of an epoch.

    Raises:
        NotFound: If the epoch is not reported, or the node never earned anything by then.
    """
    stored = source.chain.report(epoch)
    if stored is None:
        raise NotFound(f"epoch {epoch} has no accepted report on chain")
    good = GoodCopies(source)
    for pointer in good.outcomes(epoch):
        for copy in good.object(pointer.digest or b""):
            for published in good.object(OutcomeRecord.decode(copy.data).claims):
                state = _claims(published.data)
                if state is not None and (state.reward_root, state.total) == (
                    stored.reward_root,
                    stored.total,
                ):
                    key, node_id = _claiming_node(good, epoch, node_id, state)
                    return claim_document(
                        source.network.name,
                        epoch,
                        node_id,
                        state.proof(key),
                        stored.reward_root,
                        stored.total,
                    )
    raise MeridianError(f"no publication holds the claims under the reward root of epoch {epoch}")


def _claims(data: bytes) -> ClaimsState | None:
    try:
        return ClaimsState.decode(data)
    except InvalidInput:
        return None


def _claiming_node(
    source: EvidenceSource, epoch: int, node_id: str, state: ClaimsState
) -> tuple[NodeKey, str]:
    """Return the node's key and its id as it is written; a claim may be older than the epoch's nodes."""
    key = node_key(node_id)
    if key in state.claims:
        return key, node_id
    known = _epoch_ids(source, epoch)
    written = known[find_node(known, node_id)]
    if node_key(written) not in state.claims:
        raise NotFound(f"node {written!r} has earned nothing by epoch {epoch}")
    return node_key(written), written


def _epoch_ids(source: EvidenceSource, epoch: int) -> tuple[str, ...]:
    for copy in source.object(commitment_of(source, epoch).manifest):
        for published in source.object(Manifest.decode(copy.data).nodes):
            return Nodes.decode(published.data).ids
    return ()
