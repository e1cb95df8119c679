"""Proofs against aggregators: each is accepted where it is true, refused elsewhere, and pays exactly."""

from dataclasses import replace

import pytest
from contract_world import CHALLENGE_S, EPOCH_S, FIRST, ClaimTree, account, key, refuses
from disputes_world import (
    AGGREGATOR_STAKE,
    BURN,
    CALENDAR,
    DisputesWorld,
    jobs_of,
    us,
)
from published_epochs import (
    from_rows,
    inflated_job_tree,
    inflated_node_tree,
    job_row,
    payee_of,
)

from meridian.disputes.commitment_faults import bad_sum, find_faults
from meridian.disputes.promises import Promise, SortedEpoch, double_receipt, duplicates, omission
from meridian.disputes.ways import NO_GAP, NO_SPOT, Spot, job_row_tree, node_row_tree
from meridian.primitives.ids import address_text, node_key
from meridian.primitives.sumtree import LaneKind

PAIR = LaneKind.PAIR_U64
BURNED = AGGREGATOR_STAKE // 10


@pytest.fixture
def world():
    made = DisputesWorld(aggregators=2)
    made.open(FIRST)
    return made


def words(fault, **changes):
    """The arguments of an accusation with some replaced by place."""
    arguments = list(fault.arguments)
    for place, value in changes.items():
        arguments[int(place[1:])] = value
    return replace(fault, arguments=tuple(arguments))


def inflated(world, epoch=FIRST, at=0):
    lie, hashed = inflated_node_tree(world.published(epoch, jobs_of(epoch, 11), at), 2, 1, 5)
    world.publish(lie, hashed, at)
    (fault,) = find_faults(lie)
    return lie, fault


# ---- verdicts and their money


def test_a_made_up_sum_voids_the_commitment_and_the_stake_is_split_exactly(world):
    lie, fault = inflated(world)
    before = world.balance(world.hunter)
    outcome = world.accuse(fault)
    (verdict,) = world.verdicts(outcome)
    assert verdict == {
        "epoch": FIRST,
        "kind": 1,
        "guilty": address_text(world.aggregators[0]),
        "winner": address_text(world.hunter),
        "stake": AGGREGATOR_STAKE,
    }
    assert world.balance(world.hunter) - before == AGGREGATOR_STAKE - BURNED
    assert world.balance(world.disputes.address) == BURNED
    assert world.disputes.send("sweep").value == BURNED
    assert (world.balance(BURN), world.balance(world.disputes.address)) == (BURNED, 0)
    assert refuses(world.disputes.send, "sweep") == "disputes: nothing"
    assert not world.commitments.read("is_commitment", *lie.commitment.words)
    assert world.commitments.read("standing", FIRST) == 0
    assert refuses(world.accuse, fault) == "proofs: commitment"
    assert world.evaluations.read("term") == 1


def test_the_report_over_a_void_commitment_is_void_and_the_epoch_is_reported_again(world):
    world.fund(FIRST, 2, 1000)
    _, fault = inflated(world)
    good = world.published(FIRST, jobs_of(FIRST, 3), 1)
    world.publish(good, at=1)
    lying = ClaimTree({"n1": (payee_of("n1"), 900)})
    world.submit(world.report(FIRST, lying.root, lying.total))
    world.accuse(fault)
    assert world.evaluations.read("report_hash", FIRST) == bytes(32)
    honest = ClaimTree({"n1": (payee_of("n1"), 400)})
    world.submit(world.report(FIRST, honest.root, honest.total))
    world.now_s += CHALLENGE_S
    world.claim(honest.claim(FIRST, "n1"))
    assert world.balance(payee_of("n1")) == 400


