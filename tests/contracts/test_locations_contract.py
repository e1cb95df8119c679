"""The contract of the model `offchain-store`: locations before a cut-off, the first result of a quorum, claims by proof."""

from dataclasses import replace

import pytest
from alone_world import REFUSES_MONEY, AloneWorld, names
from contract_world import (
    ETHER,
    FUNCTION,
    GENESIS_S,
    NETWORK,
    PARAMETERS,
    ClaimTree,
    account,
    key,
    refuses,
)

from meridian.models.offchain_statements import (
    Located,
    StoreResult,
    location,
    locations_chain,
    registration,
    result_words,
)
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import address_text, node_key
from meridian.primitives.quorum import quorum

EPOCH_S, FIRST = 600, 5
LOCATE_S, WINDOW_S, REPORT_S = 60, 900, 10_000
END_S = GENESIS_S + EPOCH_S
REFEREE = account("referee")
EVALUATORS = [key(f"evaluator {number}") for number in range(4)]
ACCOUNTS = [one.address for one in EVALUATORS]
NODES = ("a", "b")
TERMS = (NETWORK, GENESIS_S, EPOCH_S, FIRST, [LOCATE_S, WINDOW_S, REPORT_S], REFEREE, ACCOUNTS)
PINNED = (FUNCTION, PARAMETERS)


