"""The application's answers about messages and blocks; D9 and D14 of the original by name."""

import pytest
from nym_world import KEYS, MIXNODES, STRANGER, network

from meridian.ephemera.context import Context
from meridian.ephemera.messages.block import make_block
from meridian.ephemera.messages.hooks import Accept, Reject, RejectAndRemove
from meridian.ephemera.messages.message import sign_message
from meridian.nym.acceptance import Mode
from meridian.nym.race_rules import EPOCHS_KEPT, LABEL, RaceRules, rows_min
from meridian.nym.rows import VALUE_MAX, Row

SYSTEM = network(Mode.RACE)
CONTEXT: Context = SYSTEM.context(0)


class World:
    """Rules with a clock and a list of what was delivered."""

    def __init__(self, members=SYSTEM.members):
        self.now = 0
        self.current = 10_000
        self.delivered = []
        self.rules = RaceRules(
            SYSTEM.realm,
            members,
            MIXNODES,
            grace_ms=300,
            now_ms=lambda: self.now,
            current=lambda: self.current,
            on_block=lambda *both: self.delivered.append(both),
        )


def message(key=KEYS[0], epoch=1, values=((0, 5),), *, label=LABEL, row_epoch=None, data=None):
    body = Row(epoch if row_epoch is None else row_epoch, tuple(values)).encode()
    return sign_message(
        SYSTEM.realm, key, number=epoch, created_ms=0, label=label, data=data or body
    )


def block(*messages):
    return make_block(CONTEXT, 0, 1, CONTEXT.digest, 1, messages)


ROWS = [message(key) for key in KEYS]


def test_a_row_may_wait_once_and_again():
    rules = World().rules
    assert rules.check_tx(ROWS[0]) is None
    assert rules.check_tx(ROWS[0]) is None  # the same message, after it was dropped
    assert rules.check_tx(ROWS[1]) is None


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (message(label="other"), "label"),
        (message(STRANGER), "sender"),
        (message(row_epoch=2), "row.epoch"),
        (message(values=((0, VALUE_MAX + 1),)), "row.value"),
        (message(values=((MIXNODES, 1),)), "row.mixnode"),
        (message(values=((1, 1), (1, 1))), "row.mixnode"),
        (message(data=b"[]"), "row.version"),
        (message(data=b"\0"), "encoding"),
    ],
)
def test_d9_what_is_no_row_never_waits_and_no_block_with_it_is_echoed(bad, reason):
    world = World()
    assert world.rules.check_tx(bad).startswith(reason)
    verdict = world.rules.check_block(block(*ROWS[1:], bad), own=False)
    assert isinstance(verdict, Reject)
    assert verdict.reason.startswith(reason)


def test_a_second_row_of_a_sender_is_refused():
    rules = World().rules
    second = message(values=((0, 6),))
    assert rules.check_tx(ROWS[0]) is None
    assert rules.check_tx(second).startswith("row")
    assert rules.check_tx(message(epoch=2, values=((0, 6),))) is None  # another epoch
    assert isinstance(rules.check_block(block(*ROWS[1:], ROWS[0], second), own=False), Reject)


def test_a_closed_epoch_takes_no_rows():
    rules = World().rules
    rules.close(1)
    assert rules.check_tx(ROWS[0]) == "epoch: 1 is closed"
    rules.close(5000)
    assert "closed" in rules.check_tx(message(epoch=5000 - EPOCHS_KEPT - 1))
    for epoch in range(2 * EPOCHS_KEPT):
        rules.close(epoch)
    assert len(rules._closed) == EPOCHS_KEPT


def test_a_row_of_an_epoch_to_come_does_not_wait():
    world = World()
    world.current = 1
    assert world.rules.check_tx(ROWS[0]) is None  # it is about to end: another's clock may be ahead
    assert world.rules.check_tx(message(epoch=2)) == "epoch: 2 has not begun"


