"""Rewards: money goes in for epochs and comes out by proof; nobody else can move it."""

from dataclasses import replace

import pytest
from contract_world import (
    CHALLENGE_S,
    DISPUTE_TERMS,
    EPOCH_S,
    FAR_S,
    FIRST,
    GENESIS_S,
    NETWORK,
    ClaimTree,
    Refused,
    World,
    account,
    key,
    refuses,
)
from eth_abi import encode

from meridian.contracts.artefact import load
from meridian.contracts.calldata import CLAIMS_PER_CALL, PATH_MAX, signature_words
from meridian.contracts.statements import Delegate, RelayedClaim
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import ZERO_ADDRESS, address_text, node_key

AHEAD = 2**16


@pytest.fixture
def world() -> World:
    world = World()
    world.join_members(4)
    return world


def amounts(world, *, to=None, n=5, each=100):
    """n nodes with different cumulative amounts, each with its own payee."""
    return {f"n{i}": (to or account(f"payee {i}"), each + i) for i in range(n)}


def budgets(world, epochs):
    return [world.rewards.read("budget", epoch) for epoch in epochs]


# ---- funding


def test_deposits_add_up_epoch_by_epoch_before_and_after_settling(world):
    (event,) = world.fund(FIRST + 1, 3, 10).events
    assert event.args == {
        "sponsor": address_text(world.someone),
        "first": FIRST + 1,
        "n": 3,
        "each": 10,
    }
    world.fund(FIRST + 2, 4, 5)
    world.fund(FIRST, 1, 7)
    epochs = range(FIRST, FIRST + 9)
    expected = [7, 10, 15, 15, 5, 5, 0, 0, 0]
    assert budgets(world, epochs) == expected
    world.open(FIRST + 8)
    for through in (FIRST, FIRST + 3, FIRST + 8):
        value = world.rewards.send("settle", through).value
        assert value == expected[through - FIRST]
        assert world.rewards.read("next_to_settle") == through + 1
        assert budgets(world, epochs) == expected
    assert world.rewards.send("settle", FIRST + 1).value == 10
    assert world.rewards.read("next_to_settle") == FIRST + 9
    assert world.rewards.read("total_funded") == 7 + 30 + 20
    assert world.rewards.read("funded_through") == FIRST + 5


def test_funding_a_thousand_epochs_costs_what_one_costs(world):
    world.fund(FIRST, 2, 10)  # the counters are no longer empty
    one = world.fund(FIRST + 3, 1, 10).gas("prague")
    thousand = world.fund(FIRST + 5, 1000, 10).gas("prague")
    assert abs(thousand - one) < 100


def test_bad_deposits_are_refused(world):
    world.open(FIRST)
    world.rewards.send("settle", FIRST)
    now = FIRST + (world.now_s - world.parameters.genesis_s) // EPOCH_S
    world.give(world.someone, 1 << 200)

    def refused(first, n, each, value=None):
        value = n * each if value is None else value
        return refuses(world.rewards.send, "fund", first, n, each, value=value)

    assert refused(FIRST, 1, 10) == "rewards: settled"
    assert refused(FIRST + 1, 0, 10) == "rewards: nothing"
    assert refused(FIRST + 1, 1, 0) == "rewards: nothing"
    assert refused(FIRST + 1, 2, 10, value=19) == "rewards: value"
    assert refused(FIRST + 1, 2, 10, value=21) == "rewards: value"
    assert refused(FIRST + 1, 1, 1 << 96) == "rewards: value"
    assert refused(FIRST + 1, 2, 1 << 255, value=0) == "rewards: value"
    assert refused(FIRST + 1, AHEAD + 1, 1) == "rewards: too far"
    assert refused(now + AHEAD + 1, 1, 1) == "rewards: too far"
    assert refused(now + 2, AHEAD, 1) == "rewards: too far"
    assert refused(2**64 - 1, 2**64 - 1, 1) == "rewards: too far"
    world.fund(now + 1, AHEAD, 1)
    assert world.rewards.read("funded_through") == now + AHEAD


def test_the_horizon_is_counted_from_the_running_epoch(world):
    world.now_s = 1  # before the genesis
    assert refuses(world.fund, FIRST + AHEAD + 1, 1, 1) == "rewards: too far"
    world.fund(FIRST + AHEAD, 1, 1)
    world.now_s = world.parameters.genesis_s + 10 * EPOCH_S
    world.fund(FIRST + 10 + AHEAD, 1, 1)