class LocationsWorld(AloneWorld):
    def __init__(self) -> None:
        super().__init__()
        self.now_s = GENESIS_S
        self.locations = self.contract("Locations", *TERMS, *PINNED)
        self.told: list[Located] = []

    def send(self, function, *args, **options):
        return self.locations.send(function, *args, **options)

    def read(self, function, *args):
        return self.locations.read(function, *args)

    def consent(self, node, payee=None, signer=None):
        return registration(
            self.locations.domain,
            NETWORK,
            signer or key(f"operator {node}"),
            node_key(node),
            payee or account(f"payee {node}"),
        )

    def place(self, node, epoch=FIRST, signer=None, object_=None, count=3):
        told = Located(node_key(node), object_ or sha256(node.encode()), count)
        by = signer or key(f"operator {node}")
        return told, location(self.locations.domain, NETWORK, by, epoch, told)

    def tell(self, *nodes, **changes):
        placed = [self.place(node, **changes) for node in nodes]
        outcome = self.send("locate_many", changes.get("epoch", FIRST), [one for _, one in placed])
        self.told += [told for told, _ in placed]
        return outcome

    def ready(self, tree=None, **payees):
        """Both nodes registered and told, the epoch funded and behind its cut-off; returns a good result."""
        self.send("fund", FIRST, value=ETHER)
        self.send("register_many", [self.consent(node, payees.get(node)) for node in NODES])
        self.now_s = END_S
        self.tell(*NODES)
        self.now_s += LOCATE_S
        self.tree = tree or ClaimTree(
            {node: (payees.get(node) or account(f"payee {node}"), ETHER // 4) for node in NODES}
        )
        return StoreResult(
            FIRST,
            locations_chain(self.told),
            sha256(b"outcome"),
            FUNCTION,
            PARAMETERS,
            self.tree.root,
            self.tree.total,
        )

    def report(self, result, keys=EVALUATORS[:3]):
        digest = result.digest(self.locations.domain, NETWORK)
        signatures = {one.address: one.sign(digest) for one in keys}
        return self.send("report", result.arguments, result_words(signatures, ACCOUNTS))

    def claim(self, *nodes, **changes):
        claims = [replace(self.tree.claim(FIRST, node), **changes) for node in nodes]
        return self.send("claim_many", [one.arguments for one in claims])


@pytest.fixture
def world():
    return LocationsWorld()


def test_an_epoch_from_locations_to_payments(world):
    result = world.ready()
    assert world.read("locations", FIRST) == result.locations
    assert world.read("objects", FIRST, node_key("a")) == sha256(b"a")
    assert world.read("quorum") == quorum(4) == 3
    outcome = world.report(result)
    assert names(outcome) == ["Reported"]
    assert world.read("results", FIRST) == result.digest(world.locations.domain, NETWORK)
    assert refuses(world.claim, "a") == "locations: locked"
    world.now_s += WINDOW_S
    assert refuses(world.claim, "a", payee=account("thief")) == "locations: proof"
    other = 1 - world.tree.claim(FIRST, "a").index
    assert refuses(world.claim, "a", index=other) == "locations: proof"
    assert refuses(world.claim, "a", cumulative_atto=ETHER // 2) == "locations: sums"
    paid = world.claim("a", "b")
    assert (paid.value, names(paid)) == (2, ["Claimed", "Claimed"])
    again = world.claim("a", "b")
    assert (again.value, names(again)) == (0, [])
    assert [world.balance(account(f"payee {node}")) for node in NODES] == [ETHER // 4] * 2


def test_nodes_are_their_operators(world):
    assert refuses(world.send, "register_many", [world.consent("a", bytes(20))]) == (
        "locations: payee"
    )
    consent = world.consent("a")
    stranger = world.consent("a", signer=key("stranger"))
    forged = (*consent[:3], *stranger[3:])
    assert refuses(world.send, "register_many", [forged]) == "locations: signature"
    assert names(world.send("register_many", [consent, world.consent("b")])) == ["Registered"] * 2
    assert names(world.send("register_many", [consent])) == []  # somebody else relayed it before
    for other in (stranger, world.consent("a", account("another payee"))):
        assert refuses(world.send, "register_many", [other]) == "locations: registered"


def test_locations_are_told_once_in_time_by_the_operator(world):
    world.send("register_many", [world.consent(node) for node in NODES])
    assert refuses(world.tell, "a") == "locations: early"
    world.now_s = END_S
    assert refuses(world.tell, "c") == "locations: unregistered"
    assert refuses(world.tell, "a", signer=key("relayer")) == "locations: signature"
    assert refuses(world.tell, "a", object_=bytes(32)) == "locations: object"
    assert refuses(world.tell, "a", epoch=FIRST - 1) == "locations: epoch"
    assert names(world.tell("a")) == ["Located"]
    assert world.read("cutoffs", FIRST) == END_S + LOCATE_S
    assert names(world.send("locate_many", FIRST, [world.place("a")[1]])) == []  # once more
    assert refuses(world.tell, "a", object_=sha256(b"other")) == "locations: told"
    assert refuses(world.tell, "b", count=4, signer=key("operator a")) == "locations: signature"
    world.now_s = END_S + LOCATE_S - 1
    world.tell("b")
    assert world.read("locations", FIRST) == locations_chain(world.told)
    world.now_s += 1
    assert refuses(world.tell, "b") == "locations: late"


def test_a_result_is_about_this_input_and_this_function_and_within_the_budget(world):
    result = world.ready()
    for change, reason in (
        ({"epoch": FIRST + 1}, "locations: early"),
        ({"locations": bytes(32)}, "locations: input"),
        ({"function_digest": bytes(32)}, "locations: function"),
        ({"parameters_digest": bytes(32)}, "locations: function"),
        ({"total": ETHER + 1}, "locations: budget"),
        ({"reward_root": bytes(32)}, "locations: root"),
    ):
        assert refuses(world.report, replace(result, **change)) == reason
    world.now_s -= 1
    assert refuses(world.report, result) == "locations: early"
    world.now_s += 1
    world.report(replace(result, total=ETHER))
    assert refuses(world.report, result) == "locations: reported"
    assert refuses(world.send, "fund", FIRST, value=1) == "locations: reported"
    assert refuses(world.claim, "a") == "locations: locked"


def test_a_quorum_of_different_evaluators_signs(world):
    result = world.ready()
    assert refuses(world.report, result, EVALUATORS[:2]) == "locations: quorum"
    digest = result.digest(world.locations.domain, NETWORK)
    words = result_words({one.address: one.sign(digest) for one in EVALUATORS}, ACCOUNTS)
    stranger = result_words({account("x"): key("x").sign(digest)}, [account("x")])
    for wrong in ([words[0], words[0], words[1]], words[::-1], [*words[:2], *stranger]):
        assert refuses(world.send, "report", result.arguments, wrong) == "locations: signer"
    world.send("report", result.arguments, words)


def test_the_referee_vetoes_in_the_window_and_the_same_never_comes_back(world):
    result = world.ready()
    assert refuses(world.send, "veto", FIRST, sender=REFEREE) == "locations: unreported"
    world.report(result)
    assert refuses(world.send, "veto", FIRST) == "locations: referee"
    assert names(world.send("veto", FIRST, sender=REFEREE)) == ["Vetoed"]
    assert refuses(world.claim, "a") == "locations: unreported"
    assert refuses(world.report, result, EVALUATORS) == "locations: vetoed"
    world.report(replace(result, outcome=sha256(b"another")))
    world.now_s = world.read("unlock_at", FIRST)
    assert refuses(world.send, "veto", FIRST, sender=REFEREE) == "locations: unlocked"
    assert world.claim("a").value == 1


def test_a_payee_that_takes_no_money_does_not_block_the_others(world):
    wallet = world.deploy_code(REFUSES_MONEY)
    world.report(world.ready(a=wallet))
    world.now_s += WINDOW_S
    paid = world.claim("a", "b")
    assert (paid.value, sorted(names(paid))) == (1, ["Claimed", "PaymentRefused"])
    world.env.set_code("0x" + wallet.hex(), b"")
    assert world.claim("a", "b").value == 1
    assert world.balance(wallet) == ETHER // 4


def test_an_epoch_that_nobody_reports_gives_its_budget_to_the_next(world):
    result = world.ready()
    assert refuses(world.send, "abandon", FIRST) == "locations: early"
    world.now_s += REPORT_S
    assert names(world.send("abandon", FIRST)) == ["Abandoned"]
    assert refuses(world.send, "abandon", FIRST) == "locations: nothing"
    assert refuses(world.send, "abandon", FIRST + 1) == "locations: early"
    assert world.read("budgets", FIRST + 1) == ETHER
    assert refuses(world.report, result) == "locations: budget"
    world.report(replace(result, total=0))
    assert refuses(world.send, "abandon", FIRST) == "locations: reported"
    assert refuses(world.send, "fund", FIRST + 1, value=2**96) == "locations: budget"


def test_bad_terms_are_refused(world):
    network, genesis, _, first, delays, referee, evaluators = TERMS
    for length, times, who, reason in (
        (0, delays, evaluators, "locations: epoch seconds"),
        (2**33, delays, evaluators, "locations: epoch seconds"),
        (EPOCH_S, [0, 2**33, 0], evaluators, "locations: delay"),
        (EPOCH_S, delays, [], "locations: evaluators"),
        (EPOCH_S, delays, [evaluators[0]] * 2, "locations: evaluators"),
        (EPOCH_S, delays, [bytes(20)], "locations: evaluators"),
    ):
        terms = (network, genesis, length, first, times, referee, who, *PINNED)
        assert refuses(world.contract, "Locations", *terms) == reason


def test_the_quorum_is_that_of_the_protocol(world):
    for count in range(1, 32):
        who = [account(f"evaluator {number}") for number in range(count)]
        contract = world.contract("Locations", *TERMS[:-1], who, *PINNED)
        assert contract.read("quorum") == quorum(count)
        assert contract.read("evaluators") == tuple(map(address_text, who))
