"""Link `claims`: everything that was paid was owed, and the published result says what was decided."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from meridian.audit.case import Case
from meridian.audit.evidence import Broken, Finding, require
from meridian.audit.objects import fetch
from meridian.audit.record import OutcomeRecord
from meridian.primitives.amounts import format_fil
from meridian.primitives.cid import cid_text
from meridian.primitives.ids import NodeKey
from meridian.reward.result import EpochFacts, seed_result


def check_claims(case: Case) -> Finding:
    """Check all payments so far against the claims of this epoch, the funds, and the published results.

    Raises:
        Broken: Naming each payment that was not owed, or each result that does not follow.
    """
    chain = case.source.chain
    before = chain.total_claimed()
    claims = chain.claims()
    after = chain.total_claimed()  # payments may go on while we read
    paid = sum(claim.amount for claim in claims)
    problems = _unowed(case)
    if not before <= paid <= after:
        problems.append(f"the events add up to {paid} atto, the contract has paid {after}")
    if paid > chain.total_funded():
        problems.append(f"{paid} atto were paid, only {chain.total_funded()} were ever funded")
    require(problems, "payments were made that nobody was owed")
    own = [claim for claim in claims if claim.epoch == case.epoch]
    results = _check_results(case)
    return Finding(
        f"{len(own)} claims were paid against this epoch's root, {format_fil(sum(c.amount for c in own))} in all; "
        f"every one has its leaf; {format_fil(paid)} of {format_fil(chain.total_funded())} funded are paid; "
        f"{results} results follow"
    )


def _unowed(case: Case) -> list[str]:
    """Return what is wrong with payments: every node's, and those against this report's root or an earlier one."""
    order = {event.epoch: place for place, event in enumerate(case.source.chain.reports())}
    state = case.outcome.claims.claims
    collected: defaultdict[bytes, int] = defaultdict(int)
    problems = []
    for claim in case.source.chain.claims():
        key = NodeKey(claim.node_key)
        who = case.name_of(key)
        if claim.amount <= 0 or collected[key] + claim.amount != claim.cumulative:
            problems.append(
                f"{who}: {claim.amount} after {collected[key]} is not {claim.cumulative}"
            )
        collected[key] = claim.cumulative
        if claim.epoch not in order:
            problems.append(f"{who}: paid against epoch {claim.epoch}, which has no report")
        elif order[claim.epoch] <= order[case.epoch] and (
            key not in state or claim.cumulative > state[key].cumulative
        ):
            problems.append(
                f"{who}: paid {claim.cumulative}, more than all it earned by this epoch"
            )
        if claim.epoch == case.epoch and key in state:
            leaf = state[key]
            if (leaf.payee, leaf.cumulative) != (claim.payee, claim.cumulative):
                problems.append(f"{who}: the claim paid is not its leaf in this epoch's tree")
    return problems


def _check_results(case: Case) -> int:
    """Check that every published result, and a result file beside the publications, is what follows.

    Returns:
        How many there are.

    Raises:
        Broken: Naming the file and the fields that differ.
    """
    expected = []
    for file, record in case.records:
        data = fetch(case.source, record.result, f"the result that {file} names")
        expected.append(_own_result(case, record))
        _compare(data, f"the result that {file} names", expected[-1:])
    files = case.source.results(case.epoch)
    for copy in files:
        _compare(copy.data, copy.file, expected)
    return len(expected) + len(files)


def _own_result(case: Case, record: OutcomeRecord) -> dict[str, Any]:
    facts = EpochFacts(
        epoch=case.epoch,
        jobs=case.input.jobs.num_rows,
        commitment_root=case.committed.root,
        report_hash=case.stored.hash,
        signers=[signer for signer, _ in record.signatures],
        transmitter=case.stored.transmitter,
        paid_atto=0,
        gas={},
        node_ids=case.names,
    )
    return seed_result(
        case.report,
        case.outcome,
        measurement=cid_text(case.committed.manifest),
        facts=facts,
        summary=case.evaluation.summary,
    )


def _compare(data: bytes, what: str, expected: Sequence[dict[str, Any]]) -> None:
    try:
        published = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Broken(f"{what} is not JSON", [str(error)]) from error
    if published in expected:
        return
    own = expected[0]
    fields = own.keys() | published.keys() if isinstance(published, dict) else own.keys()
    differing = [
        f"field {name}"
        for name in sorted(fields)
        if not isinstance(published, dict) or published.get(name) != own.get(name)
    ]
    raise Broken(f"{what} does not follow", differing)
