"""Which rare things must happen in a batch: worlds in which they never do would prove nothing about them.

The names are those of `Result.reached`. A batch of a few thousand seeds of four members reaches all of them.
"""

from __future__ import annotations

from collections.abc import Mapping

REFUSED = "refused "

KINDS_PERSISTED = (
    "context",
    "row",
    "closed",
    "listed_row",
    "have",
    "propose",
    "echo",
    "view",
    "view_change",
    "lock",
    "block",
    "body",
    "decided",
    "report",
    "attested",
    "evidence",
)
"""Record kinds: a crash between each and what follows it must have been tried."""

GUILTS = (
    "double_row",
    "double_have",
    "double_propose",
    "double_echo",
    "double_vote",
    "double_view_change",
    "double_report_sig",
    "amnesia",
)

SOMETIMES = (
    "restart",
    "write failed",
    "records torn off the disk",
    "disk wiped",
    "dead for ever",
    "host frozen",
    "clock jumped back",
    "clock jumped forward",
    "epoch closed",
    "lock carried",
    "lock carried in view >= 3",
    "fresh block in a later view",
    "decided by DECIDED",
    "decided in view 0",
    "decided in view 1",
    "decided in view 3",
    "FETCH_REPLY",
    "EVIDENCE",
    "row copied",
    *(f"crash after persisting {kind}" for kind in KINDS_PERSISTED),
    *GUILTS,
)
"""What must happen besides the refusals."""

BRANCHES = tuple(
    REFUSED + branch
    for branch in (
        "attempt: more than N attempts",
        "block.epoch: must be N",
        "block.haves: N of N needed",
        "block.haves: must be strictly ascending by member",
        "block.haves: names a stranger",
        "block.haves: signature of member N does not verify",
        "block.rows: N of N needed",
        "block.rows: holds a row of member N that the HAVEs do not admit",
        "block.rows: leaves out member N, which the HAVEs require",
        "block.rows: member N committed to another row",
        "block.rows: must be strictly ascending by member",
        "block.rows: names a stranger",
        "block.rows: signature of member N does not verify",
        "block: is not the block of the highest lock",
        "certificate.votes: N of N needed",
        "certificate.votes: must be strictly ascending",
        "certificate.votes: names a stranger",
        "certificate.votes: signature of member N does not verify",
        "encoding: N bytes too many",
        "encoding: ends N bytes too early",
        "epoch: closed",
        "epoch: not open",
        "evidence.context: is about another epoch or member set",
        "evidence.digests: must be different and ascending",
        "evidence.form: unknown",
        "evidence.kind: may be signed more than once",
        "evidence.lock: does not deny the vote",
        "evidence.member: is a stranger",
        "evidence.signature: does not verify",
        "evidence.version: must be N",
        "evidence.view: must be N",
        "have.entries: N of N needed",
        "have.entries: must be strictly ascending by member",
        "have.entries: names a stranger",
        "justification: carries a certificate that no claim names",
        "justification: claims a lock of a later view",
        "justification: needs N members' claims",
        "justification: signature of N does not verify",
        "kind: unknown",
        "lock: must be of an earlier view",
        "member: does not lead this view",
        "member: is a stranger",
        "object: unknown",
        "offset: was not asked for",
        "opening: is not what was committed",
        "piece: was not asked for",
        "report_signature: is not that of member N",
        "signature: is not that of member N",
        "size: must be N..N bytes",
        "size: too long for ECHO",
        "size: too long for FETCH",
        "size: too long for HAVE",
        "size: too long for REPORT_SIG",
        "size: too long for ROW",
        "size: too long for VOTE",
        "size: too long for WISH",
        "total: passes the limit",
        "version: must be N",
        "view: N is too far ahead of N",
        "view: is not one that we lead",
        "want: unknown",
    )
)
"""Branches of the core that refuse a frame: field and reason, numbers as N. Rarer ones are left to aimed tests."""


def rare(reached: Mapping[str, int]) -> list[tuple[str, int]]:
    """Counts of everything but refusals, by name."""
    return sorted((n, c) for n, c in reached.items() if not n.startswith(REFUSED))


def branches(reached: Mapping[str, int]) -> list[tuple[str, int]]:
    """Counts of the branches that refuse, by name."""
    return sorted((n, c) for n, c in reached.items() if n.startswith(REFUSED))


def never(reached: Mapping[str, int]) -> list[str]:
    """What must happen in a batch and did not."""
    return [name for name in (*SOMETIMES, *BRANCHES) if not reached.get(name)]
