"""Makes proof files from a publication: what `proofs` checks.

Only what the chain anchors is used: the manifest that was committed, and the claims under the accepted reward root.
"""

import contextlib
from dataclasses import replace

import pyarrow as pa

from meridian.audit.case import Case
from meridian.audit.epoch import MEASURED_STEPS
from meridian.audit.evidence import first_broken, run_steps
from meridian.audit.measured import commitment_of
from meridian.audit.node_account import GoodCopies, find_node
from meridian.audit.objects import fetch
from meridian.audit.proofs import ProvenClaim
from meridian.audit.record import OutcomeRecord
from meridian.audit.source import EvidenceSource
from meridian.errors import InvalidInput, MeridianError, NotFound
from meridian.measure.commitment import load_epoch
from meridian.measure.epoch_log import open_checkpoint, verify_log
from meridian.measure.manifest import Manifest, Nodes
from meridian.measure.proof import (
    AbsentJobProof,
    JobProof,
    NodeProof,
    Proof,
    ProofMaker,
    Subject,
    proof_file,
)
from meridian.measure.signed_note import Verifier
from meridian.measure.union_epoch import FromAggregator
from meridian.primitives import rfc6962
from meridian.primitives.ids import NodeKey, node_key
from meridian.reward.claims import ClaimsState
from meridian.verifier import Name, ProofFile


def _measured(source: EvidenceSource, epoch: int, node_id: str) -> Case:
    """Return the epoch with its jobs, rebuilt up to the committed root.

    A proof is under the root of one commitment: of several, the first that has the node, else the first that counts.
    """
    commitment_of(source, epoch)
    case = Case(GoodCopies(source), epoch)
    broken = first_broken(run_steps(case, MEASURED_STEPS))
    if broken:
        raise MeridianError(
            f"nothing can be proved about epoch {epoch}: {broken.name}: {broken.detail}"
        )
    _choose(case, node_id)
    return case


def _choose(case: Case, node_id: str) -> None:
    """Let nodes, jobs and root be those of one commitment."""
    union = case.union
    assert union is not None, "the link `jobs` holds"
    if len(union.sources) == 1 and isinstance(case.jobs, pa.Table):
        return
    counting = [one for one in union.counting if isinstance(one, FromAggregator)]
    having = [one for one in counting if _has_node(union.nodes_of[one.account], node_id)]
    manifest = (having or counting)[0].manifest
    case.nodes, case.jobs = load_epoch(
        manifest, case.schema, lambda digest: fetch(case.source, digest, "an artefact")
    )
    case.committed = replace(case.committed, aggregator=manifest.aggregator, root=manifest.root)


def _has_node(nodes: Nodes, node_id: str) -> bool:
    with contextlib.suppress(NotFound):
        return find_node(nodes.ids, node_id) >= 0
    return False


def job_proof(source: EvidenceSource, epoch: int, node_id: str, job_id: str) -> ProofFile:
    """Return the proof that a job was counted.

    Raises:
        NotFound: If the epoch, the node or the job does not exist.
    """
    case = _measured(source, epoch, node_id)
    node_id = case.nodes.ids[find_node(case.nodes.ids, node_id)]
    proof = _maker(case).prove(Name.of(node_id), Name.of(job_id))
    if not isinstance(proof, JobProof):
        raise NotFound(f"node {node_id!r} has no job {job_id!r} in epoch {epoch}")
    return _file(case, proof, node_id, job_id)


def node_proof(source: EvidenceSource, epoch: int, node_id: str) -> ProofFile:
    """Return the proof of a node's row: job count, sums and job-tree root.

    Raises:
        NotFound: If the epoch or the node does not exist.
    """
    case = _measured(source, epoch, node_id)
    node_id = case.nodes.ids[find_node(case.nodes.ids, node_id)]
    return _file(case, _maker(case).prove(Name.of(node_id)), node_id)


