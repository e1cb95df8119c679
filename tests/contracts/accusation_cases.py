"""One small case of every accusation: a world, and the proof against somebody in it."""

from collections.abc import Callable
from dataclasses import replace

from contract_world import FIRST, NETWORK, Report
from disputes_world import CALENDAR, DisputesWorld, jobs_of
from published_epochs import from_rows, inflated_job_tree, inflated_node_tree
from test_disputes_reports import Reported, rows_of

from meridian.disputes.accusation import Accusation
from meridian.disputes.commitment_faults import find_faults
from meridian.disputes.double_statements import double_report, from_evidence
from meridian.disputes.promises import Promise, SortedEpoch, double_receipt, duplicates, omission
from meridian.disputes.report_faults import Judged, find_report_faults
from meridian.ephemera.context import Context, Kind
from meridian.ephemera.evidence import amnesia, double
from meridian.ephemera.evidence import double_report as double_attempt
from meridian.ephemera.message import lock_digest, report_digest
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import node_key

Case = tuple[DisputesWorld, Accusation]


def made_up_sum() -> Case:
    world = DisputesWorld()
    lie, hashed = inflated_node_tree(world.published(FIRST, jobs_of(FIRST, 7)), 1, 1, 5)
    world.publish(lie, hashed)
    return world, find_faults(lie)[0]


def made_up_job_sum() -> Case:
    world = DisputesWorld()
    honest = world.published(FIRST, jobs_of(FIRST, 7))
    place = [len(rows) for rows in honest.job_rows].index(5)
    lie = world.publish(inflated_job_tree(honest, place, 1, 0, 5))
    return world, find_faults(lie)[0]


def out_of_order() -> Case:
    world = DisputesWorld()
    honest = world.published(FIRST, jobs_of(FIRST, 7))
    order = [0, 1, 3, 2, 4, 5, 6]
    tables = tuple(honest.job_rows[at] for at in order)
    lie = from_rows(FIRST, honest.node_rows[order], tables, world.aggregators[0])
    world.publish(lie)
    return world, find_faults(lie)[0]


def counted_twice() -> Case:
    world = DisputesWorld()
    row = jobs_of(FIRST, 4)["n2"][0]
    first = SortedEpoch(world.publish(world.published(FIRST, jobs_of(FIRST, 4))))
    second = SortedEpoch(world.publish(world.published(FIRST + 1, {"n2": [row]})))
    return world, next(duplicates(first, second, CALENDAR))


def dropped_job() -> Case:
    world, jobs = DisputesWorld(), jobs_of(FIRST, 6)
    made = world.promise(jobs, FIRST + 1)
    row = jobs["n4"][1]
    left = {**jobs, "n4": [other for other in jobs["n4"] if other != row]}
    epochs = {
        FIRST: SortedEpoch(world.publish(world.published(FIRST, left))),
        FIRST + 1: SortedEpoch(world.publish(world.published(FIRST + 1, jobs_of(FIRST + 1, 3)))),
    }
    promise = Promise(made.receipt, node_key("n4"), made.proofs["n4", row])
    fault = omission(promise, epochs, CALENDAR)
    assert fault is not None
    return world, fault


def numbered_twice() -> Case:
    world = DisputesWorld()
    receipts = [world.promise(jobs_of(FIRST, n), FIRST, 5).receipt for n in (1, 2)]
    fault = double_receipt(*receipts)
    assert fault is not None
    return world, fault


def said_twice() -> Case:
    world = DisputesWorld()
    world.open(FIRST)
    members = tuple(member.address for member in world.members)
    context = Context(world.evaluations.domain, NETWORK, FIRST, members)
    pair = []
    for digest in (sha256(b"a"), sha256(b"b")):
        signed = world.members[0].sign(context.statement(Kind.VOTE, 3, digest))
        pair.append((digest, signed))
    return world, from_evidence(context, double(context, 0, Kind.VOTE, 3, *pair))


def too_much() -> Case:
    reported = Reported()
    shares = reported.shares(FIRST)
    reported.report(FIRST, rows_of(shares))
    second = {key: (payee, 2 * amount) for key, (payee, amount) in shares.items()}
    key = node_key("n1")
    second[key] = (second[key][0], second[key][1] - 5)
    judged = reported.report(FIRST + 1, rows_of(second))
    return reported.world, next(find_report_faults(judged))


def reported(name: str, lie: Callable[[Reported], Judged]) -> Case:
    """The accusation of this name that a false report allows."""
    made = Reported()
    judged = lie(made)
    return made.world, next(f for f in find_report_faults(judged) if f.function == name)


def took_back() -> Case:
    def lie(made: Reported) -> Judged:
        shares = made.shares(FIRST)
        made.report(FIRST, rows_of(shares))
        second = {key: (payee, 2 * amount) for key, (payee, amount) in shares.items()}
        second[node_key("n1")] = (second[node_key("n1")][0], 1)
        return made.report(FIRST + 1, rows_of(second))

    return reported("decreased", lie)


def false_total() -> Case:
    return reported(
        "bad_claims", lambda made: made.report(FIRST, rows_of(made.shares(FIRST)), total=5)
    )


def claims_out_of_order() -> Case:
    def lie(made: Reported) -> Judged:
        rows = rows_of(made.shares(FIRST))
        rows[1], rows[2] = rows[2], rows[1]
        return made.report(FIRST, rows)

    return reported("disordered_claims", lie)


def committee() -> tuple[DisputesWorld, Context, Callable[[Kind, int, bytes], bytes]]:
    """A world, its first epoch's context, and how its first member signs."""
    world = DisputesWorld()
    world.open(FIRST)
    members = tuple(member.address for member in world.members)
    context = Context(world.evaluations.domain, NETWORK, FIRST, members)
    return (
        world,
        context,
        lambda *what: world.members[0].sign(context.statement(*what)),
    )


def attempted_twice() -> Case:
    world, context, sign = committee()
    attempt = sha256(b"attempt")
    pair = [
        (digest, sign(Kind.REPORT_SIG, 0, report_digest(attempt, digest)))
        for digest in (sha256(b"a"), sha256(b"b"))
    ]
    return world, from_evidence(context, double_attempt(context, 0, attempt, *pair))


def forgotten_vote() -> Case:
    world, context, sign = committee()
    voted, lock = sha256(b"a"), (1, sha256(b"b"))
    vote = (3, voted, sign(Kind.VOTE, 3, voted))
    change = (5, lock, sign(Kind.VIEW_CHANGE, 5, lock_digest(lock)))
    return world, from_evidence(context, amnesia(context, 0, vote, change))


def reported_twice() -> Case:
    world, _, _ = committee()
    one = Report(NETWORK, FIRST, *[sha256(bytes([i])) for i in range(7)], 5, bytes(32))
    member, domain = world.members[0], world.evaluations.domain
    pair = [(each, member.sign(each.digest(domain))) for each in (one, replace(one, total=6))]
    fault = double_report(member.address, *pair)
    assert fault is not None
    return world, fault


CASES: tuple[Callable[[], Case], ...] = (
    made_up_sum,
    made_up_job_sum,
    out_of_order,
    counted_twice,
    dropped_job,
    numbered_twice,
    said_twice,
    too_much,
    took_back,
    false_total,
    claims_out_of_order,
    attempted_twice,
    forgotten_vote,
    reported_twice,
)
