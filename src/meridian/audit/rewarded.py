"""Links `aggregation`, `rewards`, `report`, `signatures` and `contract`: from decided rows to what the chain stores."""

from dataclasses import fields

from meridian.audit.case import Case
from meridian.audit.counted import union_digest
from meridian.audit.evidence import Broken, Finding, require
from meridian.audit.objects import fetch
from meridian.contracts.events import Reported
from meridian.errors import InvalidInput
from meridian.primitives.amounts import format_fil
from meridian.primitives.ids import address_text
from meridian.primitives.keys import recover
from meridian.primitives.quorum import quorum
from meridian.reward.claims import ClaimsState
from meridian.reward.ledger import Ledger
from meridian.reward.memory import Memory
from meridian.reward.outcome import Outcome, compute_outcome
from meridian.reward.report import NO_REPORT, Report


def check_aggregation(case: Case) -> Finding:
    """Compute the decided weights from the rows.

    Raises:
        Broken: If the rows cannot be aggregated, or the chain of reports cannot be followed to this one.
    """
    case.reported = _reported(case)
    case.before = _previous(case)
    # Without reliability the weights do not depend on what was before, and this link asks for nothing of it.
    learns = bool(case.parameters.reliability)
    outcome = _outcome(case, previous_ledger(case) if learns else Ledger.empty())
    case.weights, case.verdict_root = outcome.weights, outcome.verdict_root
    case.judged = outcome.judged
    deferred = [
        f"deferred: {case.name_of(key)}"
        for key, weight in zip(outcome.node_keys, outcome.weights, strict=True)
        if weight is None
    ]
    refused = [
        f"the row of {address_text(member)} abstains: {reason}"
        for member, reason in outcome.refused
    ]
    return Finding(
        f"{case.parameters.aggregate} of {len(case.rows) - len(refused)} usable rows gives "
        f"{len(outcome.weights) - len(deferred)} weights",
        (*refused, *deferred, *_judged(outcome)),
    )


def _outcome(case: Case, previous: Ledger) -> Outcome:
    chain = case.source.chain
    return compute_outcome(
        case.rows,
        members=case.context.members,
        parameters=case.parameters,
        budget=chain.budget(case.epoch),
        previous=previous,
        expected=case.header,
        payees=case.payees,
        pay=chain.pay(case.epoch),
        aggregators=case.counted,
        annotation=case.annotation,
        traces=case.traces,
    )


def _judged(outcome: Outcome) -> tuple[str, ...]:
    """Return how far each evaluator agreed, where reliability is learnt."""
    return tuple(
        f"{address_text(row.member)}: weight {row.weight}, agrees with "
        f"{'nothing' if row.agreed_ppm is None else f'{row.agreed_ppm / 10_000:.2f} %'}, "
        f"{row.outliers} outliers, trust {row.trust_ppm / 10_000:.2f} %"
        for row in outcome.judged
    )


def _reported(case: Case) -> Reported:
    """Return the event that accepted this epoch's report."""
    events = [event for event in case.source.chain.reports() if event.epoch == case.epoch]
    if len(events) != 1:
        raise Broken(f"the chain accepted {len(events)} reports of epoch {case.epoch}")
    return events[0]


def _previous(case: Case) -> Reported | None:
    """Return the event of the report before this one, or None if it is the first."""
    if case.reported.previous == NO_REPORT:
        return None
    for event in case.source.chain.reports():
        if event.report_hash == case.reported.previous:
            return event
    raise Broken(
        f"the chain has no report {case.reported.previous.hex()} that this one could follow"
    )


def check_rewards(case: Case) -> Finding:
    """Recompute amounts and claims from the decided weights and the claims before.

    Raises:
        Broken: If published claims differ, if the previous claims are not those that the chain holds, or if the
            epoch's budget is exceeded.
    """
    previous = previous_ledger(case)
    outcome = _outcome(case, previous)
    problems = []
    for file, record in case.records:
        claims = ClaimsState.decode(
            fetch(case.source, record.claims, f"the claims that {file} names")
        )
        problems += [
            f"{file}: {difference}"
            for difference in _claim_differences(case, claims, outcome.claims)
        ]
    require(problems, "published claims do not follow from the decided weights")
    if outcome.total - previous.claims.total > outcome.budget:
        raise Broken(
            f"{outcome.total - previous.claims.total} atto are promised, the budget is {outcome.budget}"
        )
    case.outcome = outcome
    return Finding(
        f"{format_fil(outcome.allocated)} of a budget of {format_fil(outcome.budget)} go to "
        f"{sum(amount > 0 for amount in outcome.amounts)} nodes; {outcome.dust} atto of dust and "
        f"{sum(outcome.held_back)} atto for deferred nodes stay in the pool; {_economy(outcome)}"
        f"{len(outcome.claims.claims)} claims in the tree, {outcome.total} atto in all"
    )


def _economy(outcome: Outcome) -> str:
    """Return what else happened to the money, where a network has such rules."""
    parts = []
    if any(outcome.withheld):
        parts.append(f"{sum(outcome.withheld)} atto are withheld as collateral; ")
    if any(outcome.settled):
        parts.append(f"{sum(outcome.settled)} atto that earlier epochs owed are paid; ")
    return "".join(parts)


def previous_ledger(case: Case) -> Ledger:
    """Return claims and memory after the report before this one.

    Raises:
        Broken: If they are not published, or not what that report's reward root commits to.
    """
    claims = _previous_claims(case)
    if claims.memory is None:
        return Ledger(claims, Memory())
    data = fetch(case.source, claims.memory, "what the earlier claims bind as memory")
    return Ledger(claims, Memory.decode(data))


