"""Challenges for withheld data, and cases before the arbiter: bonds, deadlines, and what waits meanwhile."""

from dataclasses import replace

import pytest
from contract_world import (
    CHALLENGE_S,
    EPOCH_S,
    EVALUATOR_STAKE,
    EXIT_DELAY_S,
    FIRST,
    ClaimTree,
    World,
    account,
    refuses,
)
from disputes_world import (
    AGGREGATOR_STAKE,
    BOND,
    BURN_PPM,
    REFEREES,
    RESPONSE_S,
    VOTING_S,
    DisputesWorld,
    jobs_of,
)
from published_epochs import inflated_node_tree, payee_of

from meridian.contracts.deployment import plan
from meridian.disputes.commitment_faults import challenge_job, challenge_node, find_faults
from meridian.disputes.ways import job_row_tree, node_row_tree, path_words
from meridian.primitives.ids import ZERO_ADDRESS, address_text

NOWHERE = bytes(32)


@pytest.fixture
def world():
    made = DisputesWorld()
    made.fund(FIRST, 5, 1000)
    made.open(FIRST)
    return made


@pytest.fixture
def epoch(world):
    return world.publish(world.published(FIRST, jobs_of(FIRST, 7)))


def nodes_of(epoch):
    return node_row_tree(epoch.node_rows, epoch.lanes)


def answer(world, epoch, node, job=None, **options):
    tree = nodes_of(epoch)
    arguments = [epoch.commitment.words, node, tree.rows[node], path_words(tree.tree.path(node))]
    if job is None:
        arguments += [0, b"", []]
    else:
        jobs = job_row_tree(epoch.job_rows[node], epoch.lanes)
        arguments += [job, jobs.rows[job], path_words(jobs.tree.path(job))]
    return world.disputes.send("answer", *arguments, **options)


def reported(world, amount=900):
    tree = ClaimTree({"n1": (payee_of("n1"), amount)})
    world.submit(world.report(FIRST, tree.root, tree.total))
    return tree


def pledges(world):
    """What the contract holds beyond its open bonds: what was burned."""
    return world.balance(world.disputes.address) - world.disputes.read("locked")


# ---- challenges


@pytest.mark.parametrize("job", [None, 0, 2])
def test_an_answer_gives_the_bond_to_the_aggregator_and_ends_the_matter(world, epoch, job):
    place = [len(rows) for rows in epoch.job_rows].index(5)
    c, nodes = epoch.commitment, nodes_of(epoch)
    fault = challenge_node(c, place) if job is None else challenge_job(c, nodes, place, job)
    outcome = world.accuse(fault)
    (event,) = outcome.events
    assert (event.name, event.args["until"]) == ("Opened", world.now_s + RESPONSE_S)
    assert world.disputes.read("open_challenge", outcome.value) == (
        address_text(world.hunter),
        world.now_s + RESPONSE_S,
    )
    assert refuses(world.accuse, fault) == "disputes: challenged"
    before = world.balance(world.aggregators[0])
    (event,) = answer(world, epoch, place, job).events
    assert event.name == "Answered"
    assert world.balance(world.aggregators[0]) - before == BOND
    assert world.disputes.read("open_challenge", outcome.value) == (address_text(ZERO_ADDRESS), 0)
    assert refuses(answer, world, epoch, place, job) == "disputes: no challenge"
    assert refuses(world.accuse, fault) == "disputes: challenged"  # answered once for all
    resolve = ("resolve", c.words, place, job or 0, job is not None)
    assert refuses(world.disputes.send, *resolve) == "disputes: no challenge"
    assert world.balance(world.disputes.address) == 0


