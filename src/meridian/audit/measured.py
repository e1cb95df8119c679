"""Links `commitment` to `epoch-log`: from the chain's commitment to every job and every hash above it.

The nodes artefact belongs to `jobs`, the schema to `manifest`.
"""

from meridian.audit.case import Case
from meridian.audit.evidence import Broken, Finding, require
from meridian.audit.objects import fetch, pointed
from meridian.audit.source import EvidenceSource, standing_commitments
from meridian.contracts.events import Committed, SelfCommitted, Voided
from meridian.errors import InvalidInput, NotFound
from meridian.measure.columns import read_segment
from meridian.measure.commitment import join_segments, load_nodes, verify_epoch
from meridian.measure.epoch import Calendar
from meridian.measure.epoch_digest import NO_DIGEST, fold_commitment, fold_self, fold_void
from meridian.measure.epoch_log import EpochRecord, open_checkpoint, verify_log
from meridian.measure.manifest import Manifest, Nodes
from meridian.measure.schema import NetworkSchema
from meridian.measure.signed_note import Verifier
from meridian.primitives import rfc6962
from meridian.primitives.cid import cid_text, digest_of
from meridian.primitives.ids import Address, NodeKey, address_text
from meridian.primitives.sumtree import annotation


def commitment_of(source: EvidenceSource, epoch: int) -> Committed:
    """Return the one commitment of an epoch.

    Raises:
        NotFound: If there is none: nothing can be looked at.
    """
    events = standing_commitments(source.chain.history(epoch))
    if not events:
        raise NotFound(f"no commitment of epoch {epoch} stands on chain")
    return events[-1]


def check_commitment(case: Case) -> Finding:
    """Check that one commitment of the epoch stands, and that the chain's digest is over exactly what happened.

    Raises:
        Broken: If it is not.
    """
    chain, epoch = case.source.chain, case.epoch
    history = chain.history(epoch)
    events = standing_commitments(history)
    if not history:
        raise Broken(f"the chain has no commitment of epoch {epoch}")
    if not events:
        raise Broken(f"every commitment of epoch {epoch} was voided, and none has replaced it")
    if len(events) > 1:
        raise Broken(
            f"the chain has {len(events)} commitments of epoch {epoch}; this version verifies one"
        )
    digest = NO_DIGEST
    for change in history:
        digest = folded(digest, change)
        if change.digest != digest:
            raise Broken(
                f"an event says digest {change.digest.hex()}, what follows is {digest.hex()}"
            )
    stored = chain.epoch_digest(epoch)
    if stored != digest:
        raise Broken(f"the events give digest {digest.hex()}, the contract stores {stored.hex()}")
    event = events[0]
    if event.aggregator not in chain.deployment().aggregators:
        raise Broken(
            f"it was made by {address_text(event.aggregator)}, who is not an aggregator of the network"
        )
    case.committed = event
    notes = tuple(
        f"the commitment of {address_text(one.aggregator)} with root {one.root.hex()} was voided"
        for one in history
        if isinstance(one, Voided)
    )
    return Finding(
        f"root {event.root.hex()} over {event.n_nodes} nodes and "
        f"{int.from_bytes(event.annotation[:8], 'big')} jobs, by {address_text(event.aggregator)}",
        notes,
    )


def folded(before: bytes, change: Committed | Voided | SelfCommitted) -> bytes:
    """Return the contract's running digest over an epoch after one more change."""
    match change:
        case Committed():
            return epoch_digest(before, change)
        case Voided():
            return fold_void(before, change.aggregator, change.root)
        case SelfCommitted():
            return fold_self(
                before,
                NodeKey(change.node_key),
                change.tree_hash,
                change.annotation,
                change.segment,
            )


def epoch_digest(before: bytes, event: Committed) -> bytes:
    """Return the contract's running digest over an epoch's commitments after one more."""
    return fold_commitment(
        before, event.aggregator, event.root, event.n_nodes, event.annotation, event.manifest
    )


