"""The mutation gate, a slice: every mutant dies by its probe or by the seed that is known to kill it."""

import pytest

from meridian.ephemera.context import Context
from meridian.sim.mutants import MUTANTS, try_to_kill
from meridian.sim.mutation import Edit, Mutant, applied
from meridian.sim.probes import PROBES
from meridian.sim.world import run_seed

SEARCH = 20
"""Seeds to try when the known one does not kill any more, because a change of the protocol moved the worlds."""


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_killed(name):
    death = try_to_kill((name, SEARCH, False))
    assert death.killed, (
        f"{name} survived {death.by}: meridian sim --mutants --fresh finds a new killer"
    )
    assert death.law


def test_what_kills_mutants_spares_the_protocol():
    for probe in PROBES.values():
        probe()
    for seed, nodes in {m.seed for m in MUTANTS.values() if m.seed is not None}:
        assert not run_seed(seed, nodes).violations


def test_there_are_enough_mutants_and_each_can_die():
    assert len(MUTANTS) >= 30
    assert all((m.seed is None) != (m.probe is None) for m in MUTANTS.values())


def test_a_mutant_is_undone_and_an_outdated_one_fails_loudly():
    before = Context.quorum
    edit = Edit(Context, "quorum", "quorum(self.n)", "quorum(self.n) - 1")
    with applied(Mutant("m", (edit,))):
        assert Context.quorum is not before
    assert Context.quorum is before
    gone = Edit(Context, "quorum", "words that are not there", "")
    with pytest.raises(LookupError, match="not hold"), applied(Mutant("m", (gone,))):
        pass
