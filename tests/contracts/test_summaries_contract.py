"""The summary model's contract: who may say what and when, what a challenge asks for, and who is paid."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from alone_world import REFUSES_MONEY, names
from contract_world import ETHER, Refused, account, refuses
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from summary_world import (
    BOND,
    CALENDAR,
    END_S,
    EPOCH,
    STAKE,
    START_S,
    TERMS,
    SummaryNode,
    SummaryWorld,
    job_row,
    jobs_of,
    matrix,
)

from meridian.contracts.calldata import signature_words
from meridian.disputes.ways import NO_GAP
from meridian.errors import InvalidInput
from meridian.models.plain_sums import shares
from meridian.models.summary import PAID, SUMMARY, VOIDED
from meridian.models.summary_sampling import points
from meridian.models.summary_tree import NodeJobs, check_answer
from meridian.primitives.eip712 import digest
from meridian.primitives.hashing import sha256

ARTEFACT = Path(__file__).parents[2] / "src/meridian/contracts/artefacts/Summaries.json"


def nodes(*values):
    return [SummaryNode(f"n{at}", jobs_of(f"n{at}", list(one))) for at, one in enumerate(values)]


@pytest.fixture
def world():
    return SummaryWorld()


@pytest.fixture
def committed(world):
    """Three nodes of weights 6, 9 and 3 that have committed; the epoch pays 1 ether."""
    world.nodes = nodes([1, 2, 3], [1, 0, 2, 3, 3], [3])
    world.register(*world.nodes)
    world.send("fund", EPOCH, value=ETHER)
    world.commit(*world.nodes)
    return world


# ---- the honest way


def test_shares_are_paid_once_by_weight_after_the_window(committed):
    world = committed
    assert world.read("epoch_state", EPOCH) == (END_S, END_S, 3, 0, 18, ETHER)
    first, second, third = world.nodes
    assert refuses(world.claim, first) == "summaries: early"
    world.settle()
    assert world.claim(first).events[0].args == {
        "epoch": EPOCH, "node_key": first.key, "payee": "0x" + first.payee.hex(),
        "amount": ETHER * 6 // 18,
    }  # fmt: skip
    assert refuses(world.claim, first) == "summaries: record"
    entries = [(node.key, node.summary.words) for node in (second, third)]
    assert names(world.send("claim_many", EPOCH, entries)) == ["Paid", "Paid"]
    due = shares([node.summary.weight for node in world.nodes], ETHER)
    assert [world.balance(node.payee) for node in world.nodes] == due
    assert world.balance(world.contract_.address) == 3 * STAKE + ETHER - sum(due)
    assert world.read("record", EPOCH, first.key) == PAID


def test_a_node_may_commit_by_itself_and_others_by_a_relay(world):
    one, two = nodes([1], [2])
    world.register(one, two)
    commit = ("commit", EPOCH, one.key, one.summary.words)
    by_itself = {"sender": one.operator.address}
    assert refuses(world.send, *commit, **by_itself) == "summaries: early"
    world.now_s = END_S
    assert refuses(world.send, *commit) == "summaries: operator"
    world.send(*commit, **by_itself)
    assert refuses(world.send, *commit, **by_itself) == "summaries: committed"
    assert world.read("epoch_state", EPOCH)[:3] == (END_S, END_S + TERMS.commit_seconds, 1)
    assert names(world.commit(one, two)) == ["Summarised"]  # the first is passed over
    assert world.read("epoch_state", EPOCH)[:3] == (END_S, END_S, 2)
    assert world.read("record", EPOCH, one.key) == one.summary.record


def test_a_node_without_jobs_says_so_and_the_epoch_need_not_wait(world):
    one, idle = nodes([1, 2], [0])
    world.register(one, idle)
    world.send("fund", EPOCH, value=ETHER)
    world.commit(one, idle)
    assert world.read("epoch_state", EPOCH)[1:5] == (END_S, 2, 0, 3)
    assert refuses(world.challenge, idle) == "summaries: nothing"
    world.settle()
    assert refuses(world.claim, idle) == "summaries: nothing"
    world.claim(one)
    assert world.balance(one.payee) == ETHER


def test_an_epoch_closes_by_time_where_a_node_says_nothing(world):
    one, two = nodes([1], [2])
    world.register(one, two)
    world.commit(one)
    world.send("fund", EPOCH, value=1)
    world.now_s += TERMS.commit_seconds
    assert refuses(world.commit, two) == "summaries: closed"
    assert refuses(world.send, "fund", EPOCH, value=1) == "summaries: closed"
    world.challenge(one)


def test_nobody_can_close_an_epoch_on_others_by_numbers(world):
    honest, *many = nodes([1], [1], [1])
    world.register(honest, *many)
    world.commit(many[0])
    world.send("leave_node", many[0].key, sender=many[0].operator.address)
    (late,) = nodes([1])
    late.name = "late"
    world.register(late)
    assert refuses(world.commit, late) == "summaries: new"
    world.commit(many[1])
    world.now_s += TERMS.commit_seconds - 1
    world.commit(honest)
    assert world.read("epoch_state", EPOCH)[1] == world.now_s


def test_money_of_an_epoch_in_which_nothing_stands_goes_to_another(committed):
    world = committed
    for node in world.nodes:
        world.challenge(node)
    world.now_s += TERMS.answer_seconds + 1
    assert refuses(world.send, "roll", EPOCH, EPOCH + 1) == "summaries: challenged"
    for node in world.nodes:
        world.expire(node)
    assert refuses(world.send, "roll", EPOCH, EPOCH) == "summaries: closed"
    world.send("roll", EPOCH, EPOCH + 1)
    assert world.read("epoch_state", EPOCH + 1)[5] == ETHER
    assert refuses(world.send, "roll", EPOCH, EPOCH + 1) == "summaries: nothing"


def test_money_and_nodes_keep_within_their_bits(world):
    world.give(world.someone, 2**129)
    world.send("fund", EPOCH, value=2**128 - 1)
    assert refuses(world.send, "fund", EPOCH, value=1) == "summaries: amount"
    layout = json.loads(ARTEFACT.read_bytes())["layout"]["storage_layout"]
    slot = layout["summary_nodes"]["counts"]["slot"]
    world.env.set_storage("0x" + world.contract_.address.hex(), slot, (2**32 - 2) << 64)
    first, second = nodes([1], [1])
    assert refuses(world.register, first, second) == "summaries: full"
    world.register(first)


# ---- challenges


def test_an_answered_challenge_gives_the_bond_to_the_node(committed):
    world = committed
    node = world.nodes[1]
    event = world.challenge(node).events[0]
    assert event.args["deadline"] == world.now_s + TERMS.answer_seconds
    assert refuses(world.challenge, node) == "summaries: challenged"
    seed = world.draw(node)
    at = (EPOCH, node.key, world.challenger)
    assert refuses(world.send, "draw", *at) == "summaries: drawn"
    world.settle()
    assert refuses(world.claim, node) == "summaries: challenged"
    assert names(world.answer(node)) == ["Answered"]
    assert world.read("challenge_state", *at) == (True, 0, 0, seed)
    assert refuses(world.answer, node) == "summaries: no challenge"
    assert refuses(world.expire, node) == "summaries: no challenge"
    world.claim(node)
    assert world.read("credit", node.operator.address) == BOND
    world.send("collect", sender=node.operator.address)
    assert world.balance(node.operator.address) == BOND
    assert refuses(world.send, "collect", sender=node.operator.address) == "summaries: nothing"


def test_who_does_not_answer_loses_its_stake_and_its_summary(committed):
    world = committed
    node, honest = world.nodes[0], world.nodes[1]
    world.challenge(node)
    world.challenge(node, world.other)
    assert refuses(world.expire, node) == "summaries: early"
    world.draw(node)
    world.now_s += TERMS.answer_seconds
    assert refuses(world.expire, node) == "summaries: early"
    world.now_s += 1
    assert refuses(world.answer, node) == "summaries: late"
    (event,) = world.expire(node).events
    assert (event.name, event.args["stake"], event.args["weight"]) == ("Voided", STAKE, 6)
    assert world.read("credit", world.challenger) == BOND + STAKE // 2
    assert world.read("node", node.key)[2:] == (0, 0, True)
    assert world.read("record", EPOCH, node.key) == VOIDED
    # Another challenger of the same summary has been right, too: it gets its bond, not a stake.
    assert world.read("epoch_state", EPOCH)[3:5] == (1, 12)
    assert not world.expire(node, world.other).events
    assert world.read("credit", world.other) == BOND
    world.settle()
    assert refuses(world.claim, node) == "summaries: record"
    world.claim(honest)
    assert world.balance(honest.payee) == ETHER * 9 // 12
    assert refuses(world.send, "withdraw_node", node.key) == "summaries: locked"
    operator = {"sender": node.operator.address}
    assert refuses(world.send, "leave_node", node.key, **operator) == "summaries: left"
    commit = ("commit", EPOCH + 1, node.key, node.summary.words)
    assert refuses(world.send, *commit, **operator) == "summaries: left"


def test_challenges_come_in_their_time_with_their_bond(world):
    (node, silent) = nodes([1, 2], [1])
    world.register(node, silent)
    world.commit(node)
    assert refuses(world.challenge, node) == "summaries: early"
    world.now_s += TERMS.commit_seconds
    assert refuses(world.challenge, node, value=BOND - 1) == "summaries: bond"
    assert refuses(world.challenge, silent) == "summaries: record"
    other = replace(node.summary, weight=4)
    wrong = ("challenge", EPOCH, node.key, other.words)
    assert refuses(world.send, *wrong, value=BOND) == "summaries: record"
    assert (
        refuses(world.send, "draw", EPOCH, node.key, world.challenger) == "summaries: no challenge"
    )
    world.now_s += TERMS.challenge_seconds
    assert refuses(world.challenge, node) == "summaries: late"


def test_the_draw_needs_a_later_block_and_starts_again_when_nobody_fetched_the_hash(committed):
    world = committed
    node = world.nodes[1]
    world.challenge(node)
    at = (EPOCH, node.key, world.challenger)
    assert refuses(world.send, "draw", *at) == "summaries: draw"
    opened = world.read("challenge_state", *at)[1]
    world.next_block(257)
    assert refuses(world.answer, node, []) == "summaries: draw"
    (event,) = world.send("draw", *at).events
    assert (event.name, event.args["seed"]) == ("Drawn", bytes(32))
    assert world.read("challenge_state", *at)[1] == opened + 257
    seed = world.draw(node)
    world.challenge(node, world.other)
    world.challenge(world.nodes[2])
    assert len({seed, world.draw(node, world.other), world.draw(world.nodes[2])}) == 3
    for one, by in ((node, None), (node, world.other), (world.nodes[2], None)):
        world.answer(one, by=by)
    assert world.read("epoch_state", EPOCH)[3] == 0


def test_a_node_may_draw_with_its_answer(committed):
    world = committed
    node = world.nodes[2]  # of weight 3, and asked for 4 points: all of them are its one row
    world.challenge(node)
    world.next_block()
    shown = [node.jobs.show(0)] * TERMS.samples
    assert names(world.answer(node, shown)) == ["Drawn", "Answered"]


# ---- bad answers: the contract and its twin in Python say the same


def bad(world, node, shown):
    """The reason for which both refuse an answer."""
    reason = refuses(world.answer, node, shown)
    asked = points(world.seed(node), node.summary.weight, TERMS.samples)
    with pytest.raises(InvalidInput) as error:
        check_answer(node.summary, shown, asked, CALENDAR, EPOCH, TERMS.value_max)
    return reason, error.value.field


@pytest.fixture
def asked(committed):
    """The node of five jobs, challenged."""
    committed.node = committed.nodes[1]
    committed.challenge(committed.node)
    committed.shown = committed.node.jobs.answer(
        committed.draw(committed.node), committed.terms.samples
    )
    return committed


def test_answers_of_another_shape_are_refused(asked):
    world, node, shown = asked, asked.node, asked.shown
    first, *rest = shown
    assert bad(world, node, rest) == ("summaries: samples", "samples")
    last = next(gap for gap in shown if not gap.right)  # the point in the last part is in the last
    assert bad(world, node, [replace(last, index=3), *rest])[1] == "row"
    assert refuses(world.answer, node, [NO_GAP, *rest]) == "summaries: row"
    alone = replace(first, right=b"", lower=())
    assert bad(world, node, [alone, *rest]) == ("summaries: row", "row")
    assert (
        refuses(world.answer, node, [replace(first, left=first.left[:-1]), *rest]) == "trees: row"
    )
    assert refuses(world.answer, node, [replace(first, path=first.path[:-1]), *rest]) in {
        "trees: path", "trees: neighbours",
    }  # fmt: skip
    assert bad(world, node, [replace(first, right=first.left[:-1] + b"?"), *rest])[0] in {
        "trees: neighbours", "summaries: order",
    }  # fmt: skip
    world.answer(node, shown)


def test_a_row_that_was_not_committed_or_not_asked_for_is_refused(asked):
    world, node, shown = asked, asked.node, asked.shown
    assert bad(world, node, [shown[-1], *shown[1:]]) == ("summaries: point", "point")
    other = jobs_of("other", [1, 0, 2, 3, 3])
    strange = other.answer(world.seed(node), TERMS.samples)
    assert bad(world, node, strange) == ("summaries: root", "root")


def liar(world, rows):
    """A fourth node that commits to rows that no honest node would have, challenged and drawn."""
    node = SummaryNode("liar", NodeJobs(matrix(rows)))
    world.register(node)
    world.commit(node)
    world.challenge(node)
    return node, node.jobs.answer(world.draw(node), TERMS.samples)


def row(number, value=1, **changes):
    """Rows whose keys ascend with their numbers."""
    return job_row("x", value, job_key=bytes([number]) * 32, **changes)


def test_a_job_that_weighs_too_much_is_refused(world):
    assert bad(world, *liar(world, [row(1, 4), row(2, 0)])) == ("summaries: value", "value")


@pytest.mark.parametrize(
    "times",
    [
        {"started_us": START_S * 10**6 + 6},
        {"started_us": 0, "ended_us": START_S * 10**6 - 1},
        {"ended_us": END_S * 10**6},
    ],
)
def test_impossible_times_are_refused(world, times):
    assert bad(world, *liar(world, [row(1, **times), row(2, **times)])) == (
        "summaries: times",
        "times",
    )


def test_a_job_twice_is_refused_where_it_is_met(world):
    assert bad(world, *liar(world, [row(1), row(1)])) == ("summaries: order", "order")


def test_the_same_jobs_again_are_refused_where_two_answers_meet_them(world):
    rows = [row(number) for number in range(1, 9)]
    assert bad(world, *liar(world, rows + rows)) == ("summaries: order", "order")


def test_a_sum_that_is_larger_than_its_jobs_cannot_be_shown(world):
    (node,) = nodes([1, 1, 1, 1])
    honest = node.jobs
    world.register(node)
    world.now_s = END_S
    summary = replace(honest.summary, weight=8)
    world.send("commit", EPOCH, node.key, summary.words, sender=node.operator.address)
    call = (EPOCH, node.key, world.challenger, summary.words)
    world.send("challenge", EPOCH, node.key, summary.words, sender=world.challenger, value=BOND)
    world.draw(node)
    for index in range(4):
        shown = [honest.show(index).words] * TERMS.samples
        assert refuses(world.send, "answer", *call, shown) == "summaries: root"


# ---- nodes and their stakes


def test_registrations_are_signed_for_and_happen_once(world):
    (node,) = nodes([1])
    register = (world.send, "register_nodes")
    assert refuses(*register, []) == "summaries: nothing"
    entry = world.registration(node)
    assert refuses(*register, [entry], value=STAKE - 1) == "summaries: stake"
    assert refuses(*register, [entry, entry], value=2 * STAKE + 1) == "summaries: stake"
    assert refuses(*register, [entry], value=2**96) == "summaries: stake"
    nobody = world.registration(node, payee=bytes(20))
    assert refuses(*register, [nobody], value=STAKE) == "summaries: payee"
    old = world.registration(node, deadline_s=world.now_s - 1)
    assert refuses(*register, [old], value=STAKE) == "summaries: deadline"
    altered = (*entry[:2], account("thief"), *entry[3:])
    assert refuses(*register, [altered], value=STAKE) == "summaries: signature"
    other = world.registration(node, network=sha256(b"another"))
    assert refuses(*register, [other], value=STAKE) == "summaries: signature"
    assert refuses(*register, [entry, entry], value=2 * STAKE) == "summaries: node exists"
    world.register(node)
    assert refuses(*register, [entry], value=STAKE) == "summaries: node exists"


def test_who_leaves_gets_its_stake_when_it_can_no_more_be_challenged(committed):
    world = committed
    node = world.nodes[0]
    operator = {"sender": node.operator.address}
    assert refuses(world.send, "leave_node", node.key) == "summaries: operator"
    assert refuses(world.send, "leave_node", sha256(b"?"), **operator) == "summaries: no node"
    world.send("leave_node", node.key, **operator)
    assert refuses(world.send, "leave_node", node.key, **operator) == "summaries: left"
    commit = ("commit", EPOCH + 1, node.key, node.summary.words)
    assert refuses(world.send, *commit, **operator) == "summaries: left"
    world.challenge(node)
    world.draw(node)
    world.answer(node)
    world.now_s += TERMS.exit_seconds - 1
    assert refuses(world.send, "withdraw_node", node.key) == "summaries: locked"
    world.now_s += 1
    for _ in range(2):  # the second time there is nothing left
        world.send("withdraw_node", node.key)
    world.send("collect", **operator)
    assert world.balance(node.operator.address) == STAKE + BOND
    world.claim(node)  # what it has earned is still its payee's
    assert world.balance(node.payee) == ETHER * 6 // 18


def test_who_left_is_slashed_all_the_same(committed):
    world = committed
    node = world.nodes[0]
    world.send("leave_node", node.key, sender=node.operator.address)
    world.challenge(node)
    world.now_s += TERMS.answer_seconds + 1
    world.expire(node)
    world.now_s += TERMS.exit_seconds
    assert refuses(world.send, "withdraw_node", node.key) == "summaries: locked"


def test_a_payee_that_takes_no_money_stops_only_its_own_claim(world):
    one, two = nodes([1], [1])
    payee = world.deploy_code(REFUSES_MONEY)
    world.send("register_nodes", [world.registration(one, payee=payee)], value=STAKE)
    world.register(two)
    world.send("fund", EPOCH, value=ETHER)
    world.commit(one, two)
    world.settle()
    assert refuses(world.claim, one) == "summaries: payment"
    world.claim(two)
    assert world.balance(two.payee) == ETHER // 2


# ---- what may be said


def test_only_what_the_operator_signed_is_relayed(world):
    (node,) = nodes([1, 2])
    commit = (world.send, "commit_many", EPOCH)
    assert refuses(*commit, []) == "summaries: early"
    assert refuses(world.send, "commit_many", 2, []) == "summaries: epoch"
    assert refuses(world.send, "fund", 2, value=1) == "summaries: epoch"
    world.now_s = END_S
    assert refuses(*commit, [world.signed(node).words]) == "summaries: no node"
    world.register(node)
    assert refuses(*commit, []) == "summaries: nothing"
    node_key, (root, jobs, weight), r, vs = world.signed(node).words
    for summary in ((sha256(root), jobs, weight), (root, jobs, weight + 1), (root, 3, weight)):
        assert refuses(*commit, [(node_key, summary, r, vs)]) == "summaries: signature"
    other_epoch = world.signed(node, epoch=EPOCH - 1)
    assert refuses(*commit, [other_epoch.words]) == "summaries: signature"
    assert refuses(*commit, [world.signed(node, weight=7).words]) == "summaries: weight"
    many = (root, 2**32 + 1, weight)
    assert refuses(*commit, [(node_key, many, *_signature(world, node, many))]) == "summaries: jobs"
    world.commit(node)


def _signature(world, node, words):
    struct = SUMMARY.hash(TERMS.network, EPOCH, node.key, *words)
    return signature_words(node.operator.sign(digest(world.contract_.domain, struct)))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"network": bytes(32)}, "summaries: network"),
        ({"epoch_seconds": 0}, "summaries: epoch seconds"),
        ({"commit_seconds": 0}, "summaries: windows"),
        ({"exit_seconds": 129}, "summaries: windows"),
        ({"answer_seconds": 2**32 + 1}, "summaries: windows"),
        ({"samples": 0}, "summaries: samples"),
        ({"samples": 49}, "summaries: samples"),
        ({"value_max": 0}, "summaries: value max"),
    ],
)
def test_bad_deployments_are_refused(changes, reason):
    with pytest.raises(Refused, match=reason):
        SummaryWorld(replace(TERMS, **changes))


# ---- properties


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(values=st.lists(st.integers(0, 3), min_size=1, max_size=40).filter(any), salt=st.binary())
def test_every_honest_answer_is_accepted_by_both(values, salt):
    world = SummaryWorld(replace(TERMS, samples=7))
    node = SummaryNode("n", jobs_of(salt.hex(), values))
    world.register(node)
    world.commit(node)
    world.challenge(node)
    shown = node.jobs.answer(world.draw(node), 7)
    asked = points(world.seed(node), sum(values), 7)
    check_answer(node.summary, shown, asked, CALENDAR, EPOCH, TERMS.value_max)
    assert names(world.answer(node, shown)) == ["Answered"]
