"""Mutants of commitment and reveal: what makes a row copyable, or a copied row count."""

from __future__ import annotations

from types import ModuleType

from meridian.ephemera import block, opening
from meridian.ephemera.collection import Collection
from meridian.ephemera.commitments import Commitments
from meridian.ephemera.epoch import EpochMachine
from meridian.sim.mutation import Edit, Mutant

COPIES = "copies"
"""The family of aimed worlds in which a member copies or holds its row back."""

DIGESTS = "digests_bind_every_field"
OPENINGS = "openings_are_checked"


def _edit(
    name: str,
    owner: type | ModuleType,
    function: str,
    old: str,
    new: str,
    *,
    probe: str | None = None,
    aim: str = COPIES,
    unseen: str = "",
) -> Mutant:
    return Mutant(name, (Edit(owner, function, old, new),), probe, aim, unseen)


def _bound(name: str, old: str) -> Mutant:
    edit = Edit(opening, "commitment_of", old, "b''")
    unseen = "bytes: commitments are made and checked by one function"
    return Mutant(f"{name} is not committed", (edit,), DIGESTS, "", unseen)


COPYING: tuple[Mutant, ...] = (
    _bound("the member", "member, opening.salt"),
    _bound("the salt", "opening.salt"),
    _bound("the row", "opening.row_root"),
    _bound("the trace", "opening.trace_root"),
    _edit(
        "a row is revealed while commitments are taken",
        Commitments,
        "try_reveal",
        "or self._in_time is None or",
        "or",
    ),
    _edit(
        "a row is revealed before the others have closed",
        Commitments,
        "try_reveal",
        "0 if everybody else seat.timing.reveal_ms",
        "0",
        probe="the_others_have_time_to_close",
    ),
    _edit(
        "commitments are taken for ever",
        Commitments,
        "try_close",
        "if members < seat.context.n and now_ms < self._close_ms:",
        "if members < seat.context.n:",
    ),
    _edit(
        "late commitments are in time",
        Commitments,
        "in_time",
        "entry in self._in_time",
        "True",
    ),
    _edit(
        "an opening is believed",
        Collection,
        "on_reveal",
        "!= reveal.digest:",
        "is None:",
        probe=OPENINGS,
    ),
    _edit(
        "openings of a block are believed",
        block,
        "verify_block",
        "!= row.digest:",
        "is None:",
        probe=OPENINGS,
    ),
    _edit(
        "a block may hold rows that no HAVE lists",
        block,
        "_check_inclusion",
        "if listed >= context.amplify:",
        "if True:",
        probe="rows_that_no_have_lists_are_not_admitted",
    ),
    _edit(
        "late rows never stand in",
        Collection,
        "held",
        "if len(entries) >= self._seat.context.rows_min:",
        "if True:",
    ),
    _edit(
        "late rows stand in beyond n - f",
        Collection,
        "held",
        "if len(entries) >= self._seat.context.rows_min:",
        "if False:",
    ),
    _edit(
        "late rows stand in at once",
        Collection,
        "_patience_ms",
        "timing.have_ms if enough else timing.fill_ms",
        "0",
        probe="late_rows_stand_in_after_a_while",
    ),
    _edit(
        "a second row of a member stands in",
        Collection,
        "_accept",
        "if member not in self.commitments.members_in_time():",
        "if True:",
        probe="a_second_row_does_not_stand_in",
    ),
    _edit(
        "a row is never revealed",
        Commitments,
        "try_reveal",
        "self.revealed, self._reveal_ms = True, None",
        "return False",
    ),
    _edit(
        "a row is revealed once",
        Collection,
        "send_own_row",
        "if not self.commitments.revealed:",
        "if True:",
        aim="repeats",
    ),
    _edit(
        "who lost its records is not told",
        EpochMachine,
        "_answer",
        "elif not self._seat.observer and",
        "elif False and",
        aim="disks",
        probe="who_lost_its_records_is_told",
    ),
    _edit(
        "two commitments go unseen in a block",
        Commitments,
        "compare",
        "if first is not None and",
        "if False and",
        probe="two_commitments_are_found_in_a_block",
        unseen="it names one liar less",
    ),
)
