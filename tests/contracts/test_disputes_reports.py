"""Proofs against evaluators: wrong rewards, and two statements where one is allowed."""

from dataclasses import replace

import numpy as np
import pytest
from contract_world import (
    CHALLENGE_S,
    EVALUATOR_STAKE,
    FIRST,
    NETWORK,
    Report,
    account,
    key,
    refuses,
)
from disputes_world import DisputesWorld, jobs_of
from published_epochs import inflated_node_tree, payee_of

from meridian.contracts.deployment import Terms as ScheduleTerms
from meridian.disputes.commitment_faults import find_faults
from meridian.disputes.double_statements import double_report, from_evidence
from meridian.disputes.report_faults import (
    Judged,
    ReportedClaims,
    Terms,
    find_report_faults,
)
from meridian.disputes.ways import claim_row_tree, node_row_tree, path_words
from meridian.ephemera.broadcast import slot as broadcast
from meridian.ephemera.context import Context, Kind
from meridian.ephemera.evidence import amnesia, double, double_broadcast
from meridian.ephemera.evidence import double_report as double_attempt
from meridian.ephemera.message import lock_digest, report_digest
from meridian.errors import InvalidInput
from meridian.primitives.hashing import REWARD_ROOT, sha256, tagged
from meridian.primitives.ids import node_key
from meridian.reward.members import pay_key

BUDGET = 100_000
BURNED_PPM = 100_000


def row(key_: bytes, payee: bytes, amount: int) -> bytes:
    return key_ + payee + amount.to_bytes(16, "big")


def tree_root(rows):
    matrix = np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(rows), 68)
    return tagged(REWARD_ROOT, len(rows).to_bytes(8, "big"), claim_row_tree(matrix).tree.root)


