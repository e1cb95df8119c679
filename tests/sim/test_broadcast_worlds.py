"""Reliable broadcast in seeded worlds: nothing breaks, the rare things happen, and a broken rule is seen.

What chance seldom meets (a lost VOTE, amplification at f, forged signatures) dies by aimed tests in tests/ephemera/test_broadcast.py.
"""

from collections import Counter
from collections.abc import Callable

import pytest

from meridian.ephemera.broadcast import broadcaster, instance
from meridian.ephemera.broadcast.broadcaster import Broadcaster
from meridian.ephemera.broadcast.seat import BroadcastSeat
from meridian.ephemera.context import Context
from meridian.ephemera.messages.block_channel import BlockChannel
from meridian.primitives import quorum
from meridian.sim.broadcast_world import BroadcastResult, run_broadcast_seed

SLICE = {1: range(2), 4: range(14), 7: range(1)}
SEARCH = 60

Patch = pytest.MonkeyPatch


@pytest.fixture(scope="module")
def results() -> list[BroadcastResult]:
    return [run_broadcast_seed(seed, nodes) for nodes, seeds in SLICE.items() for seed in seeds]


def test_no_world_breaks_a_law(results):
    """Agreement, integrity, validity, totality, equal stores, nobody framed; else the seed."""
    broken = [result.describe() for result in results if result.violations]
    assert not broken, "\n".join(broken)


def test_the_rare_things_happen(results):
    reached: Counter[str] = Counter()
    for result in results:
        reached.update(dict(result.reached))
    for name, least in {
        "restart": 20,
        "wiped": 1,
        "CERTIFIED": 200,
        "PAYLOAD": 20,
        "EVIDENCE": 5,
        "broadcast_send": 3,
        "broadcast_echo": 3,
        "broadcast_vote": 3,
    }.items():
        assert reached[name] >= least, f"{name}: {reached[name]} times"
    assert all(result.delivered for result in results)


def test_one_seed_is_one_trace():
    first, second = run_broadcast_seed(5, 4), run_broadcast_seed(5, 4)
    assert first == second
    assert first.trace_hash != run_broadcast_seed(6, 4).trace_hash


def forget(*kinds: str) -> Callable[[Patch], None]:
    def mutate(patch: Patch) -> None:
        persist = BroadcastSeat.persist
        patch.setattr(
            BroadcastSeat,
            "persist",
            lambda seat, kind, key, value: kind in kinds or persist(seat, kind, key, value),
        )

    return mutate


def smaller_quorum(patch: Patch) -> None:
    patch.setattr(Context, "quorum", property(lambda made: quorum.quorum(made.n) - 1))


def second_echo(patch: Patch) -> None:
    """The slip of the original: contexts by hash, so a second payload of a slot is echoed too."""
    said = Broadcaster._said

    def mutant(self, kind, member, slot, digest, signature):
        unfinished = self._instances.get(slot)
        if unfinished is not None and kind.name == "SEND" and unfinished.send is not None:
            unfinished.send = None
            unfinished.said[broadcaster.Kind.ECHO].pop(self._seat.own, None)
        return said(self, kind, member, slot, digest, signature)

    patch.setattr(Broadcaster, "_said", mutant)


def no_catch_up(patch: Patch) -> None:
    patch.setattr(Broadcaster, "on_frontier", lambda *_: None)
    patch.setattr(Broadcaster, "_in_window", _window_without_help)


def _window_without_help(self, slot, member, now_ms):
    del member, now_ms
    at = self.frontier(slot.channel, slot.sender)
    return at < slot.number <= at + self._pace.slots_ahead_max


def no_fetch(patch: Patch) -> None:
    patch.setattr(Broadcaster, "_fetch", lambda *_: None)


def no_resend(patch: Patch) -> None:
    patch.setattr(Broadcaster, "_resend", lambda *_: None)


def no_amplification(patch: Patch) -> None:
    def mutant(self):
        digest, count = self._leading(broadcaster.Kind.ECHO)
        return digest if count >= self._context.quorum else None

    patch.setattr(instance.Instance, "digest_to_vote", mutant)
    patch.setattr(Broadcaster, "on_frontier", lambda *_: None)
    patch.setattr(Broadcaster, "_in_window", _window_without_help)


def own_height_twice(patch: Patch) -> None:
    """A producer that forgets its unfinished block after a restart and makes another of the same height."""
    forget("send")(patch)


def repeated_message(patch: Patch) -> None:
    patch.setattr(BlockChannel, "delivered_message", lambda *_: False)


def certificate_of_anything(patch: Patch) -> None:
    patch.setattr(broadcaster, "verify_delivery", lambda *_: None)


MUTANTS = {
    "ECHO and payload are not durable": (forget("echo", "payload"), 17),
    "SEND is not durable": (own_height_twice, 0),
    "quorum - 1": (smaller_quorum, 45),
    "a second ECHO in a slot": (second_echo, 5),
    "no catch-up": (no_catch_up, 0),
    "payloads are never fetched": (no_fetch, 0),
    "nothing is sent again": (no_resend, 0),
    "no amplification": (no_amplification, 0),
    "certificates not checked": (certificate_of_anything, 16),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_killed(name, monkeypatch):
    mutate, seed = MUTANTS[name]
    mutate(monkeypatch)
    killer = next((s for s in (seed, *range(SEARCH)) if fails(s)), None)
    assert killer is not None, f"{name} survived: the simulator is blind to it"


def fails(seed: int) -> bool:
    try:
        return bool(run_broadcast_seed(seed, 4).violations)
    except (AssertionError, KeyError):
        return True  # the mutant broke an invariant that the core itself asserts