def test_after_the_unlock_the_aggregator_is_punished_once_and_the_payment_stands(world):
    world.fund(FIRST, 1, 1000)
    _, fault = inflated(world)
    tree = ClaimTree({"n1": (payee_of("n1"), 900)})
    world.submit(world.report(FIRST, tree.root, tree.total))
    world.now_s += CHALLENGE_S
    (verdict,) = world.verdicts(world.accuse(fault))
    assert verdict["stake"] == AGGREGATOR_STAKE
    assert world.evaluations.read("report_hash", FIRST) != bytes(32)
    world.claim(tree.claim(FIRST, "n1"))
    assert refuses(world.accuse, fault) == "disputes: convicted"


def test_a_second_fault_of_a_slashed_aggregator_still_voids(world):
    _, first = inflated(world)
    lie, second = inflated(world, FIRST + 1)
    world.accuse(first)
    (verdict,) = world.verdicts(world.accuse(second))
    assert verdict["stake"] == 0
    assert not world.commitments.read("is_commitment", *lie.commitment.words)


def test_a_verdict_without_stakes_is_a_verdict():
    world = DisputesWorld(aggregator_stake_min_atto=0)
    _, fault = inflated(world)
    (verdict,) = world.verdicts(world.accuse(fault))
    assert verdict["stake"] == 0
    assert world.balance(world.disputes.address) == 0


def test_only_the_contracts_of_proofs_convict(world):
    c = world.published(FIRST, {}).commitment.words
    someone = account("someone")
    send = world.disputes.send
    for call in (
        ("convict_aggregator", 1, c, someone, someone),
        ("convict_signer", 1, someone, someone),
        ("convict_evaluators", 4, FIRST, bytes(32), [], someone),
        ("rule", 1, [], [], False),
    ):
        assert refuses(send, *call) == "disputes: sender"
    assert refuses(world.execute, world.disputes.address, b"", someone, 5, None) == (
        "disputes: sender"
    )


# ---- sums


def test_every_made_up_sum_is_proven_in_both_layers(world):
    epochs, faults = iter(range(FIRST, FIRST + 100)), []
    for height, places in {0: 3, 1: 2, 2: 1}.items():
        for at in range(places):
            epoch = next(epochs)
            honest = world.published(epoch, jobs_of(epoch, 3), 1)
            lie, hashed = inflated_node_tree(honest, height, at, 1 << 128)
            world.publish(lie, hashed, 1)
            faults += find_faults(lie)
    for height, places in {0: 5, 1: 2, 2: 1, 3: 1}.items():
        for at in range(places):
            epoch = next(epochs)
            honest = world.published(epoch, jobs_of(epoch, 5), 1)
            place = [len(rows) for rows in honest.job_rows].index(5)
            lie = world.publish(inflated_job_tree(honest, place, height, at, 3), at=1)
            faults += find_faults(lie)
    assert len(faults) == 15
    for fault in faults:
        assert world.verdicts(world.accuse(fault))[0]["kind"] == 1


def test_a_row_of_another_epoch_is_proven(world):
    honest = world.published(FIRST + 1, jobs_of(FIRST + 1, 3))
    lie = from_rows(FIRST, honest.node_rows, honest.job_rows, world.aggregators[0])
    world.publish(lie)
    fault, *_ = find_faults(lie)
    assert world.verdicts(world.accuse(fault))[0]["kind"] == 1


def test_nothing_can_be_said_against_right_sums(world):
    honest = world.publish(world.published(FIRST, jobs_of(FIRST, 5)))
    c, nodes = honest.commitment, node_row_tree(honest.node_rows, PAIR)
    spot = nodes.spot(2)
    claimed = spot.row[92:]
    right = bad_sum(c, spot.row, claimed, spot, NO_SPOT, "")
    assert refuses(world.accuse, right) == "proofs: right"
    other = (int.from_bytes(claimed, "big") + 1).to_bytes(24, "big")
    assert refuses(world.accuse, bad_sum(c, spot.row, other, spot, NO_SPOT, "")) == "trees: root"
    jobs = job_row_tree(honest.job_rows[2], PAIR)
    job = jobs.spot(0)
    claim = (1 << 128 | 8).to_bytes(24, "big")
    wrong = bad_sum(c, job.row, claim, job, spot, "")
    assert refuses(world.accuse, wrong) == "trees: job root"
    # A row of a job is no row of a node, and the other way round.
    assert refuses(world.accuse, bad_sum(c, job.row, claim, spot, NO_SPOT, "")) == "trees: row"
    assert refuses(world.accuse, bad_sum(c, spot.row, other, job, spot, "")) == "trees: row"
    # What is not read must not be there.
    loose = words(right, a1=spot.row[:-1] + b"\x55", a5=(b"", 1, []))
    assert refuses(world.accuse, loose) == "proofs: node"
    high = bad_sum(c, spot.row, other, Spot(b"", 1 << 200, spot.path), NO_SPOT, "")
    assert refuses(world.accuse, high) == "trees: path"
    full = bad_sum(c, spot.row, b"\xff" * 24, spot, NO_SPOT, "")
    assert refuses(world.accuse, full) == "trees: sum"