def test_silence_costs_the_stake_and_gives_the_bond_back(world, epoch):
    before = world.balance(world.hunter)
    world.accuse(challenge_node(epoch.commitment, 3))
    resolve = ("resolve", epoch.commitment.words, 3, 0, False)
    world.now_s += RESPONSE_S
    assert refuses(world.disputes.send, *resolve) == "disputes: early"
    world.now_s += 1
    assert refuses(answer, world, epoch, 3) == "disputes: late"
    outcome = world.disputes.send(*resolve)
    (verdict,) = world.verdicts(outcome)
    assert (verdict["kind"], verdict["stake"]) == (6, AGGREGATOR_STAKE)
    burned = AGGREGATOR_STAKE * BURN_PPM // 10**6
    assert world.balance(world.hunter) - before == AGGREGATOR_STAKE - burned
    assert pledges(world) == burned
    assert world.commitments.read("standing", FIRST) == 0


def test_claims_wait_for_a_challenge_and_a_late_resolve_still_voids(world, epoch):
    tree = reported(world)
    world.now_s += CHALLENGE_S - 1
    world.accuse(challenge_node(epoch.commitment, 3))
    world.now_s += RESPONSE_S + 1
    assert refuses(world.claim, tree.claim(FIRST, "n1")) == "rewards: locked"
    world.disputes.send("resolve", epoch.commitment.words, 3, 0, False)
    assert refuses(world.claim, tree.claim(FIRST, "n1")) == "rewards: unreported"


def test_nobody_resolves_and_the_claims_are_paid_in_the_end(world, epoch):
    tree = reported(world)
    world.accuse(challenge_node(epoch.commitment, 3))
    world.now_s += CHALLENGE_S + 2 * RESPONSE_S
    world.claim(tree.claim(FIRST, "n1"))
    outcome = world.disputes.send("resolve", epoch.commitment.words, 3, 0, False)
    assert len(world.verdicts(outcome)) == 1  # the stake goes, the payment stands
    assert world.evaluations.read("report_hash", FIRST) != bytes(32)


def test_a_challenge_over_a_void_commitment_gives_the_bond_back(world):
    lie, hashed = inflated_node_tree(world.published(FIRST, jobs_of(FIRST, 7)), 1, 0, 5)
    world.publish(lie, hashed)
    challenge = challenge_node(lie.commitment, 3)
    before = world.balance(account("other"))
    world.give(account("other"), before + BOND)
    world.accuse(challenge, sender=account("other"))
    (fault,) = find_faults(lie)
    world.accuse(fault)
    outcome = world.disputes.send("resolve", lie.commitment.words, 3, 0, False)
    assert world.verdicts(outcome) == []
    assert world.balance(account("other")) == before + BOND
    assert world.disputes.read("locked") == 0


def test_bad_challenges_are_refused(world, epoch):
    c, nodes = epoch.commitment, nodes_of(epoch)
    fault = challenge_node(c, 0)

    def refused(*arguments, value=BOND):
        return refuses(world.disputes.send, "challenge", *arguments, value=value)

    assert refused(*fault.arguments, value=BOND - 1) == "disputes: bond"
    assert refused(*fault.arguments, value=0) == "disputes: bond"
    assert refused(c.words, 7, b"", [], 0) == "disputes: index"
    assert refused(c.words, 0, b"", [], 1) == "disputes: index"
    assert refused(c.words, 0, b"", [(bytes(32), 0)], 0) == "disputes: index"
    assert refused(*challenge_job(c, nodes, 0, 9).arguments) == "disputes: index"
    other = replace(c, manifest=bytes(32))
    assert refused(*challenge_node(other, 0).arguments) == "disputes: commitment"
    wrong = list(challenge_job(c, nodes, 1, 0).arguments)
    wrong[1] = 2
    assert refused(*wrong) in {"trees: root", "trees: path"}


def test_a_wrong_answer_is_refused(world, epoch):
    place = [len(rows) for rows in epoch.job_rows].index(5)
    c, nodes = epoch.commitment, nodes_of(epoch)
    world.accuse(challenge_job(c, nodes, place, 2))
    assert refuses(answer, world, epoch, place, 1) == "disputes: no challenge"
    assert refuses(answer, world, epoch, place) == "disputes: no challenge"
    jobs = job_row_tree(epoch.job_rows[place], epoch.lanes)
    path = path_words(nodes.tree.path(place))
    arguments = [
        c.words,
        place,
        nodes.rows[place],
        path,
        2,
        jobs.rows[1],
        path_words(jobs.tree.path(2)),
    ]
    assert refuses(world.disputes.send, "answer", *arguments) == "trees: job root"
    loose = [c.words, place, nodes.rows[place], path, 0, b"", [(bytes(32), 0)]]
    assert refuses(world.disputes.send, "answer", *loose) == "disputes: index"
    answer(world, epoch, place, 2)


