"""The behaviours of the earlier Meridian contract's 37 tests, and of Spark's three, each as a test of its own.

The names are theirs in our spelling. Where a verified defect made the old expectation wrong, the test says so;
test_impact_defects.py holds the regressions.
"""

import pytest
from alone_world import BURNER, MAX_SCORE, ImpactWorld, names
from contract_world import ETHER, account, refuses

from meridian.primitives.eip712 import keccak
from meridian.primitives.ids import address_text

A, B, C = (account(f"participant {i}") for i in range(3))


@pytest.fixture
def world() -> ImpactWorld:
    return ImpactWorld()


def participants(n):
    return [account(f"participant {i}") for i in range(n)]


# ---- rounds


def test_advance_round(world):
    assert world.read("currentRoundIndex") == 0
    assert world.read("currentRoundEndBlockNumber") == world.block + 10
    (event,) = world.send("adminAdvanceRound").events
    assert (event.name, event.args) == ("RoundStart", {"roundIndex": 1})
    assert world.read("currentRoundIndex") == 1
    assert world.read("previousRoundIndex") == 0


def test_advance_round_by_ticks_after_the_rounds_last_block(world):
    world.block += 9
    assert names(world.send("tick", sender=world.someone)) == []
    world.block += 1
    assert names(world.send("tick", sender=world.someone)) == ["RoundStart"]
    assert world.read("currentRoundIndex") == 1
    world.block += 1000
    assert names(world.send("tick", sender=world.someone)) == ["RoundStart"]
    assert names(world.send("tick", sender=world.someone)) == []  # one round, however late


def test_set_next_round_length(world):
    world.send("setNextRoundLength", 1)
    assert world.read("nextRoundLength") == 1
    assert world.read("currentRoundEndBlockNumber") == world.block + 10
    world.send("adminAdvanceRound")
    assert world.read("currentRoundEndBlockNumber") == world.block + 1
    assert refuses(world.send, "setNextRoundLength", 0) == "Next round length must be positive"


def test_set_round_reward(world):
    world.fund(1000 * ETHER)
    world.send("adminAdvanceRound")
    world.send("setRoundReward", 7)
    assert world.read("roundReward") == 7
    assert world.read("currentRoundRoundReward") == 100 * ETHER
    world.send("adminAdvanceRound")
    assert world.read("currentRoundRoundReward") == 7


def test_set_round_reward_not_admin(world):
    assert refuses(world.send, "setRoundReward", 7, sender=world.someone) == "Not an admin"


def test_add_measurements(world):
    outcome = world.send("addMeasurements", "bafybeigdyrzt5", sender=A)
    assert outcome.value == 0
    (event,) = outcome.events
    assert event.name == "MeasurementsAdded"
    assert event.args == {"cid": "bafybeigdyrzt5", "roundIndex": 0, "sender": address_text(A)}


def test_add_measurements_counts_for_the_round_before_the_advance_and_logs_first(world):
    world.block += 10
    outcome = world.send("addMeasurements", "cid")
    assert names(outcome) == ["MeasurementsAdded", "RoundStart"]
    assert (outcome.value, outcome.events[0].args["roundIndex"]) == (0, 0)
    assert world.send("addMeasurements", "cid").value == 1


# ---- scores


def test_set_scores_not_evaluator(world):
    world.send("adminAdvanceRound")
    assert refuses(world.score, 0, {A: MAX_SCORE}, sender=world.someone) == "Not an evaluator"


def test_set_scores(world):
    index = world.funded_round()
    reason = "Addresses and scores length mismatch"
    assert refuses(world.send, "setScores", index, [A], []) == reason
    assert refuses(world.score, index + 1, {A: 1}) == "Can only score previous round"
    assert refuses(world.score, index - 1, {A: 1}) == "Can only score previous round"
    world.score(index, {A: MAX_SCORE})
    assert world.read("previousRoundTotalScores") == MAX_SCORE
    world.release_and_tick()
    assert world.balance(A) == 100 * ETHER