# ---- order


def test_neighbours_out_of_order_are_proven_wherever_they_stand(world):
    faults = []
    for at in range(6):
        epoch = FIRST + at
        honest = world.published(epoch, jobs_of(epoch, 7))
        order = list(range(7))
        order[at], order[at + 1] = order[at + 1], order[at]
        tables = tuple(honest.job_rows[place] for place in order)
        lie = from_rows(epoch, honest.node_rows[order], tables, world.aggregators[0])
        world.publish(lie)
        faults += find_faults(lie)
    assert len(faults) == 6
    for fault in faults:
        assert world.verdicts(world.accuse(fault))[0]["kind"] == 3


def test_the_same_job_twice_in_a_tree_is_disorder(world):
    honest = world.published(FIRST, {"n1": [job_row("a", us(FIRST)), job_row("a", us(FIRST))]})
    world.publish(honest)
    (fault,) = find_faults(honest)
    assert world.verdicts(world.accuse(fault))[0]["kind"] == 3


def test_ordered_neighbours_prove_nothing(world):
    honest = world.publish(world.published(FIRST, jobs_of(FIRST, 7)))
    nodes = node_row_tree(honest.node_rows, PAIR)
    c = honest.commitment.words

    def refused(gap, node=NO_SPOT):
        return refuses(
            world.commitment_proofs.send, "disorder", c, gap.words, node.words, sender=world.hunter
        )

    for at in range(6):
        assert refused(nodes.neighbours(at)) == "proofs: right"
    pair = nodes.neighbours(1)
    assert refused(nodes.alone(2)) == "proofs: neighbours"
    assert refused(replace(pair, right=nodes.rows[4])) == "trees: neighbours"
    assert refused(replace(pair, index=6)) == "trees: gap"
    assert refused(replace(pair, lower=(*pair.lower, pair.path[0]))) == "trees: path"
    assert refused(replace(pair, path=pair.path[:1])) == "trees: path"
    assert refused(pair, Spot(b"", 1, ())) == "proofs: node"
    assert refused(NO_GAP) == "proofs: neighbours"


# ---- promises


def broken(world, drop="n3"):
    """A job that its receipt promises for FIRST or the next epoch, in neither."""
    jobs = jobs_of(FIRST, 6)
    made = world.promise(jobs, FIRST + 1)
    row = jobs[drop][1]
    left = {**jobs, drop: [other for other in jobs[drop] if other != row]}
    epochs = {
        FIRST: SortedEpoch(world.publish(world.published(FIRST, left))),
        FIRST + 1: SortedEpoch(world.publish(world.published(FIRST + 1, {}))),
    }
    promise = Promise(made.receipt, node_key(drop), made.proofs[drop, row])
    return promise, epochs, omission(promise, epochs, CALENDAR)


def test_a_dropped_job_pays_the_winner_and_the_nodes_payee(world):
    payee = account("payee of n3")
    entry = world.node_registration(key("operator"), "n3", payee)
    world.registry.send("register_nodes", [entry.arguments], value=10)
    _, _, fault = broken(world)
    before = world.balance(world.hunter)
    (verdict,) = world.verdicts(world.accuse(fault))
    assert (verdict["kind"], verdict["epoch"]) == (2, FIRST + 1)
    rest = AGGREGATOR_STAKE - BURNED
    assert world.balance(payee) == rest // 2
    assert world.balance(world.hunter) - before == rest - rest // 2
    assert world.balance(world.disputes.address) == BURNED


