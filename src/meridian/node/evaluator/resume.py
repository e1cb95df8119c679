"""Where an evaluator goes on after a restart, and after epochs in which it had no seat: from what is published.

Nothing is believed for being on our own disk: an object must hash to its name, a record must carry the report that the
chain accepted, and the claims must have the reward root that stands there. Where that ends, the work begins again.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from meridian.audit.record import OutcomeRecord
from meridian.errors import InvalidInput, NotFound, StorageFailure
from meridian.evaluate.row import RowHeader
from meridian.node.chain_view import AcceptedReport
from meridian.node.measure.publication import Publication
from meridian.primitives.cid import parse_cid
from meridian.primitives.ids import Address
from meridian.reward.claims import ClaimsState
from meridian.reward.ledger import Ledger
from meridian.reward.memory import Memory

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PublishedEpoch:
    """An epoch whose accepted report we reproduced and published before."""

    header: RowHeader
    members: tuple[Address, ...]
    report_hash: bytes
    claims: bytes
    """Digest of the claims after it."""


class _Index(msgspec.Struct):
    outcome: str
    report_hash: str


def published_epochs(
    publication: Publication, reports: Sequence[AcceptedReport]
) -> list[PublishedEpoch]:
    """Return the accepted reports that we have published, in their order, up to the first that we have not."""
    found = []
    for report in reports:
        try:
            found.append(_published(publication, report))
        except (NotFound, InvalidInput, StorageFailure):
            break  # not published, or damaged: from here on everything is worked again
    return found


def _published(publication: Publication, report: AcceptedReport) -> PublishedEpoch:
    path = publication.root / "epochs" / f"{report.epoch:06d}.outcome.json"
    try:
        index = msgspec.json.decode(path.read_bytes(), type=_Index)
    except FileNotFoundError:
        raise NotFound(f"{path}: not published") from None
    except (OSError, msgspec.DecodeError) as error:
        raise InvalidInput(str(path), str(error)) from error
    record = OutcomeRecord.decode(publication.get(parse_cid(index.outcome)[1]))
    if record.report_hash != report.report_hash:
        raise InvalidInput("report_hash", "another report was accepted")
    header = RowHeader(
        network=record.network_id,
        epoch=record.epoch,
        commitment=record.report.commitment,
        function=record.report.function_digest,
        parameters=record.report.parameters_digest,
        inputs_root=record.report.inputs_root,
    )
    return PublishedEpoch(header, record.members, record.report_hash, record.claims)


def ledger_after(publication: Publication, epoch: PublishedEpoch, reward_root: bytes) -> Ledger:
    """Return the ledger after a published epoch.

    Raises:
        InvalidInput: If its claims are not those of the report on chain.
        NotFound: If claims or memory are not published.
    """
    claims = ClaimsState.decode(publication.get(epoch.claims))
    if claims.reward_root != reward_root:
        raise InvalidInput("claims", "they do not have the reward root on chain")
    memory = Memory() if claims.memory is None else Memory.decode(publication.get(claims.memory))
    return Ledger(claims, memory)


def resumable(
    publication: Publication, reports: Sequence[AcceptedReport]
) -> tuple[list[PublishedEpoch], Ledger]:
    """Return the epochs that need no work any more, with the ledger after the last; none where they are damaged."""
    published = published_epochs(publication, reports)
    if not published:
        return [], Ledger.empty()
    try:
        root = reports[len(published) - 1].reward_root
        return published, ledger_after(publication, published[-1], root)
    except (InvalidInput, NotFound, StorageFailure) as problem:
        log.warning("our publication is damaged, everything is worked again: %s", problem)
        return [], Ledger.empty()


def ledger_of_others(directories: Iterable[Path], report: AcceptedReport) -> Ledger | None:
    """Return the ledger after a report that we had no part in, from any publication that has them; else None."""
    for directory in directories:
        if not (directory / "epochs").is_dir():
            continue
        publication = Publication(directory)
        try:
            return ledger_after(publication, _published(publication, report), report.reward_root)
        except (NotFound, InvalidInput, StorageFailure):
            continue  # whoever publishes nonsense is passed over: the root on chain decides
    return None