def test_only_open_epochs_are_settled_and_at_most_1024_at_once(world):
    assert refuses(world.rewards.send, "settle", FIRST) == "rewards: not open"
    for last in range(255, 255 + 256 * 5, 256):
        world.open(FIRST + last)
    assert refuses(world.rewards.send, "settle", FIRST + 1024) == "rewards: span"
    world.rewards.send("settle", FIRST + 1023)
    world.rewards.send("settle", FIRST + 1279)
    assert refuses(world.rewards.read, "budget", FIRST + 1280 + AHEAD + 1) == "rewards: span"


def test_an_accepted_report_closes_its_epoch_and_those_before_to_sponsors(world):
    world.fund(FIRST, 5, 100)
    world.ready(FIRST)
    world.ready(FIRST + 1)
    world.submit(world.report(FIRST + 1, sha256(b"root"), 50))
    assert refuses(world.fund, FIRST, 1, 1) == "rewards: settled"
    assert refuses(world.fund, FIRST + 1, 1, 1) == "rewards: settled"
    world.fund(FIRST + 2, 1, 1)
    assert budgets(world, range(FIRST, FIRST + 4)) == [100, 100, 101, 100]


def test_plain_transfers_are_refused(world):
    with pytest.raises(Refused):
        world.execute(world.rewards.address, b"", None, 5, None)


# ---- claims


def test_every_claim_pays_its_exact_amount_to_its_payee(world):
    world.fund(FIRST, 1, 1000)
    tree = world.pay_epoch(FIRST, amounts(world, n=7))
    for node_id, (payee, amount) in tree.amounts.items():
        (event,) = world.claim(tree.claim(FIRST, node_id)).events
        assert event.args == {
            "node_key": node_key(node_id),
            "payee": address_text(payee),
            "epoch": FIRST,
            "amount": amount,
            "cumulative": amount,
        }
        assert world.balance(payee) == amount
        assert world.rewards.read("claimed", node_key(node_id)) == amount
    assert world.rewards.read("total_claimed") == tree.total
    assert world.balance(world.rewards.address) == 1000 - tree.total


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 17, 33])
def test_claims_of_trees_of_every_shape_are_paid(world, n):
    world.fund(FIRST, 1, 10**6)
    tree = world.pay_epoch(FIRST, amounts(world, n=n))
    for node_id in tree.amounts:
        world.claim(tree.claim(FIRST, node_id))
    assert world.rewards.read("total_claimed") == tree.total


def test_a_second_claim_pays_only_the_difference(world):
    world.fund(FIRST, 3, 1000)
    payee = account("payee")
    first = world.pay_epoch(FIRST, {"a": (payee, 100), "b": (payee, 50)})
    second = world.pay_epoch(FIRST + 1, {"a": (payee, 180), "b": (payee, 50)})
    third = world.pay_epoch(FIRST + 2, {"a": (payee, 300), "b": (payee, 50)})
    assert world.claim(first.claim(FIRST, "a")).events[0].args["amount"] == 100
    assert refuses(world.claim, first.claim(FIRST, "a")) == "rewards: nothing"
    assert world.claim(third.claim(FIRST + 2, "a")).events[0].args["amount"] == 200
    assert refuses(world.claim, second.claim(FIRST + 1, "a")) == "rewards: nothing"
    assert world.balance(payee) == 300
    # An old epoch stays claimable for those who have not come yet.
    assert world.claim(first.claim(FIRST, "b")).events[0].args["amount"] == 50
    assert refuses(world.claim, third.claim(FIRST + 2, "b")) == "rewards: nothing"


def test_claims_wait_for_the_report_and_its_challenge_window(world):
    world.fund(FIRST, 1, 1000)
    tree = ClaimTree(amounts(world))
    world.ready(FIRST)
    assert refuses(world.claim, tree.claim(FIRST, "n0")) == "rewards: unreported"
    world.submit(world.report(FIRST, tree.root, tree.total))
    assert refuses(world.claim, tree.claim(FIRST, "n0")) == "rewards: locked"
    world.now_s += CHALLENGE_S - 1
    assert refuses(world.claim, tree.claim(FIRST, "n0")) == "rewards: locked"
    world.now_s += 1
    world.claim(tree.claim(FIRST, "n0"))