def test_set_scores_multiple_participants(world):
    world.score(world.funded_round(), {A: MAX_SCORE // 2, B: MAX_SCORE // 4, C: MAX_SCORE // 4})
    world.release_and_tick()
    assert [world.balance(p) for p in (A, B, C)] == [50 * ETHER, 25 * ETHER, 25 * ETHER]


def test_set_scores_fractions(world):
    world.score(world.funded_round(), {A: MAX_SCORE - 1, B: 1})
    assert [world.scheduled_for(p) for p in (A, B)] == [100 * ETHER - 10**5, 10**5]


def test_set_scores_empty_round(world):
    world.send("adminAdvanceRound")
    assert names(world.score(0, {})) == []
    assert world.read("previousRoundTotalScores") == 0


def test_set_scores_multiple_calls(world):
    index = world.funded_round()
    for _ in range(10):
        world.score(index, {A: MAX_SCORE // 10})
    assert world.scheduled_for(A) == 100 * ETHER
    assert world.read("previousRoundTotalScores") == MAX_SCORE


TOO_BIG = "Sum of scores including historic too big"


def test_set_scores_too_big(world):
    assert refuses(world.score, world.funded_round(), {A: MAX_SCORE + 1}) == TOO_BIG


def test_set_scores_too_big_historic(world):
    index = world.funded_round()
    world.score(index, {A: MAX_SCORE})
    assert refuses(world.score, index, {B: 1}) == TOO_BIG


def test_set_scores_overflow(world):
    assert refuses(world.score, world.funded_round(), {A: 2**256 - 1, B: 1}) == TOO_BIG


def test_set_scores_unfinished_round(world):
    assert refuses(world.score, 0, {A: MAX_SCORE}) == "Can only score previous round"
    world.send("adminAdvanceRound")
    assert refuses(world.score, 1, {A: MAX_SCORE}) == "Can only score previous round"


def test_set_scores_after_decrease_min_balance_for_transfer(world):
    world.send("setMinBalanceForTransfer", 60 * ETHER)
    index = world.funded_round()
    world.score(index, {A: MAX_SCORE // 2})
    assert world.read("participantCountReadyForTransfer") == 0
    world.send("setMinBalanceForTransfer", 10 * ETHER)
    world.score(index, {A: MAX_SCORE // 10})
    assert world.read("participantCountReadyForTransfer") == 1
    world.score(index, {A: MAX_SCORE // 10})
    assert world.read("participantCountReadyForTransfer") == 1


def test_set_scores_after_increase_min_balance_for_transfer(world):
    index = world.funded_round()
    world.score(index, {A: MAX_SCORE // 2})
    assert world.read("participantCountReadyForTransfer") == 1
    world.send("setMinBalanceForTransfer", 60 * ETHER)
    world.score(index, {A: MAX_SCORE // 10, B: MAX_SCORE // 10})
    assert world.read("participantCountReadyForTransfer") == 1
    assert world.read("readyForTransfer", 0) == address_text(A)


def test_advance_round_clean_up(world):
    index = world.funded_round()
    world.score(index, {A: MAX_SCORE // 2})
    world.send("adminAdvanceRound")
    assert world.read("previousRoundIndex") == index + 1
    assert world.read("previousRoundTotalScores") == 0
    assert refuses(world.score, index, {A: 1}) == "Can only score previous round"


def test_rewards_scheduled_for(world):
    assert world.scheduled_for(A) == 0
    world.score(world.funded_round(), {A: MAX_SCORE // 4})
    assert world.scheduled_for(A) == world.read("balances", A) == 25 * ETHER


# ---- rewards


def test_reward(world):
    world.send("setRoundReward", 100 * ETHER)
    world.fund(150 * ETHER)
    paid = []
    for _ in range(3):
        world.send("adminAdvanceRound")
        index = world.read("previousRoundIndex")
        if index != world.read("currentRoundIndex") and index > 0:
            world.score(index, {A: MAX_SCORE})
            paid.append(world.scheduled_for(A))
    world.send("adminAdvanceRound")
    world.score(world.read("previousRoundIndex"), {A: MAX_SCORE})
    paid.append(world.scheduled_for(A))
    assert paid == [100 * ETHER, 150 * ETHER, 150 * ETHER]


def test_reward_burner(world):
    index = world.funded_round()
    world.score(index, {BURNER: MAX_SCORE})
    assert world.scheduled_for(BURNER) == 0
    assert world.read("balanceHeld") == 0
    assert world.read("currentRoundRoundReward") == 0  # the next round began before the scores
    world.send("adminAdvanceRound")
    assert world.read("currentRoundRoundReward") == 100 * ETHER


def test_previous_round_remaining_reward(world):
    world.score(world.funded_round(), {A: MAX_SCORE // 4})
    world.send("adminAdvanceRound")
    # The rest was still promised to the round that could be scored until this advance.
    assert world.read("currentRoundRoundReward") == 0
    world.send("adminAdvanceRound")
    assert world.read("currentRoundRoundReward") == 75 * ETHER


def test_release_reward(world):
    assert refuses(world.send, "releaseRewards", sender=world.someone) == "Not an admin"
    world.score(world.funded_round(), {A: MAX_SCORE})
    assert names(world.send("tick")) == []
    assert world.balance(A) == 0
    world.send("releaseRewards")
    assert world.balance(A) == 0
    (event,) = world.send("tick", sender=world.someone).events
    assert event.name == "Transfer"
    assert event.args == {"to": address_text(A), "amount": 100 * ETHER}
    assert world.balance(A) == 100 * ETHER
    assert world.scheduled_for(A) == 0


def test_transfer_scheduled(world):
    world.send("setMaxTransfersPerTx", 5)
    people = participants(8)
    world.score(world.funded_round(), dict.fromkeys(people, MAX_SCORE // 8))
    assert world.read("participantCountReadyForTransfer") == 8
    world.send("releaseRewards")
    assert world.read("participantCountReadyForTransfer") == 0
    assert world.read("participantCountScheduledForTransfer") == 8
    assert world.read("scheduledForTransfer", 7) == address_text(people[7])
    first = world.send("tick")
    assert [e.args["to"] for e in first.events] == [address_text(p) for p in people[:2:-1]]
    assert refuses(world.send, "releaseRewards") == "Scheduled transfers still pending"
    second = world.send("tick")
    assert [e.args["to"] for e in second.events] == [address_text(p) for p in people[2::-1]]
    assert world.read("participantCountScheduledForTransfer") == 0
    assert [world.balance(p) for p in people] == [100 * ETHER // 8] * 8
    world.send("releaseRewards")


def test_balance_held(world):
    index = world.funded_round()
    assert world.read("balanceHeld") == 0
    world.score(index, {A: MAX_SCORE // 2})
    assert world.read("balanceHeld") == 50 * ETHER
    world.score(index, {B: MAX_SCORE // 2})
    assert world.read("balanceHeld") == 100 * ETHER
    world.release_and_tick()
    assert world.read("balanceHeld") == 0


def test_available_balance(world):
    world.fund(100 * ETHER)
    assert world.read("availableBalance") == 100 * ETHER
    world.score(world.funded_round(0), {A: MAX_SCORE // 2})
    assert world.read("availableBalance") == 50 * ETHER
    world.release_and_tick()
    assert world.read("availableBalance") == 50 * ETHER
    assert world.funds == 50 * ETHER


def test_min_balance_for_transfer(world):
    assert world.read("minBalanceForTransfer") == ETHER // 2
    index = world.funded_round(ETHER)
    world.score(index, {A: 4 * MAX_SCORE // 10})
    assert world.read("participantCountReadyForTransfer") == 0
    assert names(world.release_and_tick()) == []
    world.score(index, {A: 4 * MAX_SCORE // 10})
    assert world.read("participantCountReadyForTransfer") == 1
    (event,) = world.release_and_tick().events
    assert event.args["amount"] == 8 * ETHER // 10


def test_min_balance_itself_is_not_enough(world):
    world.score(world.funded_round(ETHER), {A: MAX_SCORE // 2})
    assert world.read("participantCountReadyForTransfer") == 0


def test_gas_set_scores(world):
    """1000 calls there."""
    index = world.funded_round()
    costs = [world.score(index, {A: 1}).gas("cancun") for _ in range(100)]
    assert world.scheduled_for(A) == 100 * 10**5
    assert max(costs[2:]) - min(costs[2:]) < 50  # it does not grow (zero bytes of a sum aside)


def test_gas_set_scores_many_participants(world):
    """100 calls of 1000 there, each with the same participants, who are ready from the first on."""
    world.send("setMinBalanceForTransfer", 0)
    people = participants(200)
    index = world.funded_round()
    costs = [world.score(index, dict.fromkeys(people, 10**9)).gas("prague") for _ in range(4)]
    assert max(costs[1:]) < 200 * 8_000
    assert max(costs[1:]) - min(costs[1:]) < 3_000
    assert world.read("participantCountReadyForTransfer") == 200


# ---- settings


def test_set_min_balance_for_transfer(world):
    world.send("setMinBalanceForTransfer", 3)
    assert world.read("minBalanceForTransfer") == 3


def test_set_min_balance_for_transfer_not_admin(world):
    call = (world.send, "setMinBalanceForTransfer", 3)
    assert refuses(*call, sender=world.someone) == "Not an admin"


def test_add_balances(world):
    refused = refuses(world.send, "addBalances", [A], [1], value=1, sender=world.someone)
    assert refused == "Not an admin"
    reason = "Sum of balances must match msg.value"
    assert refuses(world.send, "addBalances", [A, B], [ETHER, 2 * ETHER], value=ETHER) == reason
    world.send("addBalances", [A, B], [ETHER, 2 * ETHER], value=3 * ETHER)
    assert [world.scheduled_for(p) for p in (A, B)] == [ETHER, 2 * ETHER]
    assert world.read("balanceHeld") == world.funds == 3 * ETHER
    assert world.read("availableBalance") == 0
    world.release_and_tick()
    assert [world.balance(p) for p in (A, B)] == [ETHER, 2 * ETHER]


def test_withdraw_not_admin(world):
    assert refuses(world.send, "withdraw", A, sender=world.someone) == "Not an admin"


def test_withdraw(world):
    """What is credited stayed in reach of the admin there; here it does not."""
    world.fund(100 * ETHER)
    world.send("addBalances", [B], [ETHER], value=ETHER)
    world.send("withdraw", A)
    assert (world.balance(A), world.funds) == (100 * ETHER, ETHER)
    world.release_and_tick()
    assert world.balance(B) == ETHER


def test_disable_withdraw_not_admin(world):
    assert refuses(world.send, "disableWithdraw", sender=world.someone) == "Not an admin"
    assert world.read("withdrawDisabled") is False


def test_disable_withdraw(world):
    world.fund(ETHER)
    world.send("disableWithdraw")
    assert world.read("withdrawDisabled") is True
    assert refuses(world.send, "withdraw", A) == "Withdraw disabled"


def test_participant_is_ready_for_transfer(world):
    index = world.funded_round()
    assert world.read("participantIsReadyForTransfer", A) is False
    world.score(index, {A: MAX_SCORE // 2, B: MAX_SCORE // 1000})
    assert world.read("participantIsReadyForTransfer", A) is True
    assert world.read("participantIsReadyForTransfer", B) is False
    world.send("releaseRewards")
    assert world.read("participantIsReadyForTransfer", A) is False


# ---- Spark


def test_spark_constructor():
    spark = ImpactWorld("SparkImpactEvaluator")
    assert spark.read("nextRoundLength") == 40
    assert spark.read("roundReward") == 456_621_004_566_210_045
    assert spark.read("MEASURE_ROLE") == keccak(b"MEASURE_ROLE")


def test_spark_add_measurements():
    spark = ImpactWorld("SparkImpactEvaluator")
    spark.send("grantRole", keccak(b"MEASURE_ROLE"), A)
    outcome = spark.send("addMeasurements", "cid", sender=A)
    assert (outcome.value, names(outcome)) == (0, ["MeasurementsAdded"])


def test_spark_add_measurements_not_sensor():
    spark = ImpactWorld("SparkImpactEvaluator")
    assert refuses(spark.send, "addMeasurements", "cid", sender=A) == "Not a sensor"
    assert refuses(spark.send, "addMeasurements", "cid") == "Not a sensor"  # not even the admin
