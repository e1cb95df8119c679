"""What must hold in every world, whatever the seed (bft.md section 4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from meridian.ephemera import frame as frames
from meridian.ephemera.block import Entry, verify_block, verify_certificate
from meridian.ephemera.collection import row_root
from meridian.ephemera.context import Context, Kind
from meridian.ephemera.effects import Decided
from meridian.ephemera.evidence import verify_evidence
from meridian.ephemera.message import (
    Echo,
    Have,
    Lock,
    Propose,
    ReportSignature,
    Reveal,
    Row,
    ViewChange,
    Vote,
    Wish,
    lock_digest,
    propose_digest,
)
from meridian.errors import InvalidInput
from meridian.primitives import hashing, quorum
from meridian.sim.hosts import ATTEMPT, report_of
from meridian.sim.machine import REFUSED_BODY
from meridian.sim.outcomes import Outcome


def violations(
    context: Context, rows: Mapping[int, frozenset[bytes]], outcomes: Mapping[int, Outcome]
) -> list[str]:
    """Everything that is wrong with what the correct members did; empty is right.

    Args:
        context: The epoch.
        rows: Roots of the rows that the application of every correct member offered.
        outcomes: What came out of every correct member.
    """
    found = _agreement(outcomes)
    for member, outcome in outcomes.items():
        found += [f"member {member}: {text}" for text in _own(context, rows, outcome)]
        found += _consistent(context, member, outcome)
    found += [f"member {m}: {text}" for m, o in outcomes.items() for text in _late(context, m, o)]
    found += _led(context, outcomes)
    found += _wished(context, outcomes)
    found += _inclusion(context, rows.keys(), outcomes)
    found += _framing(context, rows.keys(), outcomes)
    return found


def unproved(guilt: str, hosts: Iterable[Mapping[int, Outcome]]) -> list[str]:
    """Accountability: what a member did before everybody's eyes, and nobody proved."""
    kinds = {m.kind for outcomes in hosts for o in outcomes.values() for m in o.misbehaviour}
    return [] if guilt in kinds else [f"accountability: {guilt} is not proved"]


def copied(
    context: Context, copy: Entry, outcomes: Mapping[int, Outcome], *, never: bool
) -> list[str]:
    """A row that was copied after every correct member had revealed counts only where rows in time never came.

    Then a correct member filled its HAVE up with it, or a block was filled up to n - f.

    Args:
        context: The epoch.
        copy: Member and commitment.
        outcomes: What came out of every correct member.
        never: Nothing went wrong but the copying, so nothing had to be filled up.
    """
    haves = [frames.decode(o.have, context) for o in outcomes.values() if o.have]
    listed = {entry for have in haves if isinstance(have, Have) for entry in have.entries}
    least = context.n - quorum.faults_max(context.n)
    for outcome in outcomes.values():
        for decided in outcome.decided:
            rows = {(row.member, row.digest) for row in decided.block.rows}
            if copy in rows and (never or (copy not in listed and len(rows) > least)):
                return [f"copying: the row that member {copy[0]} copied counts"]
    return []


def unfinished(outcomes: Mapping[int, Outcome | None]) -> list[str]:
    """Living members that did not decide, or did not learn a quorum's signatures, in the end."""
    found: list[str] = []
    for member, outcome in outcomes.items():
        if outcome is None or not outcome.decided:
            found.append(f"termination: member {member} undecided")
        if outcome is None or not outcome.attested:
            found.append(f"termination: member {member} unattested")
    return found


def _agreement(outcomes: Mapping[int, Outcome]) -> list[str]:
    blocks = {d.block.hash for o in outcomes.values() for d in o.decided}
    found = ["agreement: two blocks decided"] if len(blocks) > 1 else []
    digests = {(a.attempt, a.digest) for o in outcomes.values() for a in o.attested}
    return found + (["agreement: two reports attested"] if len(digests) > 1 else [])