def test_a_proof_with_any_bit_flipped_is_refused(world):
    world.fund(FIRST, 1, 10**6)
    tree = world.pay_epoch(FIRST, amounts(world, n=5))
    good = tree.claim(FIRST, "n1")
    bad = [
        replace(good, cumulative_atto=good.cumulative_atto ^ (1 << bit)) for bit in (0, 5, 60, 127)
    ]
    for byte in (0, 13, 19):
        payee = bytearray(good.payee)
        payee[byte] ^= 1 << (byte % 8)
        bad.append(replace(good, payee=bytes(payee)))
    for byte in (0, 17, 31):
        node = bytearray(good.node_key)
        node[byte] ^= 1 << (byte % 8)
        bad.append(replace(good, node_key=bytes(node)))
    for place, node in enumerate(good.path):
        for at in range(place, 8 * len(node), 5):
            flipped = (int.from_bytes(node, "big") ^ (1 << at)).to_bytes(len(node), "big")
            path = (*good.path[:place], flipped, *good.path[place + 1 :])
            bad.append(replace(good, path=path))
    for claim in bad:
        reason = refuses(world.claim, claim)
        assert reason in {"rewards: proof", "rewards: sums", "sum tree: sum"}
    world.claim(good)


def test_a_proof_for_another_place_or_size_is_refused(world):
    world.fund(FIRST, 1, 10**6)
    tree = world.pay_epoch(FIRST, amounts(world, n=5))
    good = tree.claim(FIRST, "n1")
    for index in range(9):
        for size in range(9):
            if (index, size) == (good.index, good.size):
                continue
            reason = refuses(world.claim, replace(good, index=index, size=size))
            assert reason in {"sum tree: path", "rewards: sums", "rewards: proof"}
    for path in (good.path[:-1], (*good.path, good.path[0]), ()):
        assert refuses(world.claim, replace(good, path=path)) == "sum tree: path"
    world.claim(good)


def test_annotations_that_could_overflow_are_refused(world):
    world.fund(FIRST, 1, 10**6)
    good = world.pay_epoch(FIRST, amounts(world, n=5)).claim(FIRST, "n1")
    path = good.arguments[-1]
    (digest, annotation) = path[0]
    # Totals from 2^122 and counts from 2^58 on, what makes the sum go round, and something behind.
    reasons = {1 << 186: "sum", 1 << 250: "sum", (1 << 256) - annotation: "sum", annotation + 1: ""}
    for word, reason in reasons.items():
        arguments = (*good.arguments[:-1], [(digest, word), *path[1:]])
        expected = reason and f"sum tree: {reason}"
        assert refuses(world.rewards.send, "claim", *arguments) == expected
    longer = [(bytes(32), 0)] * (PATH_MAX + 1)
    with pytest.raises(Refused):
        world.rewards.send("claim", *good.arguments[:-1], longer)


def test_a_root_whose_total_is_not_the_reports_pays_nothing(world):
    world.fund(FIRST, 1, 10**6)
    tree = ClaimTree(amounts(world))
    world.ready(FIRST)
    world.submit(world.report(FIRST, tree.root, tree.total - 1))
    world.now_s += CHALLENGE_S
    assert refuses(world.claim, tree.claim(FIRST, "n0")) == "rewards: sums"


def test_the_claims_of_an_empty_report_do_not_exist(world):
    world.ready(FIRST)
    world.submit(world.report(FIRST, sha256(b"empty"), 0))
    world.now_s += CHALLENGE_S
    claim = ClaimTree({"a": (account("payee"), 0)}).claim(FIRST, "a")
    assert refuses(world.claim, replace(claim, size=0)) == "sum tree: path"
    assert refuses(world.claim, claim) == "rewards: proof"


def test_a_wrong_root_cannot_reach_the_money_of_epochs_without_a_report(world):
    world.fund(FIRST, 10, 100)
    honest = world.pay_epoch(FIRST, {"a": (account("a"), 90), "b": (account("b"), 10)})
    world.claim(honest.claim(FIRST, "a"))
    # A lying quorum forgets that "a" was paid, and gives everything to "thief".
    lie = world.pay_epoch(FIRST + 1, {"b": (account("b"), 0), "thief": (account("thief"), 200)})
    reason = refuses(world.claim, lie.claim(FIRST + 1, "thief"))
    assert reason == "rewards: reserve"
    batch = world.rewards.send
    claims = [lie.claim(FIRST + 1, "thief").arguments]
    assert refuses(batch, "claim_many", claims) == "rewards: reserve"
    assert world.balance(world.rewards.address) == 1000 - 90
    smaller = world.pay_epoch(FIRST + 2, {"thief": (account("thief"), 210)})
    assert smaller.total == 210
    assert world.rewards.read("total_claimed") <= world.rewards.read("last_total")


