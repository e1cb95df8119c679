"""Two-view attacks of a twin: all of them by `meridian sim --twins`, a slice here."""

from meridian.sim.mutants import MUTANTS
from meridian.sim.mutation import applied
from meridian.sim.twins import explore, partitions, scenarios

STEP = 300


def test_every_way_to_partition_is_there_once():
    """Bell's numbers."""
    assert [len(set(partitions(hosts))) for hosts in range(1, 6)] == [1, 2, 5, 15, 52]
    every = scenarios()
    assert len(every) == len(set(every)) == 5 * 52 * 52


def test_a_slice_holds():
    found = explore(scenarios()[::STEP])
    assert found.violations == ()
    assert 0 < found.decided_early < found.scenarios


def test_a_smaller_quorum_is_seen():
    """Both halves around the twin decide, each its own block."""
    with applied(MUTANTS["quorum - 1"]):
        found = explore(scenarios()[::STEP])
    assert any("agreement" in text for text in found.violations)