def _own(context: Context, rows: Mapping[int, frozenset[bytes]], outcome: Outcome) -> list[str]:
    """Validity: block, certificate, bodies and report prove themselves and say what was said."""
    found: list[str] = []
    for decided in outcome.decided:
        try:
            verify_block(context, decided.block)
            verify_certificate(context, decided.certificate)
        except InvalidInput as error:
            found.append(f"validity: {error}")
        found += _counted(context, decided)
        if decided.certificate.block_hash != decided.block.hash:
            found.append("validity: certificate of another block")
        roots = [row.opening.row_root for row in decided.block.rows]
        if [row_root(body) for body in decided.bodies] != roots:
            found.append("validity: bodies of other rows")
        found += [
            f"integrity: member {row.member} never sent that row"
            for row in decided.block.rows
            if row.member in rows and row.opening.row_root not in rows[row.member]
        ]
        if any(body.startswith(REFUSED_BODY) for body in decided.bodies):
            found.append("validity: a row that the application refuses")
        for attested in outcome.attested:
            if (attested.attempt, attested.digest) != (ATTEMPT, report_of(decided)):
                found.append("validity: a report of something else")
            if not all(
                (index := context.index_of(address)) is not None
                and context.signed_digest(index, attested.digest, signature)
                for address, signature in attested.signatures
            ):
                found.append("validity: attested with a forged signature")
            if len(attested.signatures) < quorum.quorum(context.n):
                found.append("validity: attested without a quorum")
    return found


def _late(context: Context, own: int, outcome: Outcome) -> list[str]:
    """A HAVE lists only what was committed before its member closed the phase, if there are n - f of such rows."""
    message = frames.decode(outcome.have, context) if outcome.have else None
    if not isinstance(message, Have):
        return []
    if outcome.in_time is None:
        return ["copying: HAVE is signed while commitments are taken"]
    late = [e for e in message.entries if e not in outcome.in_time and e[0] != own]
    in_time = {member for member, _ in outcome.in_time}
    least = context.n - quorum.faults_max(context.n)
    if late and (len(message.entries) > least or any(member in in_time for member, _ in late)):
        return [f"copying: HAVE lists late rows of {[member for member, _ in late]}"]
    return []


def _counted(context: Context, decided: Decided) -> list[str]:
    """The sizes that agreement rests on, counted without the core's own thresholds."""
    n = context.n
    rows = {row.member for row in decided.block.rows}
    haves = {have.member for have in decided.block.haves}
    votes = {member for member, _ in decided.certificate.votes}
    found: list[str] = []
    if len(rows) < len(decided.block.rows):
        found.append("validity: a member has two rows")
    if min(len(rows), len(haves)) < n - quorum.faults_max(n):
        found.append("validity: decided without n - f rows and HAVEs")
    # Not by `verify_block` and `verify_certificate`: these may be what is broken.
    signed = [(r.member, Kind.ROW, 0, r.digest, r.signature) for r in decided.block.rows]
    signed += [(h.member, Kind.HAVE, 0, h.digest, h.signature) for h in decided.block.haves]
    opened = [
        hashing.tagged(
            hashing.ROW_COMMITMENT,
            context.members[row.member],
            row.opening.salt + row.opening.row_root + row.opening.trace_root,
        )
        for row in decided.block.rows
    ]
    if opened != [row.digest for row in decided.block.rows]:
        found.append("validity: decided on a row that was not committed")
    listed = Counter(entry for have in decided.block.haves for entry in have.entries)
    least = min(listed[row.member, row.digest] for row in decided.block.rows)
    faults = quorum.faults_max(n)
    if least < 1 or (least <= faults and len(rows) > n - faults):
        found.append("validity: decided on a row that f + 1 HAVEs do not list")
    certificate = decided.certificate
    signed += [
        (member, Kind.VOTE, certificate.view, certificate.block_hash, signature)
        for member, signature in certificate.votes
    ]
    if not all(context.signed(*statement) for statement in signed):
        found.append("validity: decided with a forged signature")
    if len(votes) < quorum.quorum(n):
        found.append("validity: decided without a quorum")
    return found