def test_a_payee_that_refuses_the_money_blocks_no_verdict(world):
    payee = account("payee of n3")
    entry = world.node_registration(key("operator"), "n3", payee)
    world.registry.send("register_nodes", [entry.arguments], value=10)
    world.env.set_code(address_text(payee), bytes.fromhex("5f5ffd"))
    _, _, fault = broken(world)
    world.accuse(fault)
    rest = AGGREGATOR_STAKE - BURNED
    assert world.balance(world.disputes.address) == BURNED + rest // 2  # burned as well


@pytest.mark.parametrize("how", ["job", "node", "all", "altered"])
def test_every_way_of_dropping_a_job_is_proven(world, how):
    jobs = jobs_of(FIRST, 6)
    made = world.promise(jobs, FIRST)
    for at, ((name, row), proof) in enumerate(list(made.proofs.items())[::3]):
        epoch = FIRST + at  # the lie is told again and again
        left = {
            "job": {**jobs, name: [other for other in jobs[name] if other != row]},
            "node": {**jobs, name: []},
            "all": {},
            "altered": {
                **jobs,
                name: [row[:67] + b"\x00" if other == row else other for other in jobs[name]],
            },
        }
        if how == "altered":
            changed = row[:67] + bytes([row[67] ^ 1]) + row[68:]
            left["altered"][name] = [changed if other == row else other for other in jobs[name]]
        fresh = DisputesWorld(aggregators=1, members=0) if at else world
        if at:
            made = fresh.promise(jobs, FIRST)
            proof = made.proofs[name, row]
        lie = SortedEpoch(fresh.publish(fresh.published(FIRST, left[how])))
        fault = omission(Promise(made.receipt, node_key(name), proof), {FIRST: lie}, CALENDAR)
        assert fresh.verdicts(fresh.accuse(fault))[0]["kind"] == 2, (epoch, name)


def test_a_kept_promise_cannot_be_made_a_broken_one(world):
    jobs = jobs_of(FIRST, 6)
    made = world.promise(jobs, FIRST)
    honest = SortedEpoch(world.publish(world.published(FIRST, jobs)))
    lying = SortedEpoch(world.published(FIRST, {}))
    for (name, row), proof in made.proofs.items():
        promise = Promise(made.receipt, node_key(name), proof)
        node, tree = honest.jobs(promise.node_key)
        forged = omission(promise, {FIRST: lying}, CALENDAR)
        c = honest.commitment.words
        at = tree.keys.index(row[4:36])
        gaps = [tree.alone(at), NO_GAP]
        gaps += [tree.neighbours(at - 1)] if at else []
        gaps += [tree.neighbours(at)] if at + 1 < tree.size else []
        reasons = {
            refuses(world.accuse, words(forged, a1=[(c, node.words, gap.words)])) for gap in gaps
        }
        assert reasons <= {"proofs: right", "trees: gap", "trees: order"}
        assert refuses(world.accuse, forged) == "proofs: commitment"


def test_a_promise_is_only_broken_when_all_its_epochs_say_so(world):
    promise, epochs, fault = broken(world)
    promised, absences = fault.arguments
    assert refuses(world.accuse, words(fault, a1=absences[:1])) == "proofs: epochs"
    assert refuses(world.accuse, words(fault, a1=[])) == "proofs: epochs"
    assert refuses(world.accuse, words(fault, a1=absences[::-1])) == "proofs: epochs"
    assert refuses(world.accuse, words(fault, a1=[absences[0]] * 2)) == "proofs: epochs"
    c, node, _ = absences[1]
    junk = (c, node, epochs[FIRST].jobs(promise.node_key)[0].words)
    assert refuses(world.accuse, words(fault, a1=[absences[0], junk])) == "proofs: job"
    signed = (promised[0], (1, 1), *promised[2:])
    assert refuses(world.accuse, words(fault, a0=signed)) == "proofs: signature"
    other = (*promised[:2], node_key("n4"), *promised[3:])
    assert refuses(world.accuse, words(fault, a0=other)) == "proofs: batch"
    world.accuse(fault)