def test_there_is_nothing_to_challenge_in_an_unlocked_or_abandoned_epoch(world, epoch):
    reported(world)
    world.now_s += CHALLENGE_S
    assert refuses(world.accuse, challenge_node(epoch.commitment, 0)) == "disputes: unlocked"
    other = DisputesWorld(report_seconds=EPOCH_S)
    other.open(FIRST)
    given_up = other.publish(other.published(FIRST, jobs_of(FIRST, 2)))
    other.now_s += 10 * EPOCH_S
    other.evaluations.send("abandon", FIRST)
    fault = challenge_node(given_up.commitment, 0)
    assert refuses(other.accuse, fault) == "disputes: abandoned"


# ---- cases


def escalate(world, **options):
    arguments = (FIRST, b"\x11" * 32, "ipfs://accusation")
    options = {"sender": world.hunter, "value": BOND} | options
    return world.disputes.send("escalate", *arguments, **options)


def rule(world, case, guilty=(), wrong=(), voids=False, voters=3):
    return world.referees.send(
        "decide",
        case,
        list(guilty),
        list(wrong),
        voids,
        world.votes(case, guilty, wrong, voids, voters),
    )


def test_an_upheld_case_slashes_voids_and_gives_the_bond_back(world, epoch):
    reported(world)
    before = world.balance(world.hunter)
    outcome = escalate(world)
    assert {"CaseOpened", "Escalated"} <= {event.name for event in outcome.events}
    guilty = sorted(member.address for member in world.members[:2])
    ruling = rule(world, outcome.value, guilty, [epoch.commitment.words], voids=True)
    kinds = [(v["kind"], v["guilty"]) for v in world.verdicts(ruling)]
    assert kinds == [
        (7, address_text(world.aggregators[0])),
        *((7, address_text(member)) for member in guilty),
    ]
    taken = AGGREGATOR_STAKE + 2 * EVALUATOR_STAKE
    burned = AGGREGATOR_STAKE // 10 + 2 * EVALUATOR_STAKE // 10
    assert world.balance(world.hunter) - before == taken - burned
    assert pledges(world) == burned
    assert world.evaluations.read("report_hash", FIRST) == bytes(32)
    assert world.commitments.read("standing", FIRST) == 0
    assert refuses(rule, world, outcome.value, guilty) == "referees: no case"


def test_a_dismissed_case_burns_a_part_of_the_bond(world, epoch):
    before = world.balance(world.hunter)
    case = escalate(world).value
    rule(world, case)
    burned = BOND * BURN_PPM // 10**6
    assert before - world.balance(world.hunter) == burned == pledges(world)
    assert world.disputes.read("locked") == 0
    assert world.commitments.read("standing", FIRST) == 1


def test_a_case_without_a_ruling_is_dismissed_after_its_time(world, epoch):
    tree = reported(world)
    world.now_s += CHALLENGE_S - 1
    case = escalate(world).value
    world.now_s += VOTING_S
    assert refuses(world.referees.send, "dismiss", case) == "referees: early"
    assert refuses(world.claim, tree.claim(FIRST, "n1")) == "rewards: locked"
    world.now_s += 1
    assert refuses(rule, world, case, voids=True) == "referees: late"
    world.referees.send("dismiss", case)
    assert refuses(world.referees.send, "dismiss", case) == "referees: no case"
    world.now_s += RESPONSE_S
    world.claim(tree.claim(FIRST, "n1"))


