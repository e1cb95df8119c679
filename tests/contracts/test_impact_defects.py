"""The earlier contract's defects do not come back; its interface is kept, selector by selector; money is conserved."""

import pytest
from alone_world import BURNER, MAX_SCORE, REFUSES_MONEY, ImpactWorld, names
from contract_world import ETHER, account, refuses
from eth_abi import encode
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.strategies import dictionaries, integers

from meridian.contracts.artefact import load
from meridian.primitives.eip712 import keccak
from meridian.primitives.ids import address_text

A, B, C = (account(f"participant {i}") for i in range(3))
ADMIN_ROLE = bytes(32)
EVALUATE_ROLE = keccak(b"EVALUATE_ROLE")


@pytest.fixture
def world() -> ImpactWorld:
    return ImpactWorld()


# ---- defects


def test_who_crosses_a_raised_minimum_again_is_paid_once(world):
    """Was: ready twice, paid 1.1 and then 0.0."""
    world.send("addBalances", [A], [6 * ETHER // 10], value=6 * ETHER // 10)
    world.send("setMinBalanceForTransfer", ETHER)
    world.send("addBalances", [A], [ETHER // 2], value=ETHER // 2)
    assert world.read("participantCountReadyForTransfer") == 1
    (event,) = world.release_and_tick().events
    assert event.args["amount"] == 11 * ETHER // 10
    assert names(world.release_and_tick()) == []


def test_who_is_credited_while_scheduled_is_paid_all_at_once(world):
    """Was: ready as well as scheduled, so that the second payment was of nothing."""
    world.send("addBalances", [A], [ETHER], value=ETHER)
    world.send("releaseRewards")
    world.send("addBalances", [A], [ETHER], value=ETHER)
    assert world.read("participantCountReadyForTransfer") == 0
    (event,) = world.send("tick").events
    assert event.args["amount"] == 2 * ETHER
    world.send("addBalances", [A], [ETHER], value=ETHER)
    assert world.read("participantIsReadyForTransfer", A) is True


def test_a_failed_payment_stays_the_participants(world):
    """Was: the balance went back to the contract."""
    wallet = world.deploy_code(REFUSES_MONEY)
    world.send("addBalances", [A, wallet], [ETHER, 2 * ETHER], value=3 * ETHER)
    outcome = world.release_and_tick()
    assert names(outcome) == ["TransferFailed", "Transfer"]
    assert outcome.events[0].args == {"to": address_text(wallet), "amount": 2 * ETHER}
    assert world.scheduled_for(wallet) == world.read("balanceHeld") == 2 * ETHER
    assert world.read("availableBalance") == 0
    assert world.read("participantIsReadyForTransfer", wallet) is True
    world.env.set_code(address_text(wallet), b"")
    world.release_and_tick()
    assert world.balance(wallet) == 2 * ETHER


def test_withdraw_leaves_what_is_held_and_promised_and_rounds_go_on(world):
    """Was: everything went, and the next round could not begin any more."""
    index = world.funded_round(150 * ETHER)  # previous round 100, current round 50
    world.score(index, {A: MAX_SCORE // 4})
    world.fund(7)
    world.send("withdraw", C)
    assert world.balance(C) == 7
    assert world.read("availableBalance") == 125 * ETHER
    world.send("withdraw", C)
    assert world.balance(C) == 7
    world.send("adminAdvanceRound")
    world.score(index + 1, {A: MAX_SCORE})
    assert world.scheduled_for(A) == 75 * ETHER
    world.release_and_tick()
    assert world.balance(A) == 75 * ETHER
    wallet = world.deploy_code(REFUSES_MONEY)
    assert refuses(world.send, "withdraw", wallet) == "Transfer failed"


@pytest.mark.parametrize("amounts", [[ETHER, ETHER], []])
def test_balances_without_an_address_are_refused(world, amounts):
    """Was: the contract held money that nobody was credited with."""
    reason = "Addresses and balances length mismatch"
    assert refuses(world.send, "addBalances", [A], amounts, value=sum(amounts)) == reason


def test_nobody_is_scored_twice_in_a_call(world):
    """Was: credited twice. Further calls may name the same participants, as clients' buckets do."""
    index = world.funded_round()
    twice = (world.send, "setScores", index, [A, B, A], [1, 1, 1])
    assert refuses(*twice) == "Participant scored twice"
    world.send("setScores", index, [A, BURNER, BURNER], [1, 1, 1])  # the burner gets nothing
    world.score(index, {A: 1})
    assert world.scheduled_for(A) == 2 * 10**5


def test_crediting_costs_the_same_for_each_who_is_ready_already(world):
    """Was quadratic: 3.6 M gas for 100 participants, 26.6 M for 300."""
    people = [account(f"participant {i}") for i in range(300)]
    each = dict.fromkeys(people, MAX_SCORE // 1000)
    index = world.funded_round(1000 * ETHER)
    world.send("setMinBalanceForTransfer", 0)
    world.score(index, each)
    some = world.score(index, dict.fromkeys(people[:100], 1)).gas("cancun")
    all_ = world.score(index, dict.fromkeys(people, 1)).gas("cancun")
    assert some < 750_000
    assert all_ < 3 * some


def test_the_admin_cannot_reach_credited_money_but_remains_trusted_with_scores(world):
    world.score(world.funded_round(), {A: MAX_SCORE})
    world.send("setRoundReward", 0)
    for _ in range(3):
        world.send("adminAdvanceRound")
        world.send("withdraw", C)
    assert world.balance(C) == 0
    assert world.funds == world.scheduled_for(A) == 100 * ETHER


def test_who_is_above_a_lowered_minimum_is_ready_at_the_next_credit(world):
    """Was, in the version that ran longest: never."""
    world.send("addBalances", [A], [ETHER // 4], value=ETHER // 4)
    world.send("setMinBalanceForTransfer", ETHER // 10)
    world.send("addBalances", [A], [1], value=1)
    assert world.read("participantIsReadyForTransfer", A) is True


@pytest.mark.parametrize(("most", "paid"), [(0, 0), (2, 2), (2**256 - 1, 3)])
def test_a_tick_pays_as_many_as_the_admin_says(world, most, paid):
    people = [A, B, C]
    world.send("addBalances", people, [ETHER] * 3, value=3 * ETHER)
    world.send("releaseRewards")
    world.send("setMaxTransfersPerTx", most)
    assert names(world.send("tick")) == ["Transfer"] * paid


# ---- the interface

SELECTORS = """
tick() 3eaf5d9f
addMeasurements(string) 5535dbf6
setScores(uint256,address[],uint256[]) 603119b1
addBalances(address[],uint256[]) ddf0c070
releaseRewards() d0fab3ca
adminAdvanceRound() 05f37853
setNextRoundLength(uint256) f0932bd7
setRoundReward(uint256) da845ce0
setMaxTransfersPerTx(uint256) 1d2c93d8
setMinBalanceForTransfer(uint256) 4818cfd4
withdraw(address) 51cff8d9
disableWithdraw() ce8d388d
currentRoundIndex() 6896ef4b
currentRoundEndBlockNumber() 2a4e627a
currentRoundRoundReward() 1c9b28bf
previousRoundIndex() 991b2208
previousRoundTotalScores() b57d012e
previousRoundRoundReward() 30cb93b5
nextRoundLength() 9384c885
roundReward() f199f56d
balanceHeld() 624c6be7
withdrawDisabled() b884110b
MAX_SCORE() 27ff6223
EVALUATE_ROLE() 7873cde2
balances(address) 27e235e3
rewardsScheduledFor(address) 3173c288
readyForTransfer(uint256) cad5565c
scheduledForTransfer(uint256) 93fedd61
participantCountReadyForTransfer() d3120352
participantCountScheduledForTransfer() 0f881326
participantIsReadyForTransfer(address) 62886e61
maxTransfersPerTx() 65537de3
minBalanceForTransfer() 4173393b
availableBalance() ab2f0e51
hasRole(bytes32,address) 91d14854
grantRole(bytes32,address) 2f2ff15d
revokeRole(bytes32,address) d547741f
renounceRole(bytes32,address) 36568abe
getRoleAdmin(bytes32) 248a9ca3
supportsInterface(bytes4) 01ffc9a7
DEFAULT_ADMIN_ROLE() a217fddf
"""
RETURNS_NOTHING = {
    "tick",
    "setScores",
    "addBalances",
    "releaseRewards",
    "adminAdvanceRound",
    "setNextRoundLength",
    "setRoundReward",
    "setMaxTransfersPerTx",
    "setMinBalanceForTransfer",
    "withdraw",
    "disableWithdraw",
    "grantRole",
    "revokeRole",
    "renounceRole",
}
EVENTS = {
    "MeasurementsAdded(string cid,uint256 indexed roundIndex,address indexed sender)",
    "RoundStart(uint256 roundIndex)",
    "Transfer(address indexed to,uint256 amount)",
    "TransferFailed(address indexed to,uint256 amount)",
    "RoleGranted(bytes32 indexed role,address indexed account,address indexed sender)",
    "RoleRevoked(bytes32 indexed role,address indexed account,address indexed sender)",
}


@pytest.mark.parametrize("name", ["ImpactEvaluator", "SparkImpactEvaluator"])
def test_functions_events_and_constructor_are_those_of_the_earlier_contract(name):
    abi = load(name).abi
    listed = dict(line.split() for line in SELECTORS.split("\n") if line)
    if name.startswith("Spark"):
        listed["MEASURE_ROLE()"] = keccak(b"MEASURE_ROLE()")[:4].hex()
    for signature, selector in listed.items():
        assert keccak(signature.encode())[:4].hex() == selector
    functions = [entry for entry in abi if entry["type"] == "function"]
    shapes = {
        f"{entry['name']}({','.join(i['type'] for i in entry['inputs'])})": entry
        for entry in functions
    }
    assert set(shapes) == set(listed)
    assert {entry["name"] for entry in functions if not entry["outputs"]} == RETURNS_NOTHING
    payable = {entry["name"] for entry in functions if entry["stateMutability"] == "payable"}
    assert payable == {"addBalances"}
    events = {
        f"{entry['name']}("
        + ",".join(
            f"{i['type']} {'indexed ' if i['indexed'] else ''}{i['name']}" for i in entry["inputs"]
        )
        + ")"
        for entry in abi
        if entry["type"] == "event"
    }
    assert events == EVENTS
    (constructor,) = (entry for entry in abi if entry["type"] == "constructor")
    assert [i["type"] for i in constructor["inputs"]] == ["address"]


def test_roles_are_granted_taken_and_given_up(world):
    assert world.read("hasRole", ADMIN_ROLE, world.admin) is True
    assert world.read("hasRole", EVALUATE_ROLE, world.admin) is True
    assert world.read("getRoleAdmin", EVALUATE_ROLE) == ADMIN_ROLE
    (event,) = world.send("grantRole", EVALUATE_ROLE, A).events
    assert event.name == "RoleGranted"
    assert event.args == {
        "role": EVALUATE_ROLE,
        "account": address_text(A),
        "sender": address_text(world.admin),
    }
    assert names(world.send("grantRole", EVALUATE_ROLE, A)) == []
    world.send("adminAdvanceRound")
    world.score(0, {B: 1}, sender=A)
    assert names(world.send("revokeRole", EVALUATE_ROLE, A)) == ["RoleRevoked"]
    assert names(world.send("revokeRole", EVALUATE_ROLE, A)) == []
    assert refuses(world.score, 0, {B: 1}, sender=A) == "Not an evaluator"
    missing = keccak(b"AccessControlUnauthorizedAccount(address,bytes32)")[:4] + encode(
        ["address", "bytes32"], [A, ADMIN_ROLE]
    )
    for function in ("grantRole", "revokeRole"):
        assert refuses(world.send, function, ADMIN_ROLE, A, sender=A) == missing.hex()
    wrong = keccak(b"AccessControlBadConfirmation()")[:4].hex()
    assert refuses(world.send, "renounceRole", ADMIN_ROLE, world.admin, sender=A) == wrong
    assert names(world.send("renounceRole", ADMIN_ROLE, world.admin)) == ["RoleRevoked"]
    assert refuses(world.send, "setRoundReward", 1) == "Not an admin"


@pytest.mark.parametrize(
    ("interface", "has"),
    [("01ffc9a7", True), ("7965db0b", True), ("ffffffff", False), ("00000000", False)],
)
def test_interfaces_are_those_of_access_control(world, interface, has):
    assert world.read("supportsInterface", bytes.fromhex(interface)) is has


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("adminAdvanceRound", ()),
        ("setNextRoundLength", (1,)),
        ("setMaxTransfersPerTx", (1,)),
        ("setMinBalanceForTransfer", (1,)),
        ("addBalances", ([], [])),
    ],
)
def test_admins_functions_are_theirs(world, function, arguments):
    assert refuses(world.send, function, *arguments, sender=A) == "Not an admin"


def test_what_is_not_in_a_list_or_not_a_function_is_refused(world):
    assert refuses(world.read, "readyForTransfer", 0) == "No such participant"
    assert refuses(world.read, "scheduledForTransfer", 0) == "No such participant"
    for data in (b"\x00", bytes.fromhex("12345678")):
        refused = refuses(world.execute, world.impact.address, data, None, 1, None)
        assert refused == "Unknown function"


# ---- money


class Money(RuleBasedStateMachine):
    """Any order of calls: what is credited is there, waiting lists hold who is owed, nothing appears or is lost."""

    people = (A, B, C)

    def __init__(self):
        super().__init__()
        self.world = ImpactWorld()
        self.stubborn = self.world.deploy_code(REFUSES_MONEY)
        self.everyone = (*self.people, self.stubborn)
        self.sent = self.withdrawn = 0
        self.outside = account("outside")

    @rule(amount=integers(0, 300 * ETHER))
    def fund(self, amount):
        self.world.fund(amount)
        self.sent += amount

    @rule(blocks=integers(0, 15))
    def tick(self, blocks):
        self.world.block += blocks
        self.world.send("tick", sender=self.world.someone)

    @rule(reward=integers(0, 200 * ETHER), minimum=integers(0, 2 * ETHER), most=integers(0, 3))
    def settings(self, reward, minimum, most):
        self.world.send("setRoundReward", reward)
        self.world.send("setMinBalanceForTransfer", minimum)
        self.world.send("setMaxTransfersPerTx", most)

    @precondition(lambda self: self.world.read("currentRoundIndex") > 0)
    @rule(scores=dictionaries(integers(0, 4), integers(0, MAX_SCORE // 4), max_size=5))
    def score(self, scores):
        left = MAX_SCORE - self.world.read("previousRoundTotalScores")
        named = {(*self.everyone, BURNER)[i]: score for i, score in scores.items()}
        if sum(named.values()) > left:
            assert refuses(self.world.score, self.previous, named).startswith("Sum of scores")
        else:
            self.world.score(self.previous, named)

    @property
    def previous(self):
        return self.world.read("previousRoundIndex")

    @rule(who=integers(0, 3), amount=integers(0, 2 * ETHER))
    def add(self, who, amount):
        self.world.send("addBalances", [self.everyone[who]], [amount], value=amount)
        self.sent += amount

    @precondition(lambda self: self.world.read("participantCountScheduledForTransfer") == 0)
    @rule()
    def release(self):
        self.world.send("releaseRewards")

    @rule()
    def withdraw(self):
        before = self.world.balance(self.outside)
        self.world.send("withdraw", self.outside)
        self.withdrawn += self.world.balance(self.outside) - before

    @invariant()
    def money_is_conserved_and_covers_what_is_owed(self):
        world = self.world
        credited = sum(world.scheduled_for(p) for p in self.everyone)
        paid = sum(world.balance(p) for p in self.everyone)
        assert world.read("balanceHeld") == credited
        assert world.funds == self.sent - paid - self.withdrawn
        rest = MAX_SCORE - world.read("previousRoundTotalScores")
        promised = world.read("previousRoundRoundReward") * rest // MAX_SCORE
        promised += world.read("currentRoundRoundReward")
        assert world.read("availableBalance") >= promised

    @invariant()
    def who_waits_stands_in_one_list_once_and_is_owed_something(self):
        world = self.world
        waiting = []
        for kind in ("ready", "scheduled"):
            count = world.read(f"participantCount{kind.title()}ForTransfer")
            waiting += [world.read(f"{kind}ForTransfer", i) for i in range(count)]
        assert len(set(waiting)) == len(waiting)
        assert all(world.scheduled_for(bytes.fromhex(w[2:])) > 0 for w in waiting)


TestMoney = Money.TestCase
TestMoney.settings = settings(max_examples=12, stateful_step_count=25, deadline=None)
