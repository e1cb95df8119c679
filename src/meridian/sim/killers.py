"""A world that kills each mutant which worlds can show: what `meridian sim --mutants --fresh` found first."""

from __future__ import annotations

from meridian.sim.mutation import Killer

KILLERS: dict[str, Killer] = {
    "quorum - 1": Killer("", 0, "member 3: validity: decided without a quorum"),
    "quorum + 1": Killer("", 0, "termination: member 3 unattested"),
    "f + 1 is f": Killer("", 30, "the core does not come to an end"),
    "f + 1 is f + 2": Killer("", 80, "inclusion: row of member 1 left out"),
    "n - f rows - 1": Killer("", 0, "member 3: validity: decided without n - f rows and HAVEs"),
    "n - f rows + 1": Killer("", 1, "termination: member 3 undecided"),
    "ECHO and VOTE quorums one short": Killer(
        "", 0, "member 3: validity: certificate.votes: 2 of 3 needed"
    ),
    "a view is entered for the highest wish": Killer(
        "views", 20, "views: 7 is entered, 5 was wished for"
    ),
    "a report is attested with q - 1 signatures": Killer(
        "", 48, "member 3: validity: attested without a quorum"
    ),
    "lock check removed": Killer("locks", 119, "agreement: two blocks decided"),
    "the lowest lock wins": Killer("", 125, "termination: member 3 undecided"),
    "a leader carries the lowest lock": Killer("locks", 1, "termination: member 3 undecided"),
    "a leader ignores the lock": Killer("", 20, "termination: member 1 undecided"),
    "lock dropped on view change": Killer(
        "", 0, "amnesia: the VOTE in view 0 is denied in view 1 by member 3"
    ),
    "VIEW_CHANGE with the current lock": Killer(
        "", 2, "equivocation: VIEW_CHANGE in view 1 by member 3"
    ),
    "the leader never changes": Killer("", 59, "termination: member 3 undecided"),
    "wishes are not joined": Killer("views", 1, "termination: member 3 undecided"),
    "nobody wishes": Killer("", 24, "termination: member 3 undecided"),
    "a wish is said once": Killer("", 111, "termination: member 3 undecided"),
    "a second ECHO in a view": Killer("", 383, "equivocation: ECHO in view 0 by member 3"),
    "any member proposes": Killer(
        "pests", 282, "validity: the leader of view 0 did not propose what was echoed"
    ),
    "the leader waits for every HAVE": Killer("", 1, "the core does not come to an end"),
    "inclusion skipped": Killer("", 44, "inclusion: row of member 0 left out"),
    "one member has two rows": Killer("", 2647, "member 3: validity: a member has two rows"),
    "HAVE waits for every row": Killer("", 0, "the core does not come to an end"),
    "HAVE lists rows without bodies": Killer("", 0, "core: member 0 raised KeyError"),
    "ECHO without bodies": Killer("", 3, "core: member 2 raised KeyError"),
    "bodies are never fetched": Killer("", 0, "termination: member 3 undecided"),
    "rows are never asked for": Killer("fetch", 7, "termination: member 1 undecided"),
    "a fetched body is believed": Killer("", 0, "member 2: validity: bodies of other rows"),
    "a fetched block is believed": Killer("fetch", 4, "agreement: two blocks decided"),
    "fetches stay with one source": Killer("fetch", 1, "termination: member 3 undecided"),
    "nothing is served": Killer("", 0, "termination: member 3 undecided"),
    "a second vote replaces the first": Killer(
        "guilt", 0, "accountability: double_have is not proved"
    ),
    "a VOTE and a VIEW_CHANGE of one view are amnesia": Killer(
        "", 2, "framing: amnesia by correct member 3"
    ),
    "amnesia goes unseen": Killer("guilt", 2, "accountability: amnesia is not proved"),
    "DECIDED is not given to who asks": Killer("", 2, "termination: member 3 unattested"),
    "report signatures are not given to who asks": Killer(
        "", 0, "termination: member 3 unattested"
    ),
    "the own report signature is not given beside an attested set": Killer(
        "reports", 2, "termination: member 1 unattested"
    ),
    "nothing is said again": Killer("", 0, "the core does not come to an end"),
    "the own VOTE is not said again": Killer("repeats", 8, "termination: member 3 undecided"),
    "ECHOs decide": Killer(
        "", 0, "member 3: validity: certificate.votes: signature of member 1 does not verify"
    ),
    "a row is revealed while commitments are taken": Killer(
        "copies", 2, "member 2: copying: its row is revealed while it takes commitments"
    ),
    "a row is revealed before the others have closed": Killer(
        "copies", 6, "copying: the row that member 2 copied counts"
    ),
    "commitments are taken for ever": Killer("copies", 0, "the core does not come to an end"),
    "late commitments are in time": Killer(
        "copies", 2, "member 1: copying: HAVE lists late rows of [3]"
    ),
    "an opening is believed": Killer(
        "", 669, "member 1: validity: block.rows: member 0 committed to another row"
    ),
    "openings of a block are believed": Killer(
        "", 646, "member 3: validity: block.rows: member 0 committed to another row"
    ),
    "a block may hold rows that no HAVE lists": Killer(
        "copies", 20, "member 3: validity: decided on a row that f + 1 HAVEs do not list"
    ),
    "late rows never stand in": Killer("copies", 0, "termination: member 3 undecided"),
    "late rows stand in beyond n - f": Killer(
        "copies", 2, "member 1: copying: HAVE lists late rows of [3]"
    ),
    "late rows stand in at once": Killer(
        "copies", 2, "copying: the row that member 3 copied counts"
    ),
    "a second row of a member stands in": Killer(
        "", 76, "member 3: copying: HAVE lists late rows of [0]"
    ),
    "a row is never revealed": Killer("copies", 0, "the core does not come to an end"),
    "a row is revealed once": Killer("repeats", 0, "termination: member 3 undecided"),
    "who lost its records is not told": Killer(
        "disks", 0, "equivocation: ROW in view 0 by member 1"
    ),
    "context is not durable": Killer(
        "crashes", 0, "core: member 1 raised StorageFailure: safety records of epoc"
    ),
    "row is not durable": Killer("crashes", 1, "equivocation: ROW in view 0 by member 3"),
    "closed is not durable": Killer(
        "crashes", 0, "member 0: copying: its row is revealed while it takes commitments"
    ),
    "listed_row is not durable": Killer("crashes", 40, "termination: member 3 undecided"),
    "have is not durable": Killer("crashes", 45, "equivocation: HAVE in view 0 by member 3"),
    "propose is not durable": Killer("crashes", 6, "equivocation: PROPOSE in view 0 by member 1"),
    "echo is not durable": Killer("crashes", 171, "equivocation: ECHO in view 0 by member 2"),
    "view is not durable": Killer("crashes", 25, "equivocation: VIEW_CHANGE in view 1 by member 1"),
    "view_change is not durable": Killer(
        "crashes", 25, "equivocation: VIEW_CHANGE in view 2 by member 1"
    ),
    "lock is not durable": Killer(
        "crashes", 4, "amnesia: the VOTE in view 0 is denied in view 2 by member 2"
    ),
    "block is not durable": Killer("crashes", 6, "member 0: memory: decided is forgotten"),
    "body is not durable": Killer("crashes", 1, "the core does not come to an end"),
    "decided is not durable": Killer("crashes", 6, "member 0: memory: decided is forgotten"),
    "report is not durable": Killer(
        "crashes", 28, "equivocation: REPORT_SIG in view 0 by member 3"
    ),
    "attested is not durable": Killer("crashes", 163, "member 1: memory: attested is forgotten"),
    "evidence is not durable": Killer("crashes", 6, "member 0: memory: double_have is found twice"),
    "HAVE lists bodies that are not durable": Killer(
        "crashes", 40, "termination: member 3 undecided"
    ),
    "a lost disk makes no observer": Killer("disks", 1, "equivocation: ROW in view 0 by member 0"),
    "an observer forgets that it is one": Killer(
        "disks", 8, "equivocation: ROW in view 0 by member 3"
    ),
    "an unknown own statement makes no observer": Killer(
        "disks", 4, "equivocation: ROW in view 0 by member 2"
    ),
    "a clock that is set back moves every deadline": Killer(
        "clock", 0, "termination: member 3 undecided"
    ),
    "the signer is not compared": Killer("forgery", 1, "framing: double_echo by correct member 1"),
    "statements: signature not checked": Killer(
        "forgery", 5, "evidence: evidence.signature: does not verify"
    ),
    "WISH: signature not checked": Killer("forgery", 88, "termination: member 3 undecided"),
    "rows of a block: signature not checked": Killer(
        "forgery", 11, "member 3: validity: block.rows: signature of member 0 does not verify"
    ),
    "HAVEs of a block: signature not checked": Killer(
        "forgery", 51, "member 3: validity: block.haves: signature of member 0 does not verify"
    ),
    "certificates: signature not checked": Killer("forgery", 2, "termination: member 1 undecided"),
    "an ECHO certificate decides": Killer(
        "forgery",
        16,
        "member 3: validity: certificate.votes: signature of member 0 does not verify",
    ),
    "one voter counts twice in a certificate": Killer(
        "forgery", 0, "termination: member 3 undecided"
    ),
    "DECIDED is believed": Killer("forgery", 0, "termination: member 3 undecided"),
    "REPORT_SIG: statement not checked": Killer(
        "forgery", 22, "evidence: evidence.signature: does not verify"
    ),
    "REPORT_SIG: the chain's signature not checked": Killer(
        "forgery", 9, "member 3: validity: attested with a forged signature"
    ),
    "evidence is believed": Killer("forgery", 14, "framing: double_echo by correct member 2"),
}
"""By the mutant's name."""