def test_open_epochs_are_bounded():
    rules = World().rules
    for epoch in range(EPOCHS_KEPT):
        assert rules.check_tx(message(epoch=epoch)) is None
    assert rules.check_tx(message(epoch=EPOCHS_KEPT)) == "epoch: too many are open"


@pytest.mark.parametrize(("members", "least"), [(1, 1), (3, 3), (4, 3), (7, 5), (10, 7), (31, 21)])
def test_d14_the_threshold_is_a_number_of_rows(members, least):
    """The original compared a percentage with the number of peers: of three, one row passed."""
    assert rows_min(members) == least


def test_d14_another_members_block_needs_rows_of_n_minus_f_distinct_members():
    rules = World().rules
    assert isinstance(rules.check_block(block(*ROWS), own=False), Accept)
    assert isinstance(rules.check_block(block(*ROWS[:3]), own=False), Accept)
    for few in ((), ROWS[:1], ROWS[:2], [*ROWS[:2], message(KEYS[1], values=((0, 9),))]):
        assert isinstance(rules.check_block(block(*few), own=False), Reject)


def test_a_block_of_two_epochs_is_refused():
    mixed = block(*ROWS[:3], message(KEYS[3], epoch=2))
    verdict = World().rules.check_block(mixed, own=False)
    assert isinstance(verdict, Reject)
    assert "different epochs" in verdict.reason


def test_an_own_block_waits_for_n_minus_f_rows_and_then_a_grace_for_all():
    world = World()
    rules = world.rules
    for few in ((), ROWS[:2]):
        assert isinstance(rules.check_block(block(*few), own=True), Reject)
    world.now = 1000
    assert isinstance(rules.check_block(block(*ROWS[:3]), own=True), Reject)
    world.now = 1299
    assert isinstance(rules.check_block(block(*ROWS[:3]), own=True), Reject)
    assert isinstance(rules.check_block(block(*ROWS), own=True), Accept)  # all are there
    world.now = 1300
    assert isinstance(rules.check_block(block(*ROWS[:3]), own=True), Accept)


NEXT = [message(key, epoch=2) for key in KEYS]


def hashes(*messages):
    return {one.hash(SYSTEM.realm) for one in messages}


def test_a_block_is_made_of_the_lowest_ready_epoch_and_the_others_come_back():
    rules = World().rules
    verdict = rules.check_block(block(*NEXT, *ROWS), own=True)
    assert isinstance(verdict, RejectAndRemove)
    assert verdict.messages == hashes(*NEXT)
    assert rules.take_parked() == []  # as long as the own block is being made
    assert isinstance(rules.check_block(block(*ROWS), own=True), Accept)
    rules.close(1)
    assert rules.take_parked() == NEXT
    assert rules.take_parked() == []
    assert isinstance(rules.check_block(block(*NEXT), own=True), Accept)


def test_an_epoch_without_enough_rows_holds_up_no_other():
    rules = World().rules
    verdict = rules.check_block(block(*ROWS[:2], *NEXT), own=True)
    assert isinstance(verdict, RejectAndRemove)
    assert verdict.messages == hashes(*ROWS[:2])
    assert isinstance(rules.check_block(block(*NEXT), own=True), Accept)
    rules.close(2)
    assert rules.take_parked() == ROWS[:2]
    assert isinstance(rules.check_block(block(*ROWS[:2]), own=True), Reject)


def test_rows_of_closed_epochs_leave_the_mempool_for_good():
    rules = World().rules
    rules.close(1)
    verdict = rules.check_block(block(*ROWS), own=True)
    assert isinstance(verdict, RejectAndRemove)
    assert verdict.messages == hashes(*ROWS)
    assert rules.take_parked() == []


def test_finalised_blocks_are_passed_on():
    world = World()
    world.rules.deliver_block(block(*ROWS), "certificate")
    assert world.delivered == [(block(*ROWS), "certificate")]