def _previous_claims(case: Case) -> ClaimsState:
    """Return the claims after the report before this one, which must be those that its reward root commits to."""
    state = ClaimsState.empty()
    for file, record in case.records:
        state = ClaimsState.empty()  # nothing is published where nobody had a claim before
        if record.previous_claims is not None:
            what = f"the earlier claims that {file} names"
            state = ClaimsState.decode(fetch(case.source, record.previous_claims, what))
        if case.before is None and state.claims:
            raise Broken(f"{file} names earlier claims, but this is the first report on chain")
        if case.before is not None and (
            (state.reward_root, state.total) != (case.before.reward_root, case.before.total)
        ):
            raise Broken(
                f"the earlier claims that {file} names are not those of the report of epoch {case.before.epoch}",
                [
                    f"reward root {state.reward_root.hex()}, on chain {case.before.reward_root.hex()}"
                ],
            )
    return state


def _claim_differences(case: Case, published: ClaimsState, own: ClaimsState) -> list[str]:
    if published == own:
        return []
    keys = sorted(published.claims.keys() | own.claims.keys())
    return [
        f"claim of {case.name_of(key)} is {published.claims.get(key)}, not {own.claims.get(key)}"
        for key in keys
        if published.claims.get(key) != own.claims.get(key)
    ]


def check_report(case: Case) -> Finding:
    """Recompute every field of the report, and compare it with the published ones and the contract's hash.

    Raises:
        Broken: Naming file and field.
    """
    own = case.outcome.report(case.header, case.block.hash, case.reported.previous)
    digest = own.digest(case.evaluations_domain)
    problems = []
    for file, record in case.records:
        problems += [f"{file}: {problem}" for problem in _differences(record.report, own)]
        facts = (
            ("report_hash", record.report_hash, digest),
            ("manifest", record.manifest, case.committed.manifest),
            ("union", record.union, union_digest(case)),
            ("network_id", record.network_id, case.source.network.network_id),
            ("epoch", record.epoch, case.epoch),
        )
        problems += [f"{file}: {name} is another" for name, said, true in facts if said != true]
        if record.union is not None:
            fetch(case.source, record.union, f"the union that {file} names")
    for pointer in case.source.outcomes(case.epoch):
        if pointer.report_hash != digest:
            problems.append(f"{pointer.file}: report_hash is another")
    require(problems, "a published report is not the one that follows from the decided block")
    if case.stored.hash != digest or case.reported.report_hash != digest:
        raise Broken(
            f"the contract accepted report {case.stored.hash.hex()}, what follows is {digest.hex()}"
        )
    case.report = own
    return Finding(f"all fields follow, and the digest is the contract's: {digest.hex()}")


def _differences(published: Report, own: Report) -> list[str]:
    return [
        f"{field.name} is {_text(getattr(published, field.name))}, not {_text(getattr(own, field.name))}"
        for field in fields(Report)
        if getattr(published, field.name) != getattr(own, field.name)
    ]


def _text(value: bytes | int) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def check_signatures(case: Case) -> Finding:
    """Check that a quorum of the epoch's members signed the report that the contract accepted.

    Raises:
        Broken: Naming file and signer.
    """
    members = case.source.chain.committee(case.epoch)
    needed = quorum(len(members))
    problems = []
    signers = set()
    for file, record in case.records:
        named = [signer for signer, _ in record.signatures]
        if named != sorted(set(named)) or len(named) < needed:
            problems.append(f"{file}: {len(named)} signers, at least {needed} ascending are needed")
        for signer, signature in record.signatures:
            reason = _fault(case.stored.hash, signer in members, signer, signature)
            if reason:
                problems.append(f"{file}: {address_text(signer)} {reason}")
            signers.add(signer)
    require(problems, "the report is not signed by a quorum of the epoch's members")
    return Finding(
        f"{len(signers)} of {len(members)} members signed the report ({needed} are needed)",
        tuple(address_text(signer) for signer in sorted(signers)),
    )


def _fault(digest: bytes, member: bool, signer: bytes, signature: bytes) -> str:
    if not member:
        return "is not a member of this epoch"
    try:
        return "" if recover(digest, signature) == signer else "did not sign this report"
    except InvalidInput as error:
        return f"gives no signature ({error})"


def check_contract(case: Case) -> Finding:
    """Compare what the contract stores with what follows.

    Raises:
        Broken: Naming each difference.
    """
    stored, reported, outcome = case.stored, case.reported, case.outcome
    members = case.source.chain.committee(case.epoch)
    problems = []
    for where, root, total in (
        ("stored", stored.reward_root, stored.total),
        ("event", reported.reward_root, reported.total),
    ):
        if root != outcome.reward_root:
            problems.append(f"{where}: reward root {root.hex()}, not {outcome.reward_root.hex()}")
        if total != outcome.total:
            problems.append(f"{where}: total {total}, not {outcome.total}")
    if stored.transmitter != reported.transmitter or stored.transmitter not in members:
        problems.append(
            f"transmitter {address_text(stored.transmitter)} is not the event's, or no member"
        )
    problems += [
        f"{file}: transmitter {address_text(record.transmitter)}, on chain {address_text(stored.transmitter)}"
        for file, record in case.records
        if record.transmitter != stored.transmitter
    ]
    require(problems, "the contract stores something else")
    return Finding(
        f"reward root {stored.reward_root.hex()}, total {stored.total} atto, transmitted by "
        f"{address_text(stored.transmitter)}; claims unlock at {stored.unlock_at}"
    )
