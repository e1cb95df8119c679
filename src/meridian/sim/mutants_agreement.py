"""Mutants of the rules: thresholds, locks, views, inclusion, bodies, who may speak, and what is repeated."""

from __future__ import annotations

from types import ModuleType

from meridian.ephemera import block, evidence, proposal
from meridian.ephemera.agreement import Agreement
from meridian.ephemera.attestation import Attestation
from meridian.ephemera.block_store import BlockStore
from meridian.ephemera.collection import Collection
from meridian.ephemera.context import Context
from meridian.ephemera.epoch import EpochMachine
from meridian.ephemera.ledger import Ledger
from meridian.ephemera.pacemaker import Pacemaker
from meridian.ephemera.retrieval import Retrieval
from meridian.sim.mutation import Edit, Mutant


def _edit(
    name: str,
    owner: type | ModuleType,
    function: str,
    old: str,
    new: str,
    *,
    probe: str | None = None,
    aim: str = "",
    unseen: str = "",
) -> Mutant:
    return Mutant(name, (Edit(owner, function, old, new),), probe, aim, unseen)


MEMORY = "only memory grows"


THRESHOLDS: tuple[Mutant, ...] = (
    _edit("quorum - 1", Context, "quorum", "quorum(self.n)", "quorum(self.n) - 1"),
    _edit("quorum + 1", Context, "quorum", "quorum(self.n)", "quorum(self.n) + 1"),
    _edit("f + 1 is f", Context, "amplify", "amplify(self.n)", "amplify(self.n) - 1"),
    _edit("f + 1 is f + 2", Context, "amplify", "amplify(self.n)", "amplify(self.n) + 1"),
    _edit("n - f rows - 1", Context, "rows_min", "self.n - self.f", "self.n - self.f - 1"),
    _edit("n - f rows + 1", Context, "rows_min", "self.n - self.f", "self.n - self.f + 1"),
    _edit(
        "ECHO and VOTE quorums one short",
        Ledger,
        "_count",
        "counts[digest] >= self._context.quorum",
        "counts[digest] >= self._context.quorum - 1",
    ),
    _edit(
        "a view is entered for the highest wish",
        Pacemaker,
        "due_view",
        "        return wishes[self._context.quorum - 1]",
        "        return wishes[0]",
        probe="wishes_move_views_together",
        aim="views",
    ),
    _edit(
        "a report is attested with q - 1 signatures",
        Attestation,
        "step",
        "if count < seat.context.quorum:",
        "if count < seat.context.quorum - 1:",
    ),
)

LOCKS: tuple[Mutant, ...] = (
    _edit(
        "lock check removed",
        proposal,
        "verify_justification",
        "elif block_hash != best[1]:",
        "elif False:",
        probe="forged_justifications_are_refused",
        aim="locks",
    ),
    _edit(
        "the lowest lock wins", proposal, "_highest_lock", "best = max(locks)", "best = min(locks)"
    ),
    _edit(
        "a leader carries the lowest lock",
        proposal,
        "justify",
        "certificate.view > best.view",
        "certificate.view < best.view",
        probe="the_highest_lock_is_carried",
        aim="locks",
    ),
    _edit(
        "a leader ignores the lock",
        Agreement,
        "_block_to_propose",
        "if lock is not None:",
        "if False:",
    ),
    _edit(
        "lock dropped on view change",
        Agreement,
        "_change_view",
        "        lock = None if",
        "        self.lock = None\n        lock = None if",
    ),
    _edit(
        "VIEW_CHANGE with the current lock",
        Agreement,
        "resend",
        "            seat.send(self._context.leader(view), self.own_change)",
        "            self._change_view()",
    ),
)

VIEWS: tuple[Mutant, ...] = (
    _edit("the leader never changes", Context, "leader", "view % self.n", "0"),
    _edit(
        "wishes are not joined",
        Pacemaker,
        "join",
        "if len(wishes) < self._context.amplify:",
        "if True:",
        probe="wishes_move_views_together",
        aim="views",
    ),
    _edit("nobody wishes", Pacemaker, "time_out", "self.wish = self.view + 1", "return False"),
    _edit("a wish is said once", Agreement, "resend", "if self.pacemaker.wish > 0:", "if False:"),
    _edit(
        "views far ahead are kept",
        Agreement,
        "_in_window",
        "if view > self.view + limits.views_ahead_max:",
        "if False:",
        probe="views_are_bounded",
        unseen=MEMORY,
    ),
    _edit(
        "stale views count",
        Agreement,
        "_in_window",
        "return view >= self.view - behind",
        "return True",
        probe="views_are_bounded",
        unseen=MEMORY,
    ),
    _edit(
        "a second ECHO in a view",
        Agreement,
        "on_propose",
        "        if finding is Finding.NEW:\n",
        "        if finding is not Finding.NEW:\n            self.own_echo = None\n        if True:\n",
    ),
    _edit(
        "any member proposes",
        Agreement,
        "on_propose",
        "if propose.member != self._context.leader(propose.view):",
        "if False:",
        probe="only_the_leader_proposes",
        aim="pests",
    ),
    _edit(
        "the leader waits for every HAVE",
        Agreement,
        "_block_to_propose",
        "            if now_ms < self.grace_ms:\n",
        "            if True:\n",
    ),
)