def check_manifest(case: Case) -> Finding:
    """Check that the published manifest is the committed one, says the same, and has its schema.

    Raises:
        Broken: If an index file names another manifest, a copy is another, or a field differs.
    """
    committed, network = case.committed, case.source.network
    notes = _published_only(case)
    manifest = Manifest.decode(fetch(case.source, committed.manifest, "the manifest"))
    said = {
        "network": (manifest.network, network.name),
        "network_id": (manifest.network_id, network.network_id),
        "epoch": (manifest.epoch, case.epoch),
        "aggregator": (manifest.aggregator, committed.aggregator),
        "root": (manifest.root, committed.root),
        "n_nodes": (manifest.n_nodes, committed.n_nodes),
        "annotation": (manifest.annotation, committed.annotation),
        "schema": (manifest.schema, network.schema_digest),
    }
    require(
        [name for name, (one, other) in said.items() if one != other],
        "the manifest says something else",
    )
    require(_untrue_facts(case, manifest), "an index file says something else than the manifest")
    schema = NetworkSchema.decode(fetch(case.source, manifest.schema, "the schema"))
    case.manifest, case.schema = manifest, schema
    return Finding(
        f"{len(manifest.segments)} segments with {manifest.jobs} jobs ({manifest.late} late, "
        f"{manifest.duplicates} duplicates left out), {len(manifest.inputs)} inputs, schema {schema.name!r}",
        notes,
    )


def _published_only(case: Case) -> tuple[str, ...]:
    """Return notes of manifests that aggregators publish who have not committed to the epoch.

    Whoever measures may publish; only what is on chain counts. Nothing else than the committed manifest may be shown
    in the name of who committed it.

    Raises:
        Broken: If no index file names the committed manifest, or any names one that is not such another's.
    """
    wanted = case.committed.manifest
    pointers = pointed(case.source.manifests(case.epoch), "a manifest")
    others = {file: digest for file, digest in pointers if digest != wanted}
    makers = {file: _other_maker(case, digest) for file, digest in others.items()}
    if len(others) == len(pointers) or None in makers.values():
        named = [f"{file} names {cid_text(digest)}" for file, digest in others.items()]
        raise Broken(f"the chain names manifest {cid_text(wanted)}", named)
    return tuple(
        f"{file}: published by {address_text(maker)}, but not committed"
        for file, maker in makers.items()
        if maker is not None
    )


def _other_maker(case: Case, digest: bytes) -> Address | None:
    """Return which other aggregator made a published manifest of the epoch; None if it is no such manifest."""
    good = [copy.data for copy in case.source.object(digest) if digest_of(copy.data) == digest]
    try:
        manifest = Manifest.decode(good[0]) if good else None
    except InvalidInput:
        return None
    if manifest is None or manifest.aggregator == case.committed.aggregator:
        return None
    same = (manifest.network_id, manifest.epoch) == (case.source.network.network_id, case.epoch)
    return manifest.aggregator if same else None


def _untrue_facts(case: Case, manifest: Manifest) -> list[str]:
    """Return what index files repeat of the manifest, and repeat wrongly."""
    true = {
        "root": manifest.root.hex(),
        "annotation": manifest.annotation.hex(),
        "n_nodes": manifest.n_nodes,
        "jobs": manifest.jobs,
        "late": manifest.late,
        "duplicates": manifest.duplicates,
    }
    return [
        f"{pointer.file}: {name} is {pointer.facts[name]}, not {value}"
        for pointer in case.source.manifests(case.epoch)
        if pointer.digest == manifest.digest
        for name, value in true.items()
        if name in pointer.facts and pointer.facts[name] != value
    ]


def check_segments(case: Case) -> Finding:
    """Check every copy of every segment: bytes, length, columns, types, ranges, number of rows.

    Raises:
        Broken: Naming segment and file.
    """
    tables, size = [], 0
    for number, segment in enumerate(case.manifest.segments, 1):
        what = f"segment {number} of {len(case.manifest.segments)}"
        data = fetch(case.source, segment.digest, what)
        try:
            table = read_segment(data, case.schema)
        except InvalidInput as error:
            raise Broken(f"{what} cannot be read", [str(error)]) from error
        if (table.num_rows, len(data)) != (segment.rows, segment.bytes):
            raise Broken(
                f"{what} has {table.num_rows} rows in {len(data)} bytes, not {segment.rows} in {segment.bytes}",
                [cid_text(segment.digest)],
            )
        tables.append(table)
        size += len(data)
    case.segments = tuple(tables)
    return Finding(
        f"{len(tables)} segments, {size} bytes, {case.manifest.jobs} rows",
        tuple(
            f"{cid_text(segment.digest)}: {segment.rows} rows" for segment in case.manifest.segments
        ),
    )