def test_coins_forced_upon_the_contract_change_no_claim(world):
    world.fund(FIRST, 1, 1000)
    tree = world.pay_epoch(FIRST, amounts(world))
    world.give(world.rewards.address, 1000 + 77)
    assert world.rewards.read("total_claimed") == 0
    for node_id in tree.amounts:
        world.claim(tree.claim(FIRST, node_id))
    assert world.rewards.read("total_claimed") == tree.total - 77


# ---- batches and payees


REVERTER = bytes.fromhex("5f5ffd")  # REVERT(0, 0)
BURNER = bytes.fromhex("5b5f56")  # an endless loop


def batch(world, tree, epoch, names, **options):
    claims = [tree.claim(epoch, name).arguments for name in names]
    return world.rewards.send("claim_many", claims, **options)


def test_a_batch_pays_everybody(world):
    world.fund(FIRST, 1, 10**6)
    tree = world.pay_epoch(FIRST, amounts(world, n=CLAIMS_PER_CALL))
    outcome = batch(world, tree, FIRST, tree.amounts)
    assert outcome.value == CLAIMS_PER_CALL
    assert world.rewards.read("total_claimed") == tree.total
    for payee, amount in tree.amounts.values():
        assert world.balance(payee) == amount


@pytest.mark.parametrize("code", [REVERTER, BURNER])
def test_a_payee_that_fails_blocks_nobody_and_can_claim_later(world, code):
    world.fund(FIRST, 1, 10**6)
    tree = world.pay_epoch(FIRST, amounts(world, n=6))
    bad = tree.amounts["n2"][0]
    world.env.set_code(address_text(bad), code)
    alone = tree.claim(FIRST, "n2").arguments
    assert refuses(world.rewards.send, "claim", *alone, gas=400_000) == "rewards: payment"
    outcome = batch(world, tree, FIRST, tree.amounts, gas=2_000_000)
    assert outcome.value == 5
    refused = [event for event in outcome.events if event.name == "PaymentRefused"]
    assert [event.args for event in refused] == [
        {
            "node_key": node_key("n2"),
            "payee": address_text(bad),
            "epoch": FIRST,
            "amount": tree.amounts["n2"][1],
        }
    ]
    assert world.balance(bad) == 0
    assert world.rewards.read("claimed", node_key("n2")) == 0
    assert world.rewards.read("total_claimed") == tree.total - tree.amounts["n2"][1]
    world.env.set_code(address_text(bad), b"")
    world.claim(tree.claim(FIRST, "n2"))
    assert world.rewards.read("total_claimed") == tree.total


def test_a_batch_passes_over_what_is_paid_already(world):
    world.fund(FIRST, 1, 10**6)
    tree = world.pay_epoch(FIRST, amounts(world))
    world.claim(tree.claim(FIRST, "n1"))
    outcome = batch(world, tree, FIRST, ["n0", "n1", "n2", "n0"])
    assert outcome.value == 2
    assert [event.args["node_key"] for event in outcome.events] == [node_key("n0"), node_key("n2")]


def test_a_wrong_proof_in_a_batch_reverts_it(world):
    world.fund(FIRST, 1, 10**6)
    tree = world.pay_epoch(FIRST, amounts(world))
    good = tree.claim(FIRST, "n0")
    wrong = replace(tree.claim(FIRST, "n1"), cumulative_atto=10**5)
    claims = [good.arguments, wrong.arguments]
    assert refuses(world.rewards.send, "claim_many", claims) == "rewards: sums"
    assert world.rewards.read("total_claimed") == 0
    assert world.rewards.send("claim_many", []).value == 0