class Reported:
    """A world with one published epoch after the other, whose reports say what a test wants."""

    def __init__(self, rule=1, nodes=4, evaluators_ppm=0, aggregators_ppm=0, **changes):
        terms = ScheduleTerms(rule, evaluators_ppm, aggregators_ppm)
        self.world = DisputesWorld(terms=terms, **changes)
        self.terms = Terms(rule, evaluators_ppm, aggregators_ppm)
        self.world.fund(FIRST, 10, BUDGET)
        self.nodes, self.previous = nodes, None

    def shares(self, epoch):
        """The right amounts by node key, rounded down."""
        jobs = jobs_of(epoch, self.nodes)
        weights = {name: len(rows) for name, rows in jobs.items()}
        budget = self.terms.node_budget(BUDGET)
        whole = sum(weights.values())
        return {
            node_key(name): (payee_of(name), budget * weight // whole)
            for name, weight in weights.items()
        }

    def report(self, epoch, rows, total=None):
        """Publish an epoch and have its report accepted with these claim rows."""
        world = self.world
        world.open(epoch)
        published = world.publish(world.published(epoch, jobs_of(epoch, self.nodes)))
        total = sum(int.from_bytes(r[52:], "big") for r in rows) if total is None else total
        report = world.report(epoch, tree_root(rows), total)
        world.submit(report)
        report_hash = report.digest(world.evaluations.domain)
        claims = ReportedClaims(report, rows, report_hash)
        signatures = {m.address: m.sign(report_hash) for m in world.members[:3]}
        members = tuple(m.address for m in world.members)
        judged = Judged(claims, self.previous, signatures, published, self.terms, BUDGET, members)
        self.previous = claims
        return judged


def rows_of(amounts):
    return [row(k, payee, amount) for k, (payee, amount) in sorted(amounts.items()) if amount]


def convicted(reported, judged, function, reason=""):
    fault = next(f for f in find_report_faults(judged) if f.function == function)
    assert reason in fault.reason
    outcome = reported.world.accuse(fault)
    verdicts = reported.world.verdicts(outcome)
    assert [v["kind"] for v in verdicts] == [4] * 3
    assert sum(v["stake"] for v in verdicts) == 3 * EVALUATOR_STAKE
    assert reported.world.evaluations.read("report_hash", judged.claims.report.epoch) == bytes(32)
    return fault


# ---- rewards


def test_right_amounts_rounded_either_way_prove_nothing():
    reported = Reported()
    amounts = reported.shares(FIRST)
    first = next(iter(sorted(amounts)))
    amounts[first] = (amounts[first][0], amounts[first][1] + (BUDGET * 1 % 10 != 0))
    judged = reported.report(FIRST, rows_of(amounts))
    assert list(find_report_faults(judged)) == []
    # Forced all the same, every place is refused.
    nodes = reported.world.published(FIRST, jobs_of(FIRST, 4))
    tree = node_row_tree(nodes.node_rows, nodes.lanes)
    for key_ in amounts:
        rest = (nodes.commitment.words, tree.place(key_).words)
        fault = judged.accuse("wrong_reward", (*judged.places(key_), *rest), "")
        assert refuses(reported.world.accuse, fault) == "proofs: right"
        fall = judged.accuse("decreased", judged.places(key_), "")
        assert refuses(reported.world.accuse, fall) == "proofs: right"


def test_too_much_for_one_node_voids_the_report_and_costs_every_signer_the_stake():
    reported = Reported()
    amounts = reported.shares(FIRST)
    thief = node_key("n1")
    amounts[thief] = (amounts[thief][0], amounts[thief][1] + 7)
    amounts[node_key("n2")] = (payee_of("n2"), 0)
    judged = reported.report(FIRST, rows_of(amounts))
    hunter, world = reported.world.hunter, reported.world
    before = world.balance(hunter)
    fault = convicted(reported, judged, "wrong_reward", "its share is")
    stakes = 3 * EVALUATOR_STAKE
    assert world.balance(hunter) - before == stakes - stakes * BURNED_PPM // 10**6
    assert world.balance(world.disputes.address) == stakes * BURNED_PPM // 10**6
    assert refuses(world.accuse, fault) == "proofs: report"
    assert world.registry.read("standing", FIRST) == 1


def test_the_evaluators_share_is_not_the_nodes():
    reported = Reported(evaluators_ppm=100_000)
    judged = reported.report(FIRST, rows_of(reported.shares(FIRST)))
    assert list(find_report_faults(judged)) == []
    greedy = Reported(evaluators_ppm=100_000)
    greedy.terms = Terms(1, 0, 0)
    rows = rows_of(greedy.shares(FIRST))
    greedy.terms = Terms(1, 100_000, 0)
    convicted(greedy, greedy.report(FIRST, rows), "wrong_reward", "its share is")


@pytest.mark.parametrize("rule", [2, 3, 4])
def test_every_rule_reads_its_sums(rule):
    reported = Reported(rule=rule)
    # All jobs of the sample have the lanes (7, 9): shares are as by number of jobs.
    judged = reported.report(FIRST, rows_of(reported.shares(FIRST)))
    assert list(find_report_faults(judged)) == []
    wrong = Reported(rule=rule)
    amounts = wrong.shares(FIRST)
    amounts[node_key("n0")] = (payee_of("n0"), amounts[node_key("n0")][1] - 5)
    convicted(wrong, wrong.report(FIRST, rows_of(amounts)), "wrong_reward", "its share is")


def few_and(reported, key_, payee, amount):
    """Little for every node, and a claim besides."""
    few = {k: (payee_, 100) for k, (payee_, _) in reported.shares(FIRST).items()}
    return rows_of({**few, key_: (payee, amount)})


@pytest.mark.parametrize(("who", "most"), [("member", 5_000), ("aggregator", 2_000)])
def test_pay_of_members_and_of_the_aggregator_is_no_theft_up_to_its_most(who, most):
    # Of 10,000 for the evaluators one of four gets half, if only two rows counted.
    for amount in (most, most + 1):
        reported = Reported(rule=0, evaluators_ppm=100_000, aggregators_ppm=20_000)
        world = reported.world
        paid = {"member": world.members[0].address, "aggregator": world.aggregators[0]}[who]
        judged = reported.report(FIRST, few_and(reported, pay_key(paid), paid, amount))
        if amount > most:
            convicted(reported, judged, "wrong_reward", "no member is paid so much")
            continue
        assert list(find_report_faults(judged)) == []
        tree = node_row_tree(judged.epoch.node_rows, judged.epoch.lanes)
        rest = (judged.epoch.commitment.words, tree.place(pay_key(paid)).words)
        forced = judged.accuse("wrong_reward", (*judged.places(pay_key(paid)), *rest), "")
        assert refuses(world.accuse, forced) == "proofs: right"


def test_pay_that_goes_to_another_account_is_theft():
    reported = Reported(rule=0, evaluators_ppm=100_000)
    key_ = pay_key(reported.world.members[0].address)
    rows = few_and(reported, key_, account("thief"), 5)
    convicted(reported, reported.report(FIRST, rows), "wrong_reward", "no member")


def test_a_strangers_claim_is_proven_without_any_rule():
    reported = Reported(rule=0)
    rows = few_and(reported, sha256(b"thief"), account("thief"), 9)
    convicted(reported, reported.report(FIRST, rows), "wrong_reward", "no member")


def test_another_payee_is_proven_without_any_rule():
    reported = Reported(rule=0)
    amounts = reported.shares(FIRST)
    amounts[node_key("n1")] = (account("thief"), amounts[node_key("n1")][1])
    convicted(reported, reported.report(FIRST, rows_of(amounts)), "wrong_reward", "another account")


def test_without_a_rule_amounts_prove_nothing():
    reported = Reported(rule=0)
    amounts = {k: (payee, 1) for k, (payee, _) in reported.shares(FIRST).items()}
    judged = reported.report(FIRST, rows_of(amounts))
    assert list(find_report_faults(judged)) == []


def test_what_a_report_takes_back_is_proven_against_the_report_before():
    reported = Reported()
    first = reported.shares(FIRST)
    reported.report(FIRST, rows_of(first))
    second = {k: (payee, amount * 2) for k, (payee, amount) in first.items()}
    second[node_key("n1")] = (payee_of("n1"), 1)
    judged = reported.report(FIRST + 1, rows_of(second))
    fault = next(f for f in find_report_faults(judged) if f.function == "decreased")
    other = list(fault.arguments)
    other[2] = judged.claims.report.values
    wrong = replace(fault, arguments=tuple(other))
    assert refuses(reported.world.accuse, wrong) == "proofs: previous"
    convicted(reported, judged, "decreased")


def test_a_claim_that_vanishes_is_proven():
    reported = Reported()
    first = reported.shares(FIRST)
    reported.report(FIRST, rows_of(first))
    second = {k: (payee, amount * 2) for k, (payee, amount) in first.items()}
    del second[node_key("n2")]
    convicted(reported, reported.report(FIRST + 1, rows_of(second)), "decreased", "now has 0")


def test_the_amount_is_what_the_report_adds_to_the_one_before():
    reported = Reported()
    first = reported.shares(FIRST)
    reported.report(FIRST, rows_of(first))
    second = {k: (payee, amount * 2) for k, (payee, amount) in first.items()}
    judged = reported.report(FIRST + 1, rows_of(second))
    assert list(find_report_faults(judged)) == []


def test_claims_out_of_order_and_wrong_totals_are_proven():
    reported = Reported()
    rows = rows_of(reported.shares(FIRST))
    rows[1], rows[2] = rows[2], rows[1]
    judged = reported.report(FIRST, rows)
    convicted(reported, judged, "disordered_claims")
    other = Reported()
    rows = rows_of(other.shares(FIRST))
    judged = other.report(FIRST, rows, total=5)
    fault = convicted(other, judged, "bad_claims", "not 5")
    assert fault.arguments[2] == 4


def test_right_claim_trees_prove_nothing():
    reported = Reported()
    rows = rows_of(reported.shares(FIRST))
    judged = reported.report(FIRST, rows)
    tree = judged.claims.tree
    world = reported.world
    ordered = judged.accuse("disordered_claims", ((4, tree.neighbours(1).words),), "")
    assert refuses(world.accuse, ordered) == "proofs: right"
    alone = judged.accuse("disordered_claims", ((4, tree.alone(1).words),), "")
    assert refuses(world.accuse, alone) == "proofs: neighbours"
    spot = tree.spot(0)
    claimed = 1 << 128 | int.from_bytes(spot.row[52:], "big")
    path = path_words(spot.path)
    right = judged.accuse("bad_claims", (4, spot.row, claimed, spot.sides, path), "")
    assert refuses(world.accuse, right) == "proofs: right"
    made_up = judged.accuse("bad_claims", (4, spot.row, claimed + 1, spot.sides, path), "")
    assert refuses(world.accuse, made_up) == "proofs: reward root"


def test_other_signers_of_a_wrong_report_are_named_later():
    reported = Reported()
    amounts = reported.shares(FIRST)
    amounts[node_key("n1")] = (payee_of("n1"), 1)
    judged = reported.report(FIRST, rows_of(amounts))
    world = reported.world
    some = {m.address: m.sign(judged.claims.report_hash) for m in world.members[:1]}
    report_hash = judged.claims.report_hash
    rest = world.signatures(report_hash, world.members[1:3])
    send = world.report_proofs.send
    assert refuses(send, "signed_wrong", report_hash, rest) == "proofs: report"
    (fault,) = find_report_faults(replace(judged, signatures=some))
    assert len(world.verdicts(world.accuse(fault))) == 1
    outcome = send("signed_wrong", report_hash, rest, sender=world.hunter)
    assert [v["stake"] for v in world.verdicts(outcome)] == [EVALUATOR_STAKE] * 2
    assert world.verdicts(send("signed_wrong", report_hash, rest)) == []  # said already
    assert refuses(send, "signed_wrong", report_hash, []) == "proofs: signature"
    stranger = world.signatures(report_hash, [key("stranger")])
    assert refuses(send, "signed_wrong", report_hash, stranger) == "proofs: member"
    assert refuses(send, "signed_wrong", report_hash, rest[::-1]) == "proofs: signature"


def test_after_the_unlock_signers_are_punished_and_the_report_stands():
    reported = Reported()
    amounts = reported.shares(FIRST)
    amounts[node_key("n1")] = (payee_of("n1"), 1)
    judged = reported.report(FIRST, rows_of(amounts))
    reported.world.now_s += CHALLENGE_S
    (fault,) = find_report_faults(judged)
    assert len(reported.world.verdicts(reported.world.accuse(fault))) == 3
    report_hash = reported.world.evaluations.read("report_hash", FIRST)
    assert report_hash == judged.claims.report_hash


def test_with_two_commitments_amounts_cannot_be_judged():
    reported = Reported(aggregators=2)
    world = reported.world
    world.open(FIRST)
    world.publish(world.published(FIRST, {}, 1), at=1)
    amounts = reported.shares(FIRST)
    amounts[node_key("n1")] = (payee_of("n1"), 1)
    judged = reported.report(FIRST, rows_of(amounts))
    (fault,) = find_report_faults(judged)
    assert refuses(world.accuse, fault) == "proofs: commitment"
    later = list(fault.arguments)
    later[6] = world.published(FIRST + 1, {}).commitment.words
    wrong = replace(fault, arguments=tuple(later))
    assert refuses(world.accuse, wrong) == "proofs: epoch"


def test_a_replaced_commitment_is_judged_like_the_only_one():
    reported = Reported(aggregators=2)
    world = reported.world
    world.open(FIRST)
    lie, hashed = inflated_node_tree(world.published(FIRST, jobs_of(FIRST, 4), 1), 1, 0, 5)
    world.publish(lie, hashed, 1)
    (fault,) = find_faults(lie)
    world.accuse(fault)
    amounts = reported.shares(FIRST)
    amounts[node_key("n1")] = (payee_of("n1"), 1)
    convicted(reported, reported.report(FIRST, rows_of(amounts)), "wrong_reward")


def test_rows_that_are_not_the_reports_are_not_judged():
    reported = Reported()
    judged = reported.report(FIRST, rows_of(reported.shares(FIRST)))
    claims = ReportedClaims(judged.claims.report, [], judged.claims.report_hash)
    with pytest.raises(InvalidInput, match="claims"):
        list(find_report_faults(replace(judged, claims=claims)))
    with pytest.raises(InvalidInput, match="previous"):
        list(find_report_faults(replace(judged, before=judged.claims)))


# ---- two statements where one is allowed


@pytest.fixture
def committee():
    world = DisputesWorld()
    world.open(FIRST)
    members = tuple(m.address for m in world.members)
    return world, Context(world.evaluations.domain, NETWORK, FIRST, members)


def said(world, context, kind, view, digest):
    """A statement of member 0 as evidence takes it."""
    return digest, world.members[0].sign(context.statement(kind, view, digest))


def test_two_statements_of_every_kind_that_is_signed_once_are_proven():
    for kind in (Kind.ROW, Kind.HAVE, Kind.PROPOSE, Kind.ECHO, Kind.VOTE, Kind.VIEW_CHANGE):
        world = DisputesWorld()
        world.open(FIRST)
        members = tuple(m.address for m in world.members)
        context = Context(world.evaluations.domain, NETWORK, FIRST, members)
        view = 0 if kind in {Kind.ROW, Kind.HAVE} else 3
        pair = [said(world, context, kind, view, sha256(bytes([i]))) for i in range(2)]
        fault = from_evidence(context, double(context, 0, kind, view, *pair))
        (verdict,) = world.verdicts(world.accuse(fault))
        assert (verdict["kind"], verdict["stake"]) == (5, EVALUATOR_STAKE)
        assert world.registry.read("standing", FIRST) == 3


def test_statements_that_may_differ_prove_nothing(committee):
    world, context = committee
    pair = [said(world, context, Kind.VOTE, 3, sha256(bytes([i]))) for i in range(2)]
    fault = from_evidence(context, double(context, 0, Kind.VOTE, 3, *pair))
    digest, kind, view, first, one, second, other = fault.arguments
    send = world.report_proofs.send
    for refused, reason in (
        ((digest, 6, view, first, one, second, other), "proofs: kind"),
        ((digest, 9, view, first, one, second, other), "proofs: kind"),
        ((digest, 1, view, first, one, second, other), "proofs: view"),
        ((digest, kind, view, first, one, first, one), "proofs: right"),
        ((digest, kind, view + 1, first, one, second, other), "proofs: signature"),
        ((digest, kind, view, first, (0, 0), second, (0, 0)), "proofs: signature"),
    ):
        assert refuses(send, "double_statement", *refused) == reason
    world.accuse(fault)


def test_two_reports_in_one_attempt_are_proven(committee):
    world, context = committee
    attempt = sha256(b"attempt")
    pair = []
    for i in range(2):
        digest = sha256(bytes([i]))
        signed = context.statement(Kind.REPORT_SIG, 0, report_digest(attempt, digest))
        pair.append((digest, world.members[0].sign(signed)))
    fault = from_evidence(context, double_attempt(context, 0, attempt, *pair))
    same = list(fault.arguments)
    same[4:6] = same[2:4]
    refused = replace(fault, arguments=tuple(same))
    assert refuses(world.accuse, refused) == "proofs: right"
    assert world.verdicts(world.accuse(fault))[0]["kind"] == 5


@pytest.mark.parametrize("lock", [None, (1, sha256(b"a")), (3, sha256(b"b"))])
def test_a_forgotten_vote_is_proven(committee, lock):
    world, context = committee
    voted = sha256(b"a")
    vote = (3, *said(world, context, Kind.VOTE, 3, voted))
    _, change = said(world, context, Kind.VIEW_CHANGE, 5, lock_digest(lock))
    fault = from_evidence(context, amnesia(context, 0, vote, (5, lock, change)))
    assert world.verdicts(world.accuse(fault))[0]["kind"] == 5


def test_a_remembered_vote_proves_nothing(committee):
    world, context = committee
    voted = sha256(b"a")
    _, vote = said(world, context, Kind.VOTE, 3, voted)
    words = lambda s: (int.from_bytes(s[:32], "big"), int.from_bytes(s[32:], "big"))  # noqa: E731
    for view, lock, encoded, reason in (
        (5, (3, voted), b"\x01" + bytes(3) + b"\x03" + voted, "proofs: right"),
        (5, (4, sha256(b"b")), b"\x01" + bytes(3) + b"\x04" + sha256(b"b"), "proofs: right"),
        (3, None, b"\x00", "proofs: view"),
        (5, None, b"\x02", "proofs: lock"),
        (5, None, b"", "proofs: lock"),
        (5, None, b"\x00" + bytes(36), "proofs: lock"),
    ):
        _, change = said(world, context, Kind.VIEW_CHANGE, view, lock_digest(lock))
        arguments = (context.digest, 3, voted, words(vote), view, encoded, words(change))
        assert refuses(world.report_proofs.send, "amnesia", *arguments) == reason


def test_two_reports_from_one_block_are_proven_and_from_two_blocks_not(committee):
    world, _ = committee
    base = Report(NETWORK, FIRST, *[sha256(bytes([i])) for i in range(7)], 5, bytes(32))
    member, domain = world.members[0], world.evaluations.domain

    def signed(report):
        return report, member.sign(report.digest(domain))

    other = replace(base, total=6)
    again = replace(other, block_hash=sha256(b"another term"))
    fault = double_report(member.address, signed(base), signed(other))
    assert double_report(member.address, signed(base), signed(again)) is None
    assert double_report(member.address, signed(base), signed(base)) is None
    arguments = list(fault.arguments)
    for place, report, reason in ((2, again, "proofs: reports"), (2, base, "proofs: right")):
        changed = [*arguments]
        changed[place] = report.values
        assert refuses(world.report_proofs.send, "double_report", *changed) == reason
    assert world.verdicts(world.accuse(fault))[0]["guilty"] == "0x" + member.address.hex()


def test_evidence_about_the_broadcast_is_not_for_the_chain(committee):
    world, context = committee
    slot = broadcast.Slot(1, 0, 1)
    pair = []
    for i in range(2):
        digest = sha256(bytes([i]))
        signed = broadcast.statement(context, broadcast.Kind.ECHO, slot, digest)
        pair.append((digest, world.members[0].sign(signed)))
    evidence = double_broadcast(context, 0, broadcast.Kind.ECHO, slot, *pair)
    with pytest.raises(InvalidInput, match="do not judge"):
        from_evidence(context, evidence)
