"""An accepted report with everything that it is judged by, from the chain and from what its members published."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from meridian.audit.record import OutcomeRecord
from meridian.disputes.commitment_faults import PublishedEpoch
from meridian.disputes.report_faults import Judged, ReportedClaims, Terms
from meridian.errors import InvalidInput, NotFound
from meridian.node.chain_view import AcceptedReport, ChainView
from meridian.primitives.cid import digest_of, parse_cid
from meridian.reward.claims import ClaimsState
from meridian.reward.report import NO_REPORT

Fetch = Callable[[bytes], bytes]


class PublishedReports:
    """Reports as evaluators publish them; found by hash, so a liar's own copy is as good as any.

    Args:
        directories: The publications.
        fetch: Digest -> bytes, unchecked.
    """

    def __init__(self, directories: Sequence[Path], fetch: Fetch) -> None:
        self._directories, self._fetch = directories, fetch

    def claims(self, accepted: AcceptedReport) -> ReportedClaims:
        """Return an accepted report with its claims.

        Raises:
            NotFound: If nobody publishes them (yet).
        """
        record = self._record(accepted)
        if record.report.reward_root != accepted.reward_root:
            raise InvalidInput("report", "is not the accepted one")
        state = ClaimsState.decode(self._checked(record.claims))
        if state.reward_root != accepted.reward_root:
            raise NotFound(f"nobody publishes the claims of epoch {accepted.epoch}")
        rows = [
            key + claim.payee + claim.cumulative.to_bytes(16, "big")
            for key, claim in state.claims.items()
        ]
        return ReportedClaims(record.report, rows, accepted.report_hash)

    def _record(self, accepted: AcceptedReport) -> OutcomeRecord:
        name = f"{accepted.epoch:06d}.outcome.json"
        for directory in self._directories:
            try:
                index = msgspec.json.decode((directory / "epochs" / name).read_bytes())
                if index["report_hash"] == accepted.report_hash.hex():
                    return OutcomeRecord.decode(self._checked(parse_cid(index["outcome"])[1]))
            except (OSError, ValueError, KeyError, TypeError, InvalidInput, NotFound):
                continue  # whoever publishes nonsense is passed over
        raise NotFound(f"nobody publishes the outcome of epoch {accepted.epoch}")

    def _checked(self, digest: bytes) -> bytes:
        data = self._fetch(digest)
        if digest_of(data) != digest:
            raise InvalidInput("artefact", f"the published bytes do not hash to {digest.hex()}")
        return data


def judged(
    accepted: AcceptedReport,
    predecessor: AcceptedReport | None,
    epoch: PublishedEpoch,
    reports: PublishedReports,
    view: ChainView,
) -> Judged:
    """Return what a report is judged by.

    Args:
        accepted: The report.
        predecessor: The report that it names; None for the first.
        epoch: Its epoch's only commitment.
        reports: For the claims.
        view: For signatures, terms, budget and members.

    Raises:
        NotFound: If claims are not published (yet).
        InvalidInput: If its signatures cannot be told from its transaction.
    """
    assert (predecessor is None) == (accepted.previous == NO_REPORT), "reports stand in a chain"
    number = accepted.epoch
    rule, evaluators_ppm, aggregators_ppm = view.pay_terms(number)
    return Judged(
        claims=reports.claims(accepted),
        before=None if predecessor is None else reports.claims(predecessor),
        signatures=dict(view.signatures(accepted)),
        epoch=epoch,
        terms=Terms(rule, evaluators_ppm, aggregators_ppm),
        budget=view.budget_atto(number, view.head()),
        members=tuple(view.committee(number)),
    )
