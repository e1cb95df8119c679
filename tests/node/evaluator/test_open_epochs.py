"""Which epochs are open, what is forgotten, and whom an evaluator has links to."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from meridian.committee.rules import CommitteeRules
from meridian.ephemera.context import Context
from meridian.ephemera.effects import Decided, Record
from meridian.node.chain_view import RegisteredEvaluator
from meridian.node.evaluator.open_epochs import (
    FORGET_STEP,
    LINGER,
    PLACES,
    WORKS_MAX,
    OpenEpochs,
    may_evaluate,
    plan,
)
from meridian.node.evaluator.peers import AddressHints, peers_of
from meridian.node.evaluator.safety import observe_through, open_safety_log, set_up
from meridian.node.evaluator.state import EpochState
from meridian.node.evaluator.work import EpochWork
from meridian.node.link_peers import PEERS_MAX, Peer
from meridian.node.network_file import EvaluatorEntry
from meridian.node.replica_driver import ReplicaDriver
from meridian.node.safety_log import SafetyLog
from meridian.primitives.ids import Address
from node.evaluator.evaluator_world import Net

WORK, DECIDED = cast(EpochWork, object()), cast(Decided, object())
"""Only whether they are there counts here."""
NETWORK, MEMBER = bytes(32), Address(b"\x11" * 20)


def state(**values: Any) -> EpochState:
    made = EpochState(cast(Any, None))
    for name, value in values.items():
        setattr(made, name, value)
    return made


def test_the_oldest_unfinished_epochs_are_opened_ascending() -> None:
    epochs = {number: state(work=WORK) for number in reversed(range(5, 50))}
    assert plan(epochs) == ([], list(range(5, 5 + PLACES)))


def test_what_is_not_evaluated_or_finished_or_refused_takes_no_place() -> None:
    epochs = {
        1: state(),
        2: state(published=True),
        3: state(work=WORK, barred="no"),
        4: state(is_outside=True),
        5: state(work=WORK),
    }
    assert plan(epochs) == ([], [5])


def test_an_older_epoch_that_is_evaluated_late_takes_the_place_of_the_newest() -> None:
    """All members choose alike: else two of them could wait for each other with all places taken."""
    epochs = {number: state(work=WORK, is_open=True) for number in range(10, 10 + PLACES)}
    epochs[3] = state(work=WORK)
    assert plan(epochs) == ([9 + PLACES], [3])


def test_the_epoch_whose_report_is_due_is_open_whatever_its_number() -> None:
    epochs = {number: state(work=WORK, is_open=True) for number in range(PLACES)}
    epochs |= {90: state(work=WORK, decided=DECIDED), 91: state(work=WORK, decided=DECIDED)}
    assert plan(epochs) == ([], [90])


def test_finished_epochs_linger_where_there_is_room() -> None:
    done = {number: state(published=True, is_open=True) for number in range(10)}
    assert plan(done) == (list(range(10 - LINGER)), [])
    full = done | {number: state(work=WORK) for number in range(20, 20 + PLACES)}
    assert plan(full) == (list(range(10)), list(range(20, 20 + PLACES)))


def test_evaluated_epochs_in_memory_are_bounded_but_for_older_ones() -> None:
    epochs = {number: state(work=WORK) for number in range(10, 10 + WORKS_MAX)}
    assert not may_evaluate(epochs, 99)
    assert may_evaluate(epochs, 9)
    epochs[10] = state(published=True)
    assert may_evaluate(epochs, 99)


class Forgetful:
    """The one command of the driver that is used here, carried out on the log."""

    def __init__(self, log: SafetyLog) -> None:
        self.log = log
        self.contexts: list[int] = []

    async def forget_before(self, epoch: int) -> None:
        self.log.forget_before(epoch)

    async def answer_for(self, contexts: Sequence[int]) -> None:
        self.contexts += contexts

    async def close_epoch(self, epoch: int) -> None:
        del epoch


async def look(
    home: Path, epochs: dict[int, EpochState], retained: int
) -> tuple[list[int], int, list[int]]:
    """Start over a log, look once; return the epochs in the log, how far is observed, what is answered for."""
    log = open_safety_log(home, NETWORK, MEMBER)
    driver = Forgetful(log)
    context = cast(Any, lambda epoch, _: cast(Context, epoch))
    opener = OpenEpochs(
        epochs, cast(ReplicaDriver, driver), CommitteeRules(), log,
        data_dir=home, retained=retained, context=context, on_opened=lambda: None,
        ours=MEMBER,
    )  # fmt: skip
    await opener.remember(())
    await opener.answer_for([(epoch, ()) for epoch, one in epochs.items() if one.published])
    opener.look_again()
    task = asyncio.create_task(opener.run())
    await asyncio.sleep(0.2)
    task.cancel()
    found = list(log.epochs()), opener.observe_through, driver.contexts
    log.close()
    return found


async def test_what_is_forgotten_is_observed_for_ever(tmp_path: Path) -> None:
    """Else an evaluator that lost its publication would sign those epochs again, and differently."""
    home = tmp_path / "one"
    set_up(home, NETWORK, MEMBER)
    log = open_safety_log(home, NETWORK, MEMBER)
    last = 100 + FORGET_STEP
    log.write([Record(epoch, "view", b"", b"") for epoch in range(last + 1)])
    log.close()
    epochs = {epoch: state(published=True) for epoch in range(last + 1)}
    kept, observed, answered = await look(home, epochs, 100)
    assert (kept[0], observed) == (last - 100 + 1, last - 100)
    assert answered == list(range(last - 100 + 1, last + 1))
    log = open_safety_log(home, NETWORK, MEMBER)
    assert observe_through(home, log, [last]) == last - 100, "also after a restart"
    log.close()
    assert (await look(home, epochs, 100))[0] == kept, "not a few at each look"


@pytest.mark.parametrize("needed", [{"work": WORK}, {}, {"published": True, "is_open": True}])
async def test_records_of_unfinished_and_open_epochs_are_kept(
    tmp_path: Path, needed: dict[str, Any]
) -> None:
    home = tmp_path / "one"
    set_up(home, NETWORK, MEMBER)
    log = open_safety_log(home, NETWORK, MEMBER)
    log.write([Record(epoch, "view", b"", b"") for epoch in range(300)])
    log.close()
    epochs = {epoch: state(published=True) for epoch in range(300)}
    epochs[150] = state(**needed)
    epochs |= {e: state(published=True, is_open=True) for e in range(300, 300 + LINGER)}
    if needed.get("work"):
        epochs[150].decided, epochs[150].is_open = DECIDED, True
    kept, _, _ = await look(home, epochs, 64)
    assert kept[0] == (240 if needed.get("is_open") else 150)


# -- peers ----------------------------------------------------------------------------------------


def evaluator(number: int, *, active: bool = True, endpoint: str = "") -> RegisteredEvaluator:
    address = Address(number.to_bytes(20, "big"))
    return RegisteredEvaluator(
        address, bytes([number % 256]) * 32, endpoint or f"h{number}:7", active
    )


def by_address(*found: RegisteredEvaluator) -> dict[Address, RegisteredEvaluator]:
    return {one.address: one for one in found}


def test_peers_are_the_registered_and_who_is_still_needed() -> None:
    one, two, left, gone = (
        evaluator(1),
        evaluator(2),
        *(evaluator(i, active=False) for i in (3, 4)),
    )
    known = by_address(one, two, left, gone)
    peers = peers_of(known, [], [left.address, one.address], own=two.address)
    assert [(p.address, p.link_key, p.host, p.port) for p in peers] == [
        (one.address, one.link_key, "h1", 7),
        (left.address, left.link_key, "h3", 7),
    ]


def test_the_network_file_says_where_but_never_who() -> None:
    one = evaluator(1)
    hint = EvaluatorEntry(address=one.address, link_key=b"\xff" * 32, host="elsewhere", port=9)
    stranger = replace(hint, address=Address(b"\x99" * 20))
    peers = peers_of(by_address(one), [stranger, hint], [], own=MEMBER)
    assert peers == [Peer(one.address, one.link_key, "elsewhere", 9)]


@pytest.mark.parametrize(
    ("endpoint", "place"),
    [
        ("host:80", ("host", 80)),
        ("[::1]:80", ("::1", 80)),
        ("host", ("", 0)),
        ("host:99999", ("host", 0)),
        ("host:\u0664", ("host", 0)),
    ],
)
def test_an_endpoint_is_data(endpoint: str, place: tuple[str, int]) -> None:
    assert evaluator(1, endpoint=endpoint).place == place


def test_peers_are_bounded_and_the_registered_come_first() -> None:
    known = by_address(*(evaluator(i, active=i > 200) for i in range(1, 329)))
    peers = peers_of(known, [], known, own=MEMBER)
    assert len(peers) == PEERS_MAX
    assert {Address(i.to_bytes(20, "big")) for i in range(201, 329)} <= {p.address for p in peers}


def test_the_network_file_is_read_again_when_it_changed(net: Net) -> None:
    net.network.save(net.root)
    hints = AddressHints(net.root, net.network)
    assert hints.entries() == net.network.evaluators
    moved = tuple(replace(entry, port=entry.port + 1) for entry in net.network.evaluators)
    replace(net.network, evaluators=moved).save(net.root)
    assert hints.entries() == moved
    (net.root / "network.json").write_bytes(b"{")
    assert hints.entries() == moved, "a file that cannot be read changes nothing"