def check_jobs(case: Case) -> Finding:
    """Rebuild every row, tree and sum from the jobs, up to the committed root.

    Raises:
        Broken: Naming each layer, node or job that differs.
    """
    data = fetch(case.source, case.manifest.nodes, "the nodes object")
    nodes = load_nodes(case.manifest, lambda _: data)
    jobs = join_segments(case.schema, case.segments, nodes)
    network = case.source.network
    calendar = Calendar(network.genesis_s, network.epoch_seconds, network.first_epoch)
    found = verify_epoch(case.manifest, case.schema, nodes, jobs, calendar)
    require([str(problem) for problem in found], "the jobs do not give what was committed")
    problems, notes = _payees(case, nodes)
    require(problems, "committed payees are not those that the nodes registered")
    case.nodes, case.jobs = nodes, jobs
    keys = nodes.keys
    case.names = dict(zip(keys, nodes.ids, strict=True))
    case.payees = dict(zip(keys, nodes.payees, strict=True))
    count, sums = annotation(bytes(32) + case.committed.annotation, case.schema.lanes.kind)
    named = [f"{name} {total}" for name, total in zip(case.schema.lanes.fields, sums, strict=False)]
    return Finding(
        f"{count} jobs of {len(nodes.ids)} nodes give root {case.committed.root.hex()}; "
        f"sums: {', '.join(named) or 'none'}",
        notes,
    )


def _payees(case: Case, nodes: Nodes) -> tuple[list[str], tuple[str, ...]]:
    """Compare the payees in the rows with the registrations; return problems and notes."""
    registered: dict[bytes, set[bytes]] = {}
    for event in case.source.chain.registrations():
        registered.setdefault(event.node_key, set()).add(event.payee)
    problems, strangers = [], 0
    for name, key, payee in zip(nodes.ids, nodes.keys, nodes.payees, strict=True):
        known = registered.get(NodeKey(key))
        if known is None:
            strangers += 1
        elif payee not in known:
            problems.append(f"payee of {name} is {address_text(payee)}, which it did not register")
    return problems, (f"{strangers} nodes are not registered on chain",) if strangers else ()


def check_epoch_log(case: Case) -> Finding:
    """Check that the aggregator's log of all epochs (L0) holds exactly this commitment, under a signed checkpoint.

    Raises:
        Broken: If a published log is not signed, does not have its root, or says something else of the epoch.
    """
    committed = case.committed
    if committed.aggregator != case.source.network.aggregator:
        return Finding(
            f"the commitment replaces a voided one; {address_text(committed.aggregator)} keeps no log here"
        )
    verifier = Verifier.parse(case.source.network.log_vkey)
    record = EpochRecord(
        network=case.source.network.network_id,
        epoch=case.epoch,
        aggregator=committed.aggregator,
        root=committed.root,
        n_nodes=committed.n_nodes,
        annotation=committed.annotation,
        manifest=committed.manifest,
    )
    logs = case.source.logs()
    if not logs:
        raise Broken("no publication has an epoch log")
    notes = []
    for log in logs:
        try:
            checkpoint = open_checkpoint(log.checkpoint, verifier)
            # An entry is durable before a checkpoint covers it, so a running log may be one ahead of its checkpoint.
            entries = log.entries[: checkpoint.size]
            verify_log(log.checkpoint, entries, verifier)
            epochs = [EpochRecord.decode(entry).epoch for entry in entries]
        except InvalidInput as error:
            raise Broken(
                f"{log.file} is not the signed state of its entries", [str(error)]
            ) from error
        if epochs.count(case.epoch) != 1 or record.encode() not in entries:
            raise Broken(
                f"{log.file}: {epochs.count(case.epoch)} signed entries about epoch {case.epoch}, "
                f"where exactly the commitment on chain is expected"
            )
        at = entries.index(record.encode())
        leaves = [rfc6962.leaf_hash(entry) for entry in entries]
        path = rfc6962.inclusion_path(leaves, at)
        if not rfc6962.verify_inclusion(leaves[at], at, len(leaves), path, checkpoint.root):
            raise Broken(f"{log.file}: the entry is not under the checkpoint's root")
        notes.append(f"{log.file}: entry {at} of {checkpoint.size} under {checkpoint.root.hex()}")
    return Finding(
        f"the commitment stands in the log of {verifier.name}, whose checkpoint is signed",
        tuple(notes),
    )
