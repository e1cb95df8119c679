"""What a watcher finds is sent once, or kept, or written down for a person; whatever crashes in between."""

from collections.abc import Sequence
from typing import Any

import pytest
from watch_world import BOND, COIN, RESPONSE_S, STAKE, WATCHER, Heard, WatchWorld, key

from meridian.node.accusation_file import read_accusation
from meridian.node.chain.rpc import RpcUnavailable
from meridian.node.keystore import load_or_create_key
from meridian.primitives.ids import address_text


class Killed(BaseException):
    """What stands for SIGKILL in this process: nothing is tidied up."""


class Wire:
    """The way to a chain; `before` or `after` a transaction gets there, something may happen once."""

    def __init__(self, world: WatchWorld) -> None:
        self._chain = world.chain
        self.before: BaseException | None = None
        self.after: BaseException | None = None

    def call(self, method: str, *params: Any) -> Any:
        return self._chain.call(method, *params)

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        sends = any(method == "eth_sendRawTransaction" for method, _ in calls)
        if sends and self.before is not None:
            once, self.before = self.before, None
            raise once
        result = self._chain.batch(calls)
        if sends and self.after is not None:
            once, self.after = self.after, None
            raise once
        return result


def stake(world: WatchWorld) -> int:
    return int(world.view.commitments.read("aggregator", world.network.aggregator)[1])


def look(world: WatchWorld, **options: Any) -> Heard:
    heard = Heard()
    watcher = world.watcher(heard, **options)
    watcher.round()
    watcher.close()
    return heard


def test_a_lie_is_proven_once_and_nothing_is_left_for_the_next_round(world: WatchWorld) -> None:
    world.commit(1, lie="inflates-sum")
    heard = Heard()
    watcher = world.watcher(heard)
    watcher.round()
    watcher.round()
    watcher.close()
    assert heard.results() == ["proven"]
    assert (stake(world), world.view.standing(), world.sent_by(WATCHER)) == (0, {}, 1)
    assert look(world).events == []


@pytest.mark.parametrize("lie", ["inflates-sum", "withholds-data"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_watcher_killed_around_its_sending_neither_loses_nor_doubles(
    world: WatchWorld, lie: str, moment: str
) -> None:
    world.commit(1, lie=lie)
    wire = Wire(world)
    setattr(wire, moment, Killed())
    with pytest.raises(Killed):
        world.watcher(Heard(), client=wire, bond_max_atto=BOND).round()
    assert world.sent_by(WATCHER) == (moment == "after")
    heard = look(
        world, bond_max_atto=BOND
    )  # the limit is one bond: its own must not stand in its way
    assert world.sent_by(WATCHER) == 1
    if lie == "inflates-sum":
        assert heard.results() == (["proven"] if moment == "before" else [])
        assert stake(world) == 0
        return
    assert heard.results() == ["challenged"]
    world.wait(RESPONSE_S)
    assert look(world, bond_max_atto=BOND).results("resolved") == ["proven"]
    assert (stake(world), world.sent_by(WATCHER)) == (0, 2)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_what_could_not_be_sent_is_kept_for_the_next_round(world: WatchWorld, moment: str) -> None:
    world.commit(1, lie="inflates-sum")
    wire, heard = Wire(world), Heard()
    watcher = world.watcher(heard, client=wire)
    wire.before = RpcUnavailable("the chain is away")
    if moment == "after":
        wire.before, wire.after = None, RpcUnavailable("its answer was lost")
    with pytest.raises(RpcUnavailable):
        watcher.round()
    assert heard.results() == []
    watcher.round()
    watcher.close()
    assert heard.results() == ["proven"]
    assert (stake(world), world.sent_by(WATCHER)) == (0, 1)


def test_a_bond_above_the_limit_is_left_to_a_person(world: WatchWorld) -> None:
    world.commit(1, lie="withholds-data")
    heard = Heard()
    watcher = world.watcher(heard, bond_max_atto=BOND - 1)
    watcher.round()
    watcher.round()
    watcher.close()
    [said] = heard.of("accusation")
    assert (said["result"], world.sent_by(WATCHER)) == ("bond too high", 0)
    assert (
        f"meridian chain dispute send --data-dir {world.data} --file {said['file']}" in said["next"]
    )
    file, arguments = read_accusation(said["file"], world.chain)
    assert (file.contract, file.function, file.epoch, file.takes_bond) == (
        "Disputes",
        "challenge",
        1,
        True,
    )
    person = key("aggregator")  # anybody with coins, even the accused
    world.send(person, world.contract("Disputes"), "challenge", *arguments, value=BOND)
    assert look(world, bond_max_atto=0).results() == ["refused"], "it is challenged already"
    world.wait(RESPONSE_S)
    assert look(world, bond_max_atto=0).results("resolved") == ["proven"]


def test_bonds_at_stake_together_stay_below_the_limit(world: WatchWorld) -> None:
    for epoch in (1, 2, 3):
        world.commit(epoch, lie="withholds-data")
    heard = Heard()
    watcher = world.watcher(heard, bond_max_atto=2 * BOND)
    watcher.round()
    watcher.round()
    assert heard.results() == ["challenged", "challenged", "bonds at stake"]
    assert heard.of("accusation")[2]["file"].exists()
    assert world.contract("Disputes").read("locked") == 2 * BOND
    world.wait(RESPONSE_S)
    watcher.round()
    watcher.round()
    watcher.close()
    assert heard.results() == ["challenged", "challenged", "bonds at stake", "challenged"]


def test_an_account_without_coins_says_so_and_goes_on_when_it_has_some(world: WatchWorld) -> None:
    world.commit(1, lie="inflates-sum")
    world.commit(2)
    heard = Heard()
    poor = world.root / "poor.key"
    account = load_or_create_key(poor).address
    watcher = world.watcher(heard, key_file=poor)
    watcher.round()
    watcher.round()
    [said] = heard.of("accusation")
    assert said["result"] == "cannot be sent"
    assert address_text(account) in said["next"]
    assert said["file"].exists()
    assert len(heard.of("commitment")) == 2, "the other epoch is looked at all the same"
    world.pay(account, COIN)
    watcher.round()
    watcher.close()
    assert heard.results() == ["cannot be sent", "proven"]
    assert stake(world) == 0


def test_a_dry_run_sends_nothing_and_writes_what_it_would_send(world: WatchWorld) -> None:
    world.commit(1, lie="inflates-sum")
    [said] = look(world, dry_run=True).of("accusation")
    assert (said["result"], world.sent_by(WATCHER), stake(world)) == ("not sent", 0, STAKE)
    file, arguments = read_accusation(said["file"], world.chain)
    world.send(key("sponsor"), world.contract(file.contract), file.function, *arguments)
    assert stake(world) == 0