@pytest.mark.parametrize(("fails", "paid"), [(False, 100), (True, 0)])
def test_a_payee_that_calls_back_is_paid_once(world, fails, paid):
    """The payee is a contract that answers every payment with the same claim again."""
    world.fund(FIRST, 1, 10**6)
    thief = account("thief")
    tree = world.pay_epoch(FIRST, {"a": (thief, 100), "b": (thief, 100)})
    again = world.rewards.encode("claim", *tree.claim(FIRST, "a").arguments)
    code = calls_back(world.rewards.address, again, fails=fails)
    world.env.set_code(address_text(thief), code)
    if fails:
        assert refuses(world.claim, tree.claim(FIRST, "a")) == "rewards: payment"
        assert batch(world, tree, FIRST, ["a"]).value == 0
    else:
        world.claim(tree.claim(FIRST, "a"))
    assert world.balance(thief) == paid
    assert world.rewards.read("claimed", node_key("a")) == paid


@pytest.mark.parametrize("fails", [False, True])
def test_claims_made_from_inside_a_payment_are_booked_like_any_other(world, fails):
    world.fund(FIRST, 1, 10**6)
    thief = account("thief")
    tree = world.pay_epoch(FIRST, dict.fromkeys("abc", (thief, 100)))
    other = world.rewards.encode("claim", *tree.claim(FIRST, "b").arguments)
    code = calls_back(world.rewards.address, other, fails=fails)
    world.env.set_code(address_text(thief), code)
    batch(world, tree, FIRST, ["a", "c"])
    claimed = sum(world.rewards.read("claimed", node_key(name)) for name in "abc")
    assert world.balance(thief) == claimed == world.rewards.read("total_claimed")
    assert (claimed == 0) == fails


def calls_back(target, data, *, fails):
    """Code that calls `target` with `data`, ignores the result, and then stops or reverts."""
    head = 3 + 3 + 2 + 1  # sizes below, in order
    call = bytes.fromhex("5f5f61") + len(data).to_bytes(2, "big") + bytes.fromhex("5f5f73")
    call += target + bytes.fromhex("5af150") + (bytes.fromhex("5f5ffd") if fails else b"\x00")
    offset = head + len(call)
    copy = bytes.fromhex("61") + len(data).to_bytes(2, "big")
    copy += bytes.fromhex("61") + offset.to_bytes(2, "big") + bytes.fromhex("5f39")
    code = copy + b"\x5b" + call
    assert len(code) == offset
    return code + data


def test_contracts_wired_otherwise_cannot_be_deployed(world):
    there = World().addresses
    addresses = world.addresses
    for registry in (addresses.registry, there.registry):
        arguments = (registry, addresses.evaluations, ZERO_ADDRESS)
        assert refuses(world.deploy, "Rewards", *arguments) == "rewards: wiring"


def test_rewards_refuses_another_registry_than_evaluations_has():
    """The address is the promised one, the registry is not."""
    world = World()
    evaluations = world.addresses.evaluations
    other = world.deploy("Registry", sha256(b"n"), 1, 1, 1, 0, 0, 0, evaluations, ZERO_ADDRESS)
    promised = address_text(world.addresses.rewards)
    world.env.set_code(promised, b"")
    arguments = encode(["address"] * 3, [other, evaluations, ZERO_ADDRESS])
    _, run = world.env.deploy(
        bytecode=load("Rewards").bytecode + arguments, override_address=promised
    )
    assert run.is_error
    assert b"rewards: wiring" in run.output


# ---- relayed claims and delegates

PAYEE = key("payee")
RELAYER = account("relayer")
FEE = 7


def one_payee(world, amount=100):
    """A network in which PAYEE can claim `amount` for node "a"."""
    world.fund(FIRST, 1, 1000)
    tree = world.pay_epoch(FIRST, {"a": (PAYEE.address, amount), "b": (account("b"), 50)})
    world.give(RELAYER, 10)
    return tree


def relay(world, claim, signer=PAYEE, *, domain=None, fee=FEE, deadline_s=FAR_S, **changes):
    nonce = world.rewards.read("nonces", claim.payee)
    says = RelayedClaim(NETWORK, claim.node_key, claim.payee, FEE, nonce, FAR_S)
    signature = signer.sign(replace(says, **changes).digest(domain or world.rewards.domain))
    words = signature_words(signature)
    arguments = (claim.arguments, fee, deadline_s, *words)
    return world.rewards.send("claim_relayed", *arguments, sender=RELAYER)