def test_a_job_before_the_genesis_belongs_to_no_epoch(world):
    jobs = {"n1": [job_row("old", 10**6)]}
    made = world.promise(jobs, FIRST)
    honest = SortedEpoch(world.publish(world.published(FIRST, {})))
    promise = Promise(made.receipt, node_key("n1"), made.proofs["n1", jobs["n1"][0]])
    absence = (honest.commitment.words, NO_GAP.words, NO_GAP.words)
    send = world.commitment_proofs.send
    assert refuses(send, "omission", promise.words, [absence]) == "proofs: time"


def test_a_job_counted_in_two_epochs_voids_the_second(world):
    first = SortedEpoch(world.publish(world.published(FIRST, jobs_of(FIRST, 4))))
    row = jobs_of(FIRST, 4)["n2"][0]
    second = SortedEpoch(world.publish(world.published(FIRST + 1, {"n2": [row]})))
    (fault,) = duplicates(first, second, CALENDAR)
    swapped = words(fault, a0=fault.arguments[3], a3=fault.arguments[0])
    assert refuses(world.accuse, swapped) == "proofs: epochs"
    other = world.publish(world.published(FIRST + 1, {"n2": [row]}, 1), at=1)
    alien = words(fault, a3=other.commitment.words)
    assert refuses(world.accuse, alien) == "proofs: aggregator"
    (verdict,) = world.verdicts(world.accuse(fault))
    assert (verdict["epoch"], verdict["kind"]) == (FIRST + 1, 3)


def test_an_id_that_a_node_uses_again_later_proves_nothing(world):
    first = SortedEpoch(world.publish(world.published(FIRST, {"n": [job_row("a", us(FIRST))]})))
    late = FIRST + 5
    second = SortedEpoch(world.publish(world.published(late, {"n": [job_row("a", us(late))]})))
    spots = [
        part
        for epoch in (first, second)
        for part in (
            epoch.commitment.words,
            epoch.node_spot(0).words,
            epoch.jobs(node_key("n"))[1].spot(0).words,
        )
    ]
    assert refuses(world.commitment_proofs.send, "duplicate", *spots) == "proofs: right"


def test_two_receipts_of_one_number_cost_the_stake_once(world):
    one = world.promise(jobs_of(FIRST, 2), FIRST, 5).receipt
    other = world.promise(jobs_of(FIRST, 3), FIRST, 5).receipt
    fault = double_receipt(one, other)
    first, signature, second, _ = fault.arguments
    assert refuses(world.accuse, words(fault, a2=first, a3=signature)) == "proofs: right"
    renumbered = (*second[:2], 6, *second[3:])
    assert refuses(world.accuse, words(fault, a2=renumbered)) == "proofs: receipts"
    assert refuses(world.accuse, words(fault, a3=signature)) == "proofs: signature"
    (verdict,) = world.verdicts(world.accuse(fault))
    assert (verdict["kind"], verdict["stake"], verdict["epoch"]) == (5, AGGREGATOR_STAKE, 0)
    assert refuses(world.accuse, fault) == "disputes: convicted"
    world.publish(world.published(FIRST, {}, 1), at=1)  # nothing else became void
    assert world.commitments.read("standing", FIRST) == 1


def test_an_epoch_that_is_given_up_is_only_punished():
    world = DisputesWorld(report_seconds=EPOCH_S)
    world.open(FIRST)
    _, fault = inflated(world)
    world.now_s += 10 * EPOCH_S
    world.evaluations.send("abandon", FIRST)
    (verdict,) = world.verdicts(world.accuse(fault))
    assert verdict["stake"] == AGGREGATOR_STAKE