def absence_proof(
    source: EvidenceSource, epoch: int, node_id: str, job_id: str | None = None
) -> ProofFile:
    """Return the proof that a job, or every job of a node, was not counted in an epoch.

    Where the whole node is absent, that is what is proved, also for a job of it. An address that the epoch has in other
    letters is that node, so that nothing is called absent for its spelling.

    Raises:
        NotFound: If the epoch is not committed.
        MeridianError: If what is asked about was counted.
    """
    case = _measured(source, epoch, node_id)
    with contextlib.suppress(NotFound):
        node_id = case.nodes.ids[find_node(case.nodes.ids, node_id)]
    job = None if job_id is None else Name.of(job_id)
    proof = _maker(case).prove(Name.of(node_id), job)
    if isinstance(proof, NodeProof):
        raise MeridianError(f"node {node_id!r} is not absent: it has jobs in epoch {epoch}")
    if isinstance(proof, JobProof):
        raise MeridianError(
            f"job {job_id!r} of node {node_id!r} is not absent: epoch {epoch} counts it"
        )
    return _file(case, proof, node_id, job_id if isinstance(proof, AbsentJobProof) else None)


def _maker(case: Case) -> ProofMaker:
    return ProofMaker.of_table(case.schema, case.nodes, case.jobs)


def _file(case: Case, proof: Proof, node_id: str, job_id: str | None = None) -> ProofFile:
    subject = Subject(
        epoch=case.epoch,
        root=case.committed.root,
        lanes=case.schema.lanes.kind,
        node=Name.of(node_id),
        job=None if job_id is None else Name.of(job_id),
    )
    return proof_file(case.source.network.name, subject, proof)


def claim_proof(source: EvidenceSource, epoch: int, node_id: str) -> ProvenClaim:
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
                    return ProvenClaim(
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


def log_inclusion_proof(source: EvidenceSource, epoch: int) -> ProofFile:
    """Return the proof that an epoch is in the epoch log as it is signed now.

    Raises:
        NotFound: If it is not.
    """
    index = epoch - source.network.first_epoch
    entries = _signed_entries(source, index + 1)
    leaves = [rfc6962.leaf_hash(entry) for entry in entries]
    fields = {
        "network": source.network.name,
        "epoch": epoch,
        "index": index,
        "size": len(entries),
        "entry": entries[index],
        "path": tuple(rfc6962.inclusion_path(leaves, index)),
        "log_root": rfc6962.root(leaves),
    }
    return ProofFile("log_inclusion", fields)


def log_consistency_proof(source: EvidenceSource, old_epoch: int, epoch: int) -> ProofFile:
    """Return the proof that the log that ends with an epoch extends the one that ends with an older one.

    Raises:
        NotFound: If one of them is not in the signed log, or they stand the other way round.
    """
    old_size, size = (one - source.network.first_epoch + 1 for one in (old_epoch, epoch))
    if not 0 < old_size <= size:
        raise NotFound(f"epochs {old_epoch} and {epoch} are not, in this order, in the epoch log")
    leaves = [rfc6962.leaf_hash(entry) for entry in _signed_entries(source, size)[:size]]
    fields = {
        "network": source.network.name,
        "old_size": old_size,
        "size": size,
        "old_root": rfc6962.root(leaves[:old_size]),
        "path": tuple(rfc6962.consistency_path(leaves, old_size)),
        "log_root": rfc6962.root(leaves),
    }
    return ProofFile("log_consistency", fields)


def _signed_entries(source: EvidenceSource, at_least: int) -> tuple[bytes, ...]:
    """Return the entries of a published log whose checkpoint is signed."""
    signer = Verifier.parse(source.network.log_vkey)
    for log in source.logs():
        with contextlib.suppress(InvalidInput):
            size = open_checkpoint(log.checkpoint, signer).size
            verify_log(log.checkpoint, log.entries[:size], signer)
            if 0 < at_least <= size:
                return tuple(log.entries[:size])
    raise NotFound(f"no signed log with {at_least} entries is published")
