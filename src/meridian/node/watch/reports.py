"""An accepted report with everything that it is judged by, from the chain and from what its members published."""

from collections.abc import Callable, Sequence

import msgspec

from meridian.audit.record import OutcomeRecord
from meridian.disputes.commitment_faults import PublishedEpoch
from meridian.disputes.report_faults import Judged, ReportedClaims, Terms
from meridian.errors import InvalidInput, NotFound
from meridian.node.chain_view import AcceptedReport, ChainView
from meridian.node.evaluator.artefacts import Unpublished
from meridian.node.publications import INDEX_BYTES_MAX, Place
from meridian.primitives.cid import digest_of, parse_cid
from meridian.primitives.eip712 import Domain
from meridian.reward.claims import ClaimsState
from meridian.reward.report import NO_REPORT

Fetch = Callable[[bytes], bytes]


class PublishedReports:
    """Reports as evaluators publish them; found by hash, so a liar's own copy is as good as any.

    Args:
        places: The publications.
        fetch: Digest -> bytes, unchecked.
        domain: That of Evaluations.
    """

    def __init__(self, places: Sequence[Place], fetch: Fetch, domain: Domain) -> None:
        self._places, self._fetch, self._domain = places, fetch, domain

    def claims(self, accepted: AcceptedReport) -> ReportedClaims:
        """Return an accepted report with its claims.

        Raises:
            NotFound: If nobody publishes them (yet).
        """
        name = f"epochs/{accepted.epoch:06d}.outcome.json"
        for place in self._places:
            data = place.read(name, INDEX_BYTES_MAX)
            try:
                found = None if data is None else self._read(data, accepted)
            except (ValueError, KeyError, TypeError, InvalidInput, NotFound, Unpublished):
                continue  # whoever publishes nonsense, or names what is not there, is passed over
            if found is not None:
                return found
        raise NotFound(f"nobody publishes the claims of epoch {accepted.epoch}")

    def _read(self, data: bytes, accepted: AcceptedReport) -> ReportedClaims | None:
        """Return what one publication's index leads to; None if that is another report, or none of ours."""
        index = msgspec.json.decode(data)
        if index["report_hash"] != accepted.report_hash.hex():
            return None
        record = OutcomeRecord.decode(self._checked(parse_cid(index["outcome"])[1]))
        state = ClaimsState.decode(self._checked(record.claims))
        # The report itself counts only if its digest is the accepted one: the contracts will ask for its fields.
        said = record.report.digest(self._domain)
        if said != accepted.report_hash or state.reward_root != accepted.reward_root:
            return None
        rows = [
            key + claim.payee + claim.cumulative.to_bytes(16, "big")
            for key, claim in state.claims.items()
        ]
        return ReportedClaims(record.report, rows, accepted.report_hash)

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
