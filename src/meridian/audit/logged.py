"""Link `epoch-log`: the aggregator's own log of all its epochs (L0) says what the chain says."""

from meridian.audit.case import Case
from meridian.audit.evidence import Broken, Finding
from meridian.audit.source import LogCopy
from meridian.contracts.events import Committed
from meridian.errors import InvalidInput
from meridian.measure.epoch_log import EpochRecord, open_checkpoint, verify_log
from meridian.measure.signed_note import Verifier
from meridian.primitives import rfc6962
from meridian.primitives.ids import address_text


def check_epoch_log(case: Case) -> Finding:
    """Check that the aggregator's log of all epochs (L0) holds exactly this commitment, under a signed checkpoint.

    Raises:
        Broken: If a published log is not signed, does not have its root, or says something else of the epoch.
    """
    mine = case.source.network.aggregator
    by_account = {one.aggregator: one for one in case.contributions if isinstance(one, Committed)}
    committed = by_account.get(mine)
    if committed is None:
        names = ", ".join(address_text(account) for account in sorted(by_account))
        return Finding(f"the network's log is not of who committed: {names} keep no log here")
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
    # Another aggregator keeps a log of its own under another name, which this network's file does not know.
    logs = [log for log in case.source.logs() if not _is_anothers(log, verifier)]
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


def _is_anothers(log: LogCopy, verifier: Verifier) -> bool:
    """Whether a checkpoint names, in its first line, another log than the network's."""
    origin, newline, _ = log.checkpoint.partition(b"\n")
    return bool(newline) and bool(origin) and origin != verifier.name.encode()