def _consistent(context: Context, own: int, outcome: Outcome) -> list[str]:
    """A correct member says one thing per kind and view, in all its lives."""
    said: dict[tuple[Kind, int, bytes], bytes] = {}
    votes: dict[int, bytes] = {}
    locks: dict[int, Lock | None] = {}
    found: list[str] = []
    for frame in outcome.sent:
        message = frames.decode(frame, context)
        match message:
            case Row(member, digest, _) | Reveal(member, digest, _):
                key = (Kind.ROW, 0, b"")
            case Have() as have:
                member, digest, key = have.member, have.digest, (Kind.HAVE, 0, b"")
            case Propose(member, view, _, block, _):
                digest, key = propose_digest(block.hash), (Kind.PROPOSE, view, b"")
            case Echo(member, view, digest, _):
                key = (Kind.ECHO, view, b"")
            case Vote(member, view, digest, _):
                key = (Kind.VOTE, view, b"")
            case ViewChange() as change:
                member, digest = change.member, lock_digest(change.lock)
                key = (Kind.VIEW_CHANGE, change.view, b"")
            case ReportSignature(member, attempt, digest, _, _):
                key = (Kind.REPORT_SIG, 0, attempt)
            case _:
                continue
        if key[0] is Kind.VOTE:
            votes[key[1]] = digest
        elif isinstance(message, ViewChange):
            locks[message.view] = message.lock
        if member == own and said.setdefault(key, digest) != digest:  # others' are passed on
            found.append(f"equivocation: {key[0].name} in view {key[1]} by member {member}")
    found += [
        f"amnesia: the VOTE in view {voted} is denied in view {view} by member {own}"
        for voted, block_hash in votes.items()
        for view, lock in locks.items()
        if view > voted
        and (lock is None or lock[0] < voted or (lock[0] == voted and lock[1] != block_hash))
    ]
    return found


def _wished(context: Context, outcomes: Mapping[int, Outcome]) -> list[str]:
    """A view is entered only if some correct member wished for it or a later one."""
    wished, entered = 0, 0
    for outcome in outcomes.values():
        for frame in outcome.sent:
            if frame[1] not in {Kind.WISH, Kind.VIEW_CHANGE}:
                continue
            message = frames.decode(frame, context)
            if isinstance(message, Wish):
                wished = max(wished, message.view)
            elif isinstance(message, ViewChange):
                entered = max(entered, message.view)
    return [f"views: {entered} is entered, {wished} was wished for"] if entered > wished else []


def _led(context: Context, outcomes: Mapping[int, Outcome]) -> list[str]:
    """Under a correct leader, correct members echo what it proposed and nothing else."""
    proposed: set[tuple[int, bytes]] = set()
    echoed: set[tuple[int, bytes]] = set()
    for member, outcome in outcomes.items():
        for frame in outcome.sent:
            if frame[1] not in {Kind.PROPOSE, Kind.ECHO}:
                continue
            message = frames.decode(frame, context)
            if isinstance(message, Propose) and context.leader(message.view) == member:
                proposed.add((message.view, message.block.hash))
            elif isinstance(message, Echo):
                own = (
                    context.leader(message.view) == member
                )  # it may crash before its PROPOSE leaves
                (proposed if own else echoed).add((message.view, message.block_hash))
    return [
        f"validity: the leader of view {view} did not propose what was echoed"
        for view, _ in sorted(echoed - proposed)
        if context.leader(view) in outcomes
    ]


def _inclusion(
    context: Context, correct: AbstractSet[int], outcomes: Mapping[int, Outcome]
) -> list[str]:
    """A row that every correct member's HAVE lists is in the block."""
    vectors: list[set[int]] = []
    for outcome in outcomes.values():
        message = frames.decode(outcome.have, context) if outcome.have else None
        if isinstance(message, Have):
            vectors.append({member for member, _ in message.entries})
    if len(vectors) < len(correct):
        return []  # somebody was taken along before it signed HAVE: it held nobody's row back
    everywhere = set.intersection(*vectors) & correct
    return [
        f"inclusion: row of member {min(everywhere - rows)} left out"
        for outcome in outcomes.values()
        for decided in outcome.decided
        if everywhere - (rows := {row.member for row in decided.block.rows})
    ]


def _framing(
    context: Context, correct: AbstractSet[int], outcomes: Mapping[int, Outcome]
) -> list[str]:
    """Evidence proves itself and never names a correct member."""
    found: list[str] = []
    for outcome in outcomes.values():
        for misbehaviour in outcome.misbehaviour:
            try:
                guilt = verify_evidence(context, misbehaviour.evidence)
            except InvalidInput as error:
                found.append(f"evidence: {error}")
                continue
            if (guilt.member, guilt.kind) != (misbehaviour.member, misbehaviour.kind):
                found.append("evidence: proves something else")
            if guilt.member in correct:
                found.append(f"framing: {guilt.kind} by correct member {guilt.member}")
    return found
