"""Links `commitment` and `manifest`: what stands on chain for the epoch, and what its aggregators say that it is.

The nodes artefact belongs to `jobs`, the schema to `manifest`.
"""

from dataclasses import replace

from meridian.audit.case import Case
from meridian.audit.evidence import Broken, Finding, require
from meridian.audit.objects import fetch, pointed
from meridian.audit.source import EvidenceSource, contributions, standing_commitments
from meridian.contracts.events import Committed, SelfCommitted, Voided
from meridian.errors import InvalidInput, NotFound
from meridian.measure.epoch_digest import NO_DIGEST, fold_commitment, fold_self, fold_void
from meridian.measure.manifest import Manifest
from meridian.measure.schema import NetworkSchema
from meridian.measure.union_epoch import FromAggregator, FromNode, Refused, Source, source_of
from meridian.primitives.cid import cid_text, digest_of
from meridian.primitives.ids import Address, NodeKey, address_text


def commitment_of(source: EvidenceSource, epoch: int) -> Committed:
    """Return the newest commitment of an epoch that stands.

    Raises:
        NotFound: If there is none: nothing can be looked at.
    """
    events = standing_commitments(source.chain.history(epoch))
    if not events:
        raise NotFound(f"no commitment of epoch {epoch} stands on chain")
    return events[-1]


def check_commitment(case: Case) -> Finding:
    """Check that a commitment of the epoch stands, and that the chain's digest is over exactly what happened.

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
    known = chain.deployment().aggregators
    strangers = [event for event in events if event.aggregator not in known]
    if strangers:
        raise Broken(
            f"it was made by {address_text(strangers[0].aggregator)}, who is not an aggregator of the network"
        )
    case.committed = replace(events[-1], digest=digest)
    case.contributions = tuple(contributions(history))
    own = len(case.contributions) - len(events)
    notes = tuple(
        f"the commitment of {address_text(one.aggregator)} with root {one.root.hex()} was voided"
        for one in history
        if isinstance(one, Voided)
    )
    said = "; ".join(
        f"root {event.root.hex()} over {event.n_nodes} nodes and "
        f"{int.from_bytes(event.annotation[:8], 'big')} jobs, by {address_text(event.aggregator)}"
        for event in events
    )
    return Finding(said + (f"; {own} nodes committed themselves" if own else ""), notes)


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
    """Check that each published manifest is the committed one, says the same, and has the network's schema.

    Of several, one that says something else does not count, and is a note.

    Raises:
        Broken: If an index file names another manifest, a copy is another, or a field of the only one differs.
    """
    notes = _published_only(case)
    case.sources = tuple(_source_of(case, event) for event in case.contributions)
    refused = [one for one in case.sources if isinstance(one, Refused)]
    manifests = [one.manifest for one in case.sources if isinstance(one, FromAggregator)]
    if not manifests:
        raise Broken("the manifest says something else", [one.reason for one in refused])
    wanted = case.source.network.schema_digest
    case.schema = NetworkSchema.decode(fetch(case.source, wanted, "the schema"))
    untrue = [fact for manifest in manifests for fact in _untrue_facts(case, manifest)]
    require(untrue, "an index file says something else than the manifest")
    said = "; ".join(
        f"{len(manifest.segments)} segments with {manifest.jobs} jobs ({manifest.late} late, "
        f"{manifest.duplicates} duplicates left out), {len(manifest.inputs)} inputs, schema {case.schema.name!r}"
        for manifest in manifests
    )
    return Finding(said, (*notes, *(f"{one.name} does not count: {one.reason}" for one in refused)))


def _source_of(case: Case, event: Committed | SelfCommitted) -> Source:
    if isinstance(event, SelfCommitted):
        root = event.tree_hash + event.annotation
        return FromNode(NodeKey(event.node_key), root, event.segment)
    network = case.source.network
    stated = {
        "network": network.name,
        "network_id": network.network_id,
        "epoch": case.epoch,
        "root": event.root,
        "n_nodes": event.n_nodes,
        "annotation": event.annotation,
        "schema": network.schema_digest,
    }
    data = fetch(case.source, event.manifest, f"the manifest{by_whom(case, event.aggregator)}")
    return source_of(data, event.aggregator, stated)


def by_whom(case: Case, account: Address) -> str:
    """Return whose something is, for people, where there are several aggregators."""
    several = sum(isinstance(one, Committed) for one in case.contributions) > 1
    return f" of aggregator {address_text(account)}" if several else ""


def _published_only(case: Case) -> tuple[str, ...]:
    """Return notes of manifests that aggregators publish who have not committed to the epoch.

    Whoever measures may publish; only what is on chain counts. Nothing else than the committed manifest may be shown
    in the name of who committed it.

    Raises:
        Broken: If no index file names a committed manifest, or any names one that is not such another's.
    """
    committed = [event for event in case.contributions if isinstance(event, Committed)]
    wanted = {event.manifest for event in committed}
    pointers = pointed(case.source.manifests(case.epoch), "a manifest")
    others = {file: digest for file, digest in pointers if digest not in wanted}
    makers = {file: _other_maker(case, digest) for file, digest in others.items()}
    lacking = wanted - {digest for _, digest in pointers}
    if lacking or None in makers.values():
        named = [f"{file} names {cid_text(digest)}" for file, digest in others.items()]
        expected = lacking or wanted
        raise Broken(
            f"the chain names manifest {', '.join(cid_text(one) for one in sorted(expected))}",
            named,
        )
    return tuple(
        f"{file}: published by {address_text(maker)}, but not committed"
        for file, maker in makers.items()
        if maker is not None
    )


def _other_maker(case: Case, digest: bytes) -> Address | None:
    """Return which other aggregator made a published manifest of the epoch; None if it is no such manifest."""
    committed = {one.aggregator for one in case.contributions if isinstance(one, Committed)}
    good = [copy.data for copy in case.source.object(digest) if digest_of(copy.data) == digest]
    try:
        manifest = Manifest.decode(good[0]) if good else None
    except InvalidInput:
        return None
    if manifest is None or manifest.aggregator in committed:
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