def test_a_relayer_keeps_the_signed_fee_and_the_payee_gets_the_rest(world):
    tree = one_payee(world)
    claim = tree.claim(FIRST, "a")
    outcome = relay(world, claim)
    assert [event.name for event in outcome.events] == ["Claimed", "FeePaid"]
    assert (world.balance(PAYEE.address), world.balance(RELAYER)) == (93, 17)
    assert world.rewards.read("claimed", node_key("a")) == 100
    assert world.rewards.read("nonces", PAYEE.address) == 1
    assert refuses(relay, world, claim) == "rewards: nothing"
    assert refuses(relay, world, claim, nonce=0) == "rewards: signature"  # a replay


def test_a_fee_beyond_the_amount_takes_the_amount(world):
    tree = one_payee(world, amount=5)
    relay(world, tree.claim(FIRST, "a"))
    assert (world.balance(PAYEE.address), world.balance(RELAYER)) == (0, 15)


def test_a_relayed_claim_without_a_fee_pays_the_payee_alone(world):
    tree = one_payee(world)
    relay(world, tree.claim(FIRST, "a"), fee=0, fee_max_atto=0)
    assert (world.balance(PAYEE.address), world.balance(RELAYER)) == (100, 10)


def test_only_what_the_payee_signed_is_relayed(world):
    claim = one_payee(world).claim(FIRST, "a")
    wrong = [
        {"signer": key("else")},
        {"fee": FEE + 1},
        {"deadline_s": FAR_S - 1},
        {"nonce": 1},
        {"node_key": node_key("b")},
        {"network": bytes(31) + b"\1"},
        {"domain": world.registry.domain},
    ]
    for changes in wrong:
        assert refuses(relay, world, claim, **changes) == "rewards: signature"
    late = world.now_s - 1
    refused = refuses(relay, world, claim, deadline_s=late)
    assert refused == "rewards: deadline"
    assert world.balance(PAYEE.address) == 0
    relay(world, claim)


def test_a_relayer_that_refuses_its_fee_relays_nothing(world):
    claim = one_payee(world).claim(FIRST, "a")
    world.env.set_code(address_text(RELAYER), REVERTER)
    assert refuses(relay, world, claim) == "rewards: payment"


def test_a_payee_that_claims_while_it_is_relayed_cannot_take_the_fee_from_the_reserve(world):
    """A lying quorum gave out more than is left; the payee is an account with code (EIP-7702)."""
    world.fund(FIRST, 10, 100)
    honest = world.pay_epoch(FIRST, {"a": (account("a"), 96), "b": (account("b"), 4)})
    world.claim(honest.claim(FIRST, "a"))
    lie = world.pay_epoch(FIRST + 1, {"x": (PAYEE.address, 100), "y": (PAYEE.address, 6)})
    reserve = 1000 - lie.total
    left = world.balance(world.rewards.address) - reserve
    assert left == 10
    tree = world.pay_epoch(FIRST + 2, {"x": (PAYEE.address, 8), "y": (PAYEE.address, 98)})
    again = world.rewards.encode("claim", *lie.claim(FIRST + 1, "y").arguments)
    code = calls_back(world.rewards.address, again, fails=False)
    world.env.set_code(address_text(PAYEE.address), code)
    assert refuses(relay, world, tree.claim(FIRST + 2, "x")) == "rewards: reserve"


def delegate_signed(world, delegate, signer=PAYEE, *, domain=None, deadline_s=FAR_S, **changes):
    nonce = world.rewards.read("nonces", PAYEE.address)
    says = Delegate(NETWORK, PAYEE.address, delegate, nonce, FAR_S)
    signature = signer.sign(replace(says, **changes).digest(domain or world.rewards.domain))
    arguments = (PAYEE.address, delegate, deadline_s, *signature_words(signature))
    return world.rewards.send("set_delegate_signed", *arguments)