ROWS: tuple[Mutant, ...] = (
    _edit("inclusion skipped", block, "required_members", "count >= context.amplify", "False"),
    _edit(
        "one member has two rows",
        block,
        "_check_members",
        "list(members) != sorted(set(members))",
        "list(members) != sorted(members)",
        probe="a_member_has_one_row",
        aim="pests",
    ),
    _edit(
        "HAVE waits for every row",
        Collection,
        "try_have",
        "if not everything and now_ms < self._since_ms + self._patience_ms():",
        "if not everything:",
    ),
    _edit(
        "HAVE lists rows without bodies",
        Collection,
        "held",
        "dict(self._accepted)",
        "dict(self.commitments.openings.keys())",
    ),
    _edit(
        "ECHO without bodies",
        Agreement,
        "_try_echo",
        "        if None in verdicts:\n",
        "        if False:\n",
    ),
    _edit(
        "rows that the application refuses are echoed",
        Agreement,
        "_try_echo",
        "if False in verdicts:",
        "if False:",
        probe="refused_rows_are_not_echoed",
        unseen="no HAVE of a correct member lists such a row, so no block may hold it",
    ),
    _edit(
        "bodies are never fetched",
        Retrieval,
        "want",
        "if (thing, digest) in",
        "if True or (thing, digest) in",
    ),
    _edit(
        "rows are never asked for",
        Collection,
        "ask_for_rows",
        "self._turn += 1",
        "return",
        probe="listed_rows_are_asked_for",
        aim="fetch",
    ),
    _edit(
        "a fetched body is believed",
        EpochMachine,
        "_take_piece",
        "good = row_root(data) == reply.digest",
        "good = True",
    ),
    _edit(
        "a fetched block is believed",
        BlockStore,
        "take",
        "if block.hash != block_hash:",
        "if False:",
        probe="another_block_is_not_taken",
        aim="fetch",
    ),
    _edit(
        "fetches stay with one source",
        Retrieval,
        "requests",
        "if overdue and item.tries >= TRIES_PER_SOURCE:",
        "if False:",
        probe="fetches_go_from_source_to_source",
        aim="fetch",
    ),
    _edit("nothing is served", EpochMachine, "_serve", "data = self._held(fetch)", "data = None"),
)

STATEMENTS: tuple[Mutant, ...] = (
    _edit(
        "a second vote replaces the first",
        Ledger,
        "_enter",
        "if member not in slot:",
        "if True:",
        probe="the_first_ballot_counts",
        aim="guilt",
    ),
    _edit(
        "a VOTE and a VIEW_CHANGE of one view are amnesia",
        evidence,
        "denies",
        "if view <= vote_view:",
        "if view < vote_view:",
    ),
    _edit(
        "amnesia goes unseen",
        Ledger,
        "_find_amnesia",
        "if evidence.denies(",
        "if False and evidence.denies(",
        probe="amnesia_is_proved",
        aim="guilt",
    ),
    _edit(
        "DECIDED is not given to who asks",
        EpochMachine,
        "_answer",
        "if want == WANT_DECISION and certificate is not None:",
        "if False:",
    ),
    _edit(
        "report signatures are not given to who asks",
        EpochMachine,
        "_answer",
        "elif want == WANT_REPORTS:",
        "elif False:",
    ),
    _edit(
        "the own report signature is not given beside an attested set",
        Attestation,
        "answer",
        "if own is not None and own not in known:",
        "if own is not None and not known:",
        probe="the_own_report_goes_beside_an_attested_set",
        aim="reports",
    ),
    _edit(
        "nothing is said again",
        EpochMachine,
        "tick",
        "if self._resending() and now_ms >= self._resend_ms:",
        "if False:",
    ),
    _edit(
        "the own VOTE is not said again",
        Agreement,
        "resend",
        "        if vote is not None:\n",
        "        if False:\n",
        probe="the_latest_is_said_again",
        aim="repeats",
    ),
    Mutant(
        "ECHOs decide",
        (
            Edit(
                Agreement,
                "_try_decide",
                "ledger.decided_views(Kind.VOTE)",
                "ledger.decided_views(Kind.ECHO)",
            ),
            Edit(
                Agreement,
                "_try_decide",
                "ledger.quorum(Kind.VOTE, view)",
                "ledger.quorum(Kind.ECHO, view)",
            ),
        ),
    ),
)

AGREEMENT: tuple[Mutant, ...] = (*THRESHOLDS, *LOCKS, *VIEWS, *ROWS, *STATEMENTS)