def test_a_case_that_its_arbiter_forgot_gives_the_whole_bond_back(world, epoch):
    before = world.balance(world.hunter)
    case = escalate(world).value
    world.now_s += VOTING_S + RESPONSE_S
    assert refuses(world.disputes.send, "expire", case) == "disputes: early"
    world.now_s += 1
    world.disputes.send("expire", case)
    assert world.balance(world.hunter) == before
    assert refuses(world.disputes.send, "expire", case) == "disputes: no case"
    assert refuses(world.referees.send, "dismiss", case) == "disputes: no case"


def test_a_ruling_stays_inside_its_epoch(world, epoch):
    later = world.publish(world.published(FIRST + 1, {}))
    case = escalate(world).value
    stranger = account("stranger")
    assert refuses(rule, world, case, [stranger]) == "disputes: member"
    assert refuses(rule, world, case, (), [later.commitment.words]) == "disputes: epoch"
    gone = replace(epoch.commitment, manifest=bytes(32))
    rule(world, case, (), [gone.words])  # it does not stand: nobody is guilty of it
    assert world.registry.read("standing", FIRST) == 4


def test_bad_escalations_are_refused(world, epoch):
    assert refuses(escalate, world, value=BOND + 1) == "disputes: bond"
    send, options = world.disputes.send, {"value": BOND}
    assert refuses(send, "escalate", FIRST + 9, NOWHERE, "", **options) == "disputes: epoch"
    reported(world)
    world.now_s += CHALLENGE_S
    assert refuses(escalate, world) == "disputes: unlocked"


def test_without_an_arbiter_there_are_no_cases():
    world = DisputesWorld(members=0)
    terms = world.dispute_terms
    _, steps = plan(world.parameters, account("deployer"), 0)
    arguments = list(steps[4].arguments)
    arguments[6] = ZERO_ADDRESS
    address = world.deploy("Disputes", *arguments)
    data = world.disputes.encode("escalate", FIRST, NOWHERE, "")
    refused = refuses(world.execute, address, data, None, terms.bond_atto, None)
    assert refused == "disputes: arbiter"


def test_an_arbiter_that_asks_for_too_much_time_is_refused():
    world = DisputesWorld(
        dispute_terms=replace(
            DisputesWorld(members=0).dispute_terms, voting_seconds=EXIT_DELAY_S + 1
        )
    )
    world.open(FIRST)
    assert refuses(escalate, world) == "disputes: arbiter"


# ---- deployment


def test_wrong_terms_are_refused():
    world = DisputesWorld(members=0)
    _, steps = plan(world.parameters, account("deployer"), 0)
    good = list(steps[4].arguments)
    for place, value, reason in (
        (1, ZERO_ADDRESS, "disputes: wiring"),
        (3, ZERO_ADDRESS, "disputes: wiring"),
        (4, ZERO_ADDRESS, "disputes: wiring"),
        (5, ZERO_ADDRESS, "disputes: wiring"),
        (8, 0, "disputes: delay"),
        (8, EXIT_DELAY_S - CHALLENGE_S + 1, "disputes: delay"),
        (9, 10**6 + 1, "disputes: burn"),
        (10, ZERO_ADDRESS, "disputes: burn"),
    ):
        wrong = list(good)
        wrong[place] = value
        assert refuses(world.deploy, "Disputes", *wrong) == reason
    assert isinstance(world, World)


def test_the_judges_know_each_other():
    world = DisputesWorld(members=0)
    at = world.addresses
    for getter in (
        "registry",
        "commitments",
        "evaluations",
        "rewards",
        "commitment_proofs",
        "report_proofs",
    ):
        assert world.disputes.read(getter) == address_text(getattr(at, getter))
    assert world.disputes.read("arbiter") == address_text(at.referees)
    for judge in (world.commitment_proofs, world.report_proofs, world.referees):
        assert judge.read("disputes") == address_text(at.disputes)
    assert world.disputes.read("bond") == BOND
    assert world.disputes.read("response_seconds") == RESPONSE_S
    assert world.disputes.read("burn_ppm") == BURN_PPM
    assert world.disputes.read("case_count") == 0
    assert world.disputes.read("cases", 1)[0] == address_text(ZERO_ADDRESS)
    assert [address_text(k.address) for k in REFEREES] == list(world.referees.read("referees"))
