"""Byte-level checks with real signatures, for what no seed can show: what a signature covers, and that it is looked at.

A world seldom tells a missing check from a present one, because nobody in it can forge. So each probe hands a
member exactly the frame that the check is for. A probe raises AssertionError when the core is broken.
"""

from __future__ import annotations

from collections.abc import Callable

from meridian.sim import probes_copying, probes_restart, probes_rules, probes_signatures

PROBES: dict[str, Callable[[], None]] = {
    probe.__name__: probe
    for probe in (
        probes_signatures.statements_bind_every_field,
        probes_signatures.digests_bind_every_field,
        probes_signatures.forged_statements_are_refused,
        probes_signatures.forged_wishes_are_refused,
        probes_signatures.forged_blocks_are_refused,
        probes_signatures.forged_decisions_are_refused,
        probes_signatures.forged_justifications_are_refused,
        probes_signatures.forged_locks_are_refused,
        probes_signatures.forged_reports_are_refused,
        probes_signatures.forged_evidence_is_refused,
        probes_signatures.what_was_set_aside_is_checked_when_it_matters,
        probes_rules.a_member_has_one_row,
        probes_rules.only_the_leader_proposes,
        probes_rules.the_first_ballot_counts,
        probes_rules.amnesia_is_proved,
        probes_rules.refused_rows_are_not_echoed,
        probes_rules.listed_rows_are_asked_for,
        probes_rules.another_block_is_not_taken,
        probes_rules.fetches_go_from_source_to_source,
        probes_rules.the_latest_is_said_again,
        probes_rules.wishes_move_views_together,
        probes_rules.the_highest_lock_is_carried,
        probes_rules.views_are_bounded,
        probes_rules.the_own_report_goes_beside_an_attested_set,
        probes_restart.a_restart_brings_everything_back,
        probes_restart.an_observer_stays_one,
        probes_restart.an_unknown_own_statement_makes_an_observer,
        probes_restart.what_a_have_lists_survives_a_crash,
        probes_restart.what_was_echoed_survives_a_crash,
        probes_restart.a_clock_that_is_set_back_is_survived,
        probes_restart.a_restart_signs_the_same_row,
        probes_restart.a_restart_signs_the_same_have,
        probes_restart.a_restart_signs_the_same_proposal,
        probes_restart.a_restart_echoes_no_other_block,
        probes_restart.a_restart_keeps_the_lock,
        probes_restart.a_restart_keeps_the_view,
        probes_restart.a_restart_signs_the_same_view_change,
        probes_restart.a_restart_signs_the_same_report,
        probes_restart.a_restart_does_not_open_the_phase_again,
        probes_copying.openings_are_checked,
        probes_copying.rows_that_no_have_lists_are_not_admitted,
        probes_copying.the_others_have_time_to_close,
        probes_copying.late_rows_stand_in_after_a_while,
        probes_copying.a_second_row_does_not_stand_in,
        probes_copying.who_lost_its_records_is_told,
        probes_copying.two_commitments_are_found_in_a_block,
    )
}
"""By name."""
