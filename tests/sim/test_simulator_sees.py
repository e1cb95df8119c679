"""The simulator sees: worlds with a broken protocol break a law.

Each mutant has a seed that kills it. If a change of the protocol moves the worlds, the search of the
following seeds finds another one, and the table should then be brought up to date.
"""

from collections.abc import Callable

import pytest

from meridian.ephemera import agreement, block, collection
from meridian.ephemera.agreement import Agreement
from meridian.ephemera.context import Context, Kind
from meridian.ephemera.message import ViewChange, lock_digest
from meridian.ephemera.retrieval import Retrieval
from meridian.ephemera.seat import Seat
from meridian.primitives import quorum
from meridian.sim.world import run_seed

SEARCH = 400

Patch = pytest.MonkeyPatch


def forget(*kinds: str) -> Callable[[Patch], None]:
    def mutate(patch: Patch) -> None:
        persist = Seat.persist
        patch.setattr(
            Seat,
            "persist",
            lambda seat, kind, key, value: kind in kinds or persist(seat, kind, key, value),
        )

    return mutate


def smaller_quorum(patch: Patch) -> None:
    patch.setattr(Context, "quorum", property(lambda made: quorum.quorum(made.n) - 1))


def no_lock_check(patch: Patch) -> None:
    patch.setattr(agreement, "verify_justification", lambda *_: None)


def no_inclusion(patch: Patch) -> None:
    patch.setattr(block, "required_members", lambda *_: set())


def no_signature_check(patch: Patch) -> None:
    patch.setattr(Context, "signed", lambda *_: True)


def current_lock_in_resent_view_change(patch: Patch) -> None:
    """The prototype's trap: the lock of this view in the VIEW_CHANGE into it."""
    resend = Agreement.resend

    def mutant(self: Agreement) -> None:
        if self.own_change is not None and self.lock is not None:
            lock = (self.lock.view, self.lock.block_hash)
            signature = self._seat.sign(Kind.VIEW_CHANGE, self.view, lock_digest(lock))
            self.own_change = ViewChange(self._seat.own, self.view, signature, self.lock)
        resend(self)

    patch.setattr(Agreement, "resend", mutant)


def drop_lock_on_view_change(patch: Patch) -> None:
    change_view = Agreement._change_view

    def mutant(self: Agreement) -> None:
        self.lock = None
        change_view(self)

    patch.setattr(Agreement, "_change_view", mutant)


def echo_twice(patch: Patch) -> None:
    on_propose = Agreement.on_propose

    def mutant(self: Agreement, propose) -> None:
        on_propose(self, propose)
        echo = self.own_echo
        if propose.view == self.view and echo and echo.block_hash != propose.block.hash:
            self.own_echo = None
            self._proposals[propose.view] = propose

    patch.setattr(Agreement, "on_propose", mutant)


def one_leader_for_ever(patch: Patch) -> None:
    patch.setattr(Context, "leader", lambda made, view: made.leaders[0])


def no_fetch(patch: Patch) -> None:
    patch.setattr(Retrieval, "want", lambda *_: None)


def have_without_bodies(patch: Patch) -> None:
    def held(self: collection.Collection):
        rows: dict[int, bytes] = {}
        for member, digest in self._signed:
            rows.setdefault(member, digest)
        return tuple(sorted(rows.items()))

    persist = collection.Collection.persist_bodies
    patch.setattr(collection.Collection, "held", held)
    patch.setattr(
        collection.Collection,
        "persist_bodies",
        lambda self, digests: persist(self, [d for d in digests if d in self.bodies]),
    )


MUTANTS = {
    "nothing is durable": (forget("row", "have", "propose", "echo", "lock", "view"), 3),
    "HAVE is not durable": (forget("have"), 13),
    "the lock is not durable": (forget("lock"), 38),
    "view and wish are not durable": (forget("view"), 527),
    "VIEW_CHANGE is not durable": (forget("view_change"), 128),
    "bodies are not durable": (forget("body"), 26),
    "quorum - 1": (smaller_quorum, 170),
    "lock check removed": (no_lock_check, 2748),
    "inclusion skipped": (no_inclusion, 709),
    "signatures not checked": (no_signature_check, 285),
    "VIEW_CHANGE with the current lock": (current_lock_in_resent_view_change, 2),
    "lock dropped on view change": (drop_lock_on_view_change, 2),
    "a second ECHO in a view": (echo_twice, 13),
    "the leader never changes": (one_leader_for_ever, 7),
    "bodies are never fetched": (no_fetch, 0),
    "HAVE lists rows without bodies": (have_without_bodies, 7),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_killed(name, monkeypatch):
    mutate, seed = MUTANTS[name]
    assert not run_seed(seed, 4).violations, "the seed must be clean without the mutation"
    mutate(monkeypatch)
    killer = next((s for s in (seed, *range(SEARCH)) if run_seed(s, 4).violations), None)
    assert killer is not None, f"{name} survived: the simulator is blind to it"
