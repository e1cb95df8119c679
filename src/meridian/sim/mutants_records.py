"""Mutants that forget: one for each kind of record, and for what a restart must remember of it."""

from __future__ import annotations

from meridian.ephemera.collection import Collection
from meridian.ephemera.epoch import EpochMachine
from meridian.ephemera.replica import Replica
from meridian.ephemera.seat import Seat
from meridian.sim.mutation import Edit, Mutant

LISTED = "what_a_have_lists_survives_a_crash"
ECHOED = "what_was_echoed_survives_a_crash"
RESTART = "a_restart_brings_everything_back"


def _not_durable(kind: str, probe: str | None = None) -> Mutant:
    old = "self._effects.append(Persist("
    edit = Edit(Seat, "persist", old, f"if kind != {kind!r}: {old}")
    return Mutant(f"{kind} is not durable", (edit,), probe, "crashes")


RECORDS: tuple[Mutant, ...] = (
    _not_durable("context"),
    _not_durable("row", probe="a_restart_signs_the_same_row"),
    _not_durable("closed", probe="a_restart_does_not_open_the_phase_again"),
    _not_durable("listed_row", probe=LISTED),
    _not_durable("have", probe="a_restart_signs_the_same_have"),
    _not_durable("propose", probe="a_restart_signs_the_same_proposal"),
    _not_durable("echo", probe="a_restart_echoes_no_other_block"),
    _not_durable("view", probe="a_restart_keeps_the_view"),
    _not_durable("view_change", probe="a_restart_signs_the_same_view_change"),
    _not_durable("lock", probe="a_restart_keeps_the_lock"),
    _not_durable("block", probe=ECHOED),
    _not_durable("body", probe=LISTED),
    _not_durable("decided", probe=RESTART),
    _not_durable("report", probe="a_restart_signs_the_same_report"),
    _not_durable("attested", probe=RESTART),
    _not_durable("evidence", probe=RESTART),
    Mutant(
        "HAVE lists bodies that are not durable",
        (
            Edit(
                Collection,
                "_persist_listed",
                "self.persist_bodies([self.commitments.openings[entry].row_root])",
                "pass",
            ),
        ),
        probe=LISTED,
        aim="crashes",
    ),
    Mutant(
        "a lost disk makes no observer",
        (Edit(EpochMachine, "start", "seat.observer = observer or", "seat.observer ="),),
        probe="an_observer_stays_one",
        aim="disks",
    ),
    Mutant(
        "an observer forgets that it is one",
        (Edit(EpochMachine, "start", "or (memory is not None and memory.observer)", "or False"),),
        probe="an_observer_stays_one",
        aim="disks",
    ),
    Mutant(
        "an unknown own statement makes no observer",
        (Edit(Seat, "observe", "self.observer = True", "pass"),),
        probe="an_unknown_own_statement_makes_an_observer",
        aim="disks",
    ),
    Mutant(
        "a clock that is set back moves every deadline",
        (Edit(Replica, "_time", "max(0, self._clock_ms - now_ms)", "0"),),
        probe="a_clock_that_is_set_back_is_survived",
        aim="clock",
    ),
)
