"""What a loser says about an accepted result of a race: with real blocks, votes and signatures."""

import pytest
from nym_world import KEYS, MIXNODES, network

from meridian.audit.evidence import State, first_broken
from meridian.ephemera.broadcast.slot import DeliveryCertificate, Kind, statement
from meridian.ephemera.messages.block import make_block
from meridian.ephemera.messages.message import Realm, sign_message
from meridian.nym.acceptance import Mode
from meridian.nym.evidence import Case, check_case, verdict
from meridian.nym.race_rules import LABEL
from meridian.nym.rewards import Report, sign_submission
from meridian.nym.rows import SCALE, Row, aggregate
from meridian.primitives.ids import network_id

SYSTEM = network(Mode.RACE)
CONTEXT = SYSTEM.context(0)
WINNER = 1
EPOCH = 3


def row(place: int, epoch: int = EPOCH) -> Row:
    return Row(epoch, ((0, (10 + place) * SCALE),))


def message(place: int, *, epoch: int = EPOCH, realm: Realm = SYSTEM.realm):
    data = row(place, epoch).encode()
    return sign_message(realm, KEYS[place], number=epoch, created_ms=0, label=LABEL, data=data)


def case(
    *,
    creator: int = WINNER,
    messages=None,
    voters=(0, 1, 2),
    rewards=None,
    rule: str = "mean",
    voted=None,
) -> Case:
    block = make_block(
        CONTEXT, creator, 1, CONTEXT.digest, 5, messages or [message(p) for p in range(4)]
    )
    digest = voted or block.hash
    votes = tuple(
        (v, KEYS[v].sign(statement(CONTEXT, Kind.VOTE, block.header.slot, digest))) for v in voters
    )
    certificate = DeliveryCertificate(block.header.slot, digest, votes)
    if rewards is None:
        rows = [row(place) for place in range(len(block.messages))]
        rewards = aggregate("mean", rows, mixnodes=MIXNODES, apis=4)
    sent = sign_submission(
        SYSTEM.realm, Report(EPOCH, block.hash, rule, tuple(rewards)), KEYS[WINNER]
    )
    made = Case(SYSTEM.terms, EPOCH, "mean", CONTEXT, sent)
    made.block_bytes, made.certificate_bytes = block.encode(), certificate.encode()
    return made


def test_a_result_that_follows_holds_and_names_everybody():
    made = case()
    links = check_case(made)
    assert all(link.state is State.HOLDS for link in links)
    assert verdict(links) == (True, "all 3 values follow: mean of 4 rows")
    assert made.signers == tuple(key.address for key in KEYS[:3])
    assert sorted(made.rows) == [key.address for key in KEYS]


def test_three_rows_of_four_are_enough():
    assert verdict(check_case(case(messages=[message(p) for p in range(3)])))[0]


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (case(rewards=(99 * SCALE, None, None)), "result"),  # the winner lies about its own block
        (case(rewards=(11_500_000, 0, None)), "result"),  # missing told as 0
        (case(rule="wmedian"), "accepted result"),
        (case(creator=2), "block"),  # another's block
        (case(voters=(0, 1)), "certificate"),
        (case(voted=bytes(32)), "certificate"),
        (case(messages=[message(p) for p in range(2)]), "messages"),
        (case(messages=[*(message(p) for p in range(3)), message(3, epoch=4)]), "messages"),
        (case(messages=[message(p, epoch=4) for p in range(4)]), "messages"),
        (
            case(
                messages=[
                    *(message(p) for p in range(3)),
                    message(3, realm=Realm(SYSTEM.realm.domain, network_id("other"))),
                ]
            ),
            "messages",
        ),
    ],
)
def test_the_first_link_that_breaks_is_named(made, name):
    links = check_case(made)
    broken = first_broken(links)
    assert broken is not None
    assert broken.name == name
    assert not verdict(links)[0]
    later = [link.state for link in links[links.index(broken) + 1 :]]
    assert State.BROKEN not in later
