"""The mutation gate, a slice: every mutant dies in the world that is known to kill it, and by its probe."""

from pathlib import Path

import pytest

from meridian.ephemera.context import Context
from meridian.sim.aims import run_world
from meridian.sim.killers import KILLERS
from meridian.sim.mutants import MUTANTS, NODES, table, try_to_kill
from meridian.sim.mutation import Edit, Mutant, applied
from meridian.sim.probes import PROBES

SEARCH = 20
"""Seeds to try when the known one does not kill any more, because a change of the protocol moved the worlds."""


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_killed(name):
    death = try_to_kill((name, SEARCH, False))
    assert death.killed, (
        f"{name} survived {death.by} {death.probe}: meridian sim --mutants --fresh finds a new killer"
    )


def test_what_kills_mutants_spares_the_protocol():
    for probe in PROBES.values():
        probe()
    for family, seed in {(k.family, k.seed) for k in KILLERS.values()}:
        result = run_world(family, seed, NODES)
        assert not result.violations, result.describe()


def test_there_are_enough_mutants_and_each_can_die():
    assert len(MUTANTS) >= 30
    assert KILLERS.keys() <= MUTANTS.keys()
    for mutant in MUTANTS.values():
        assert (mutant.killer is None) == bool(mutant.unseen)
        assert mutant.killer is not None or mutant.probe is not None
    assert {mutant.probe for mutant in MUTANTS.values() if mutant.probe} == PROBES.keys()


def test_the_document_has_the_table_of_the_code():
    page = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text()
    assert table() in page, (
        'python -c "from meridian.sim.mutants import table; print(table())" prints the new one'
    )


def test_a_mutant_is_undone_and_an_outdated_one_fails_loudly():
    before = Context.quorum
    edit = Edit(Context, "quorum", "quorum(self.n)", "quorum(self.n) - 1")
    with applied(Mutant("m", (edit,))):
        assert Context.quorum is not before
    assert Context.quorum is before
    gone = Edit(Context, "quorum", "words that are not there", "")
    with pytest.raises(LookupError, match="not hold"), applied(Mutant("m", (gone,))):
        pass
