"""What became of an epoch, for tables and JSON, from stored data alone."""

from typing import Any

from meridian.audit.evidence import State
from meridian.errors import NotFound
from meridian.nym.acceptance import Mode
from meridian.nym.rows import summary
from meridian.nym.stored import StoredSystem
from meridian.primitives.ids import address_text


def epoch_document(stored: StoredSystem, epoch: int) -> dict[str, Any]:
    """Return what is known of a settled epoch.

    Raises:
        NotFound: If it has no accepted result.
    """
    accepted = stored.accepted(epoch)
    network, calendar = stored.network, stored.calendar
    assert calendar is not None, "a contract that accepted something has a calendar"
    evidence = stored.verify(epoch)
    report = accepted.submission.report
    problems = []
    if evidence.broken is not None:
        problems.append(f"{evidence.broken.name}: {evidence.broken.detail}")
    findings: dict[str, Any] = {}
    for number, found in stored.findings().items():
        finding = found.get(epoch)
        findings[str(number)] = None if finding is None else finding.holds
        if finding is None:
            problems.append(f"nym-api-{number} did not check the result")
        elif not finding.holds:
            problems.append(f"nym-api-{number}: {finding.detail}")
    standalone = network.mode is Mode.STANDALONE
    return {
        "epoch": epoch,
        "winner": address_text(accepted.submission.sender),
        "winner_number": _number(stored, accepted.submission.sender),
        "rows": 1 if standalone else len(evidence.senders),
        "senders": [address_text(sender) for sender in evidence.senders],
        "signers": [address_text(signer) for signer in evidence.signers],
        "report_signers": len(accepted.submission.attestations),
        "block_hash": "0x" + report.block_hash.hex(),
        "latency_ms": accepted.accepted_ms - calendar.end_us(epoch) // 1000,
        "rewards": list(report.rewards),
        "summary": summary(report.rewards),
        "findings": findings,
        "links": [
            {"name": link.name, "state": link.state.value, "detail": link.detail}
            for link in evidence.links
        ],
        "verified": all(link.state is State.HOLDS for link in evidence.links),
        "problems": problems,
    }


def _number(stored: StoredSystem, address: Any) -> int | None:
    try:
        return stored.network.number(address)
    except NotFound:
        return None