def test_a_delegate_and_the_payee_claim_to_any_account(world):
    tree = one_payee(world)
    claim, vault = tree.claim(FIRST, "a"), account("vault")

    def claim_to(sender, recipient=vault):
        arguments = (claim.arguments, recipient)
        return world.rewards.send("claim_to", *arguments, sender=sender)

    assert refuses(claim_to, RELAYER) == "rewards: delegate"
    delegate_signed(world, RELAYER)
    assert world.rewards.read("delegates", PAYEE.address) == address_text(RELAYER)
    world.rewards.send("set_delegate", account("zero"), sender=PAYEE.address)
    assert refuses(claim_to, RELAYER) == "rewards: delegate"
    world.rewards.send("set_delegate", RELAYER, sender=PAYEE.address)
    assert refuses(claim_to, RELAYER, ZERO_ADDRESS) == "rewards: recipient"
    names = [event.name for event in claim_to(RELAYER).events]
    assert names == ["Claimed", "ClaimedTo"]
    assert (world.balance(vault), world.balance(PAYEE.address)) == (100, 0)
    assert refuses(claim_to, RELAYER) == "rewards: nothing"
    second = world.pay_epoch(FIRST + 1, {"a": (PAYEE.address, 100), "b": (account("b"), 50)})
    claim = second.claim(FIRST + 1, "a")
    assert refuses(claim_to, PAYEE.address) == "rewards: nothing"


def test_a_delegation_is_good_once_and_only_as_signed(world):
    delegate_signed(world, RELAYER)
    wrong = [
        {"nonce": 0},
        {"signer": key("else")},
        {"deadline_s": FAR_S - 1},
        {"network": bytes(31) + b"\1"},
        {"domain": world.registry.domain},
    ]
    for changes in wrong:
        assert refuses(delegate_signed, world, RELAYER, **changes) == "rewards: signature"
    assert refuses(delegate_other, world, account("else")) == "rewards: signature"
    refused = refuses(delegate_signed, world, RELAYER, deadline_s=world.now_s - 1)
    assert refused == "rewards: deadline"
    delegate_signed(world, ZERO_ADDRESS)
    assert world.rewards.read("delegates", PAYEE.address) == address_text(ZERO_ADDRESS)


def delegate_other(world, given):
    """Send a delegation to `given` with a signature for RELAYER."""
    nonce = world.rewards.read("nonces", PAYEE.address)
    says = Delegate(NETWORK, PAYEE.address, RELAYER, nonce, FAR_S)
    words = signature_words(PAYEE.sign(says.digest(world.rewards.domain)))
    return world.rewards.send("set_delegate_signed", PAYEE.address, given, FAR_S, *words)


# ---- holds, voids and rolls


@pytest.fixture
def judged() -> World:
    world = World(disputes=DISPUTE_TERMS, report_seconds=3 * EPOCH_S)
    world.join_members(4)
    world.give(world.judge)
    return world


def hold(world, epoch, until, sender=None):
    return world.rewards.send("hold", epoch, until, sender=sender or world.judge)


def reported(world, epoch, named):
    tree = ClaimTree(named)
    world.ready(epoch)
    world.submit(world.report(epoch, tree.root, tree.total))
    return tree


def unlock_at(world, epoch):
    return world.rewards.read("allotment", epoch)[2]


def test_a_hold_locks_a_report_and_those_after_it_and_those_to_come(judged):
    judged.fund(FIRST, 5, 100)
    payee = account("a")
    free = judged.pay_epoch(FIRST, {"a": (payee, 10)})
    tree = reported(judged, FIRST + 1, {"a": (payee, 20)})
    later = reported(judged, FIRST + 2, {"a": (payee, 30)})
    until = judged.now_s + 5 * CHALLENGE_S
    assert refuses(hold, judged, FIRST + 1, until, judged.someone) == "rewards: sender"
    assert refuses(hold, judged, FIRST + 3, until) == "rewards: unreported"
    assert refuses(hold, judged, FIRST, until) == "rewards: unlocked"
    (event,) = hold(judged, FIRST + 1, until).events
    assert event.args == {"epoch": FIRST + 1, "until": until}
    held = [unlock_at(judged, epoch) for epoch in (FIRST, FIRST + 1, FIRST + 2)]
    assert held[1:] == [until, until]
    hold(judged, FIRST + 2, until - 1)  # shortens nothing
    assert unlock_at(judged, FIRST + 2) == until
    last = reported(judged, FIRST + 3, {"a": (payee, 40)})
    assert unlock_at(judged, FIRST + 3) == until
    judged.claim(free.claim(FIRST, "a"))
    judged.now_s = until - 1
    for epoch, proof in ((FIRST + 1, tree), (FIRST + 2, later), (FIRST + 3, last)):
        assert refuses(judged.claim, proof.claim(epoch, "a")) == "rewards: locked"
    judged.now_s = until
    judged.claim(last.claim(FIRST + 3, "a"))
    assert judged.balance(payee) == 40
    assert refuses(hold, judged, FIRST + 1, until + 99) == "rewards: unlocked"
    # Once the hold is over, reports unlock by the clock alone again.
    reported(judged, FIRST + 4, {"a": (payee, 40)})
    assert unlock_at(judged, FIRST + 4) == judged.now_s + CHALLENGE_S


