"""The arbiter that ships: deposits, quorums, deadlines, contradictions."""

import pytest
from contract_world import FIRST, NETWORK, account, key, refuses
from disputes_world import BOND, REFEREES, VOTING_S, DisputesWorld

from meridian.primitives.ids import ZERO_ADDRESS, address_text

MIN = 7


@pytest.fixture
def world():
    made = DisputesWorld()
    made.open(FIRST)
    return made


@pytest.fixture
def case(world):
    arguments = (FIRST, b"\x11" * 32, "")
    return world.disputes.send("escalate", *arguments, sender=world.hunter, value=BOND).value


def decide(world, case, signatures, voids=True):
    return world.referees.send("decide", case, [], [], voids, signatures)


def test_a_quorum_of_the_pinned_referees_decides(world, case):
    assert world.referees.read("quorum") == 3
    assert world.referees.read("is_referee", REFEREES[0].address)
    assert not world.referees.read("is_referee", account("stranger"))
    few = world.votes(case, (), (), True, 2)
    assert refuses(decide, world, case, few) == "referees: quorum"
    three = world.votes(case, (), (), True, 3)
    assert refuses(decide, world, case, three[::-1]) == "referees: signature"
    assert refuses(decide, world, case, [three[0]] * 3) == "referees: signature"
    assert refuses(decide, world, case, [*three[:2], (0, 0)]) == "referees: signature"
    assert refuses(decide, world, case, three, False) in {
        "referees: referee",
        "referees: signature",
    }
    assert refuses(decide, world, case + 1, three) == "referees: no case"
    stranger = key("stranger")
    voters = sorted([*REFEREES[:2], stranger], key=lambda k: k.address)
    alien = world.ruling_signatures(case, (), (), True, voters)
    assert refuses(decide, world, case, alien) == "referees: referee"
    outcome = decide(world, case, three)
    assert ("Decided", 3) in [(e.name, e.args.get("votes")) for e in outcome.events]


def test_a_ruling_is_for_one_case_of_one_network(world, case):
    other = world.disputes.send(
        "escalate", FIRST, b"\x12" * 32, "", sender=world.hunter, value=BOND
    ).value
    votes = world.votes(case, (), (), True, 4)
    assert refuses(decide, world, other, votes) in {"referees: referee", "referees: signature"}
    known = world.referees.read("cases", case)
    assert (known[0], known[2]) == (FIRST, b"\x11" * 32)
    assert world.registry.read("network") == NETWORK


def test_a_referee_without_its_deposit_does_not_count(world):
    referee = REFEREES[0].address
    world.referees.send("withdraw", sender=referee)
    assert refuses(world.referees.send, "withdraw", sender=referee) == "referees: nothing"
    case = world.disputes.send(
        "escalate", FIRST, b"\x11" * 32, "", sender=world.hunter, value=BOND
    ).value
    votes = world.votes(case, (), (), True, 3)
    assert refuses(decide, world, case, votes) == "referees: stake"
    world.referees.send("deposit", sender=referee, value=MIN - 1)
    assert refuses(decide, world, case, votes) == "referees: stake"
    world.referees.send("deposit", sender=referee, value=1)
    assert world.referees.read("deposits", referee) == MIN
    decide(world, case, votes)


def test_deposits_stay_while_a_case_is_open_and_a_time_after(world, case):
    referee = REFEREES[0].address
    send = world.referees.send
    assert world.referees.read("busy_until") == world.now_s + 2 * VOTING_S
    world.now_s += 2 * VOTING_S
    assert refuses(send, "withdraw", sender=referee) == "referees: busy"
    world.now_s += 1
    before = world.balance(referee)
    send("withdraw", sender=referee)
    assert world.balance(referee) - before == MIN
    assert refuses(send, "deposit", sender=account("someone"), value=1) == "referees: referee"
    assert refuses(send, "deposit", sender=referee) == "referees: nothing"


def test_only_disputes_opens_cases(world):
    assert refuses(world.referees.send, "open_case", 1, FIRST, bytes(32)) == "referees: sender"


def test_two_rulings_of_one_referee_cost_its_deposit(world, case):
    referee = REFEREES[1]
    none = world.lists_hash((), ())
    one = world.ruling_signatures(case, (), (), True, [referee])[0]
    two = world.ruling_signatures(case, (), (), False, [referee])[0]

    def show(voids, signatures, at=case):
        pair = ([none[0]] * 2, [none[1]] * 2, voids, signatures)
        return world.referees.send("contradiction", at, *pair, sender=world.hunter)

    assert refuses(show, [True, True], [one, one]) == "referees: right"
    assert refuses(show, [True, False], [one, one]) == "referees: signature"
    assert refuses(show, [True, False], [one, two], case + 1) == "referees: no case"
    before = world.balance(world.hunter)
    show([True, False], [one, two])
    assert world.balance(world.hunter) - before == MIN // 2
    assert world.referees.read("deposits", referee.address) == 0
    assert refuses(show, [True, False], [one, two]) == "referees: stake"
    outsider = [world.ruling_signatures(case, (), (), v, [key("x")])[0] for v in (True, False)]
    assert refuses(show, [True, False], outsider) == "referees: stake"


def test_wrong_referees_and_delays_are_refused_at_deployment(world):
    at = world.addresses.disputes
    one = account("a")
    for referees, seconds, reason in (
        ([], 5, "referees: referees"),
        ([one, one], 5, "referees: referees"),
        ([ZERO_ADDRESS], 5, "referees: referees"),
        ([one], 0, "referees: delay"),
        ([one], 2**32 + 1, "referees: delay"),
    ):
        assert refuses(world.deploy, "Referees", at, referees, 0, seconds) == reason
    assert world.referees.read("stake_min") == MIN
    assert world.referees.read("voting_seconds") == VOTING_S
    assert world.referees.read("disputes") == address_text(at)