def test_a_report_in_the_place_of_a_voided_one_has_the_same_money(judged):
    judged.fund(FIRST, 3, 100)
    judged.pay_epoch(FIRST, {"a": (account("a"), 90)})
    reported(judged, FIRST + 1, {"thief": (account("thief"), 190)})
    judged.evaluations.send("void", FIRST + 1, sender=judged.judge)
    assert judged.rewards.read("last_total") == 90
    assert judged.rewards.read("allotment", FIRST + 1) == (bytes(32), 0, 0, 0)
    tree = ClaimTree({"a": (account("a"), 191)})
    report = judged.report(FIRST + 1, tree.root, tree.total)
    assert refuses(judged.submit, report) == "rewards: budget"
    tree = ClaimTree({"a": (account("a"), 190)})
    judged.submit(judged.report(FIRST + 1, tree.root, tree.total))
    judged.now_s += CHALLENGE_S
    judged.claim(tree.claim(FIRST + 1, "a"))
    assert judged.balance(judged.rewards.address) == 300 - 190


def test_only_evaluations_moves_reports_and_budgets(judged):
    for call in (
        ("forget", FIRST, False),
        ("roll", FIRST),
        ("accept", FIRST, *[bytes(32), 0, 0, 0, 0]),
    ):
        assert refuses(judged.rewards.send, *call) == "rewards: sender"


def test_an_abandoned_epochs_budget_goes_to_a_later_one_and_is_spent_once(judged):
    judged.fund(FIRST, 2, 100)
    judged.open(FIRST)
    judged.now_s += 4 * EPOCH_S
    running = FIRST + 4
    (event,) = judged.evaluations.send("abandon", FIRST).events
    assert event.args == {"epoch": FIRST, "atto": 100, "to_epoch": running}
    assert budgets(judged, range(FIRST, running + 2)) == [0, 100, 0, 0, 100, 0]
    assert judged.rewards.read("funded_through") == running
    assert judged.rewards.read("total_funded") == 200
    evaluations = judged.evaluations.address
    judged.give(evaluations)
    twice = ("roll", FIRST)
    assert refuses(judged.rewards.send, *twice, sender=evaluations) == "rewards: reported"
    judged.open(running)
    judged.ready_through(running)
    tree = ClaimTree({"a": (account("a"), 100)})
    judged.submit(judged.report(running, tree.root, tree.total))
    judged.now_s += CHALLENGE_S
    judged.claim(tree.claim(running, "a"))
    more = ClaimTree({"a": (account("a"), 201)})
    report = judged.report(FIRST + 1, more.root, more.total)
    assert refuses(judged.submit, report) == "rewards: budget"
    all_of_it = ClaimTree({"a": (account("a"), 200)})
    judged.submit(judged.report(FIRST + 1, all_of_it.root, all_of_it.total))
    judged.now_s += CHALLENGE_S
    judged.claim(all_of_it.claim(FIRST + 1, "a"))
    assert judged.balance(judged.rewards.address) == 0


def test_an_epoch_without_money_rolls_nothing(judged):
    judged.open(FIRST)
    judged.now_s += 4 * EPOCH_S
    judged.evaluations.send("abandon", FIRST)
    assert sum(budgets(judged, range(FIRST, FIRST + 6))) == 0


def test_epochs_that_are_over_take_no_money(world):
    world.now_s = world.parameters.genesis_s + 3 * EPOCH_S
    assert refuses(world.fund, FIRST + 2, 5, 1) == "rewards: over"
    world.fund(FIRST + 3, 5, 1)


def test_a_network_of_records_from_the_past_is_funded_after_its_epochs():
    world = World(genesis_s=GENESIS_S - 5 * EPOCH_S)
    world.fund(FIRST, 6, 1)  # five are over, one is running
    world.now_s += 2 * EPOCH_S
    world.fund(FIRST + 1, 4, 1)
    assert refuses(world.fund, FIRST + 1, 5, 1) == "rewards: over"
    assert budgets(world, range(FIRST, FIRST + 7)) == [1, 2, 2, 2, 2, 1, 0]
