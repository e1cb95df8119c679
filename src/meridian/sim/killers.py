"""A world that kills each mutant which worlds can show: what `meridian sim --mutants --fresh` found first."""

from __future__ import annotations

from meridian.sim.mutation import Killer

KILLERS: dict[str, Killer] = {
    "quorum - 1": Killer("", 0, "validity: decided without a quorum"),
    "quorum + 1": Killer("", 0, "termination: member 3 unattested"),
    "f + 1 is f": Killer("", 30, "the core does not come to an end"),
    "f + 1 is f + 2": Killer("", 218, "inclusion: row of member 3 left out"),
    "n - f rows - 1": Killer("", 8, "validity: decided without n - f rows and HAVEs"),
    "n - f rows + 1": Killer("", 1, "termination: member 3 undecided"),
    "ECHO and VOTE quorums one short": Killer("", 0, "validity: certificate.votes: 2 of 3 needed"),
    "a view is entered for the highest wish": Killer(
        "views", 56, "views: 6 is entered, 4 was wished for"
    ),
    "a report is attested with q - 1 signatures": Killer(
        "", 48, "validity: attested without a quorum"
    ),
    "lock check removed": Killer("locks", 62, "agreement: two blocks decided"),
    "the lowest lock wins": Killer("", 38, "the core does not come to an end"),
    "a leader carries the lowest lock": Killer("locks", 0, "termination: member 3 undecided"),
    "a leader ignores the lock": Killer("", 20, "termination: member 1 undecided"),
    "lock dropped on view change": Killer(
        "", 0, "amnesia: the VOTE in view 0 is denied in view 1 by member 3"
    ),
    "VIEW_CHANGE with the current lock": Killer(
        "", 2, "equivocation: VIEW_CHANGE in view 1 by member 1"
    ),
    "the leader never changes": Killer("", 59, "termination: member 3 undecided"),
    "wishes are not joined": Killer("views", 0, "termination: member 1 undecided"),
    "nobody wishes": Killer("", 24, "termination: member 3 undecided"),
    "a wish is said once": Killer("", 149, "termination: member 3 undecided"),
    "a second ECHO in a view": Killer("", 35, "equivocation: ECHO in view 0 by member 3"),
    "any member proposes": Killer(
        "pests", 5, "validity: the leader of view 0 did not propose what was echoed"
    ),
    "the leader waits for every HAVE": Killer("", 1, "the core does not come to an end"),
    "inclusion skipped": Killer("", 10, "inclusion: row of member 3 left out"),
    "one member has two rows": Killer("pests", 54, "validity: a member has two rows"),
    "HAVE waits for every row": Killer("", 0, "the core does not come to an end"),
    "HAVE lists rows without bodies": Killer("", 0, "core: member 1 raised KeyError"),
    "ECHO without bodies": Killer("", 0, "core: member 2 raised KeyError"),
    "rows that the application refuses are echoed": Killer(
        "pests", 6, "validity: a row that the application refuses"
    ),
    "bodies are never fetched": Killer("", 0, "termination: member 3 undecided"),
    "rows are never asked for": Killer("fetch", 0, "termination: member 3 undecided"),
    "a fetched body is believed": Killer("", 0, "validity: bodies of other rows"),
    "a fetched block is believed": Killer("fetch", 34, "agreement: two blocks decided"),
    "fetches stay with one source": Killer("fetch", 11, "termination: member 3 undecided"),
    "nothing is served": Killer("", 0, "termination: member 3 undecided"),
    "a second vote replaces the first": Killer(
        "guilt", 0, "accountability: double_vote is not proved"
    ),
    "a VOTE and a VIEW_CHANGE of one view are amnesia": Killer(
        "", 2, "framing: amnesia by correct member 3"
    ),
    "amnesia goes unseen": Killer("guilt", 7, "accountability: amnesia is not proved"),
    "DECIDED is not given to who asks": Killer("", 2, "termination: member 3 unattested"),
    "report signatures are not given to who asks": Killer(
        "", 3, "termination: member 0 unattested"
    ),
    "the own report signature is not given beside an attested set": Killer(
        "reports", 18, "termination: member 3 unattested"
    ),
    "nothing is said again": Killer("", 0, "the core does not come to an end"),
    "the own VOTE is not said again": Killer("repeats", 0, "termination: member 3 undecided"),
    "ECHOs decide": Killer(
        "", 0, "validity: certificate.votes: signature of member 0 does not verify"
    ),
    "context is not durable": Killer("crashes", 0, "core: member 0 raised StorageFailure"),
    "row is not durable": Killer("crashes", 1, "equivocation: ROW in view 0 by member 1"),
    "listed_row is not durable": Killer("crashes", 44, "termination: member 3 undecided"),
    "have is not durable": Killer("crashes", 4, "equivocation: HAVE in view 0 by member 2"),
    "propose is not durable": Killer("crashes", 6, "equivocation: PROPOSE in view 1 by member 2"),
    "echo is not durable": Killer("crashes", 131, "equivocation: ECHO in view 1 by member 1"),
    "view is not durable": Killer("crashes", 7, "equivocation: VIEW_CHANGE in view 1 by member 1"),
    "view_change is not durable": Killer(
        "crashes", 7, "equivocation: VIEW_CHANGE in view 1 by member 3"
    ),
    "lock is not durable": Killer(
        "crashes", 10, "amnesia: the VOTE in view 0 is denied in view 2 by member 1"
    ),
    "block is not durable": Killer("crashes", 0, "memory: decided is forgotten"),
    "body is not durable": Killer("crashes", 0, "memory: decided is forgotten"),
    "decided is not durable": Killer("crashes", 3, "memory: decided is forgotten"),
    "report is not durable": Killer(
        "crashes", 28, "equivocation: REPORT_SIG in view 0 by member 3"
    ),
    "attested is not durable": Killer("crashes", 90, "memory: attested is forgotten"),
    "evidence is not durable": Killer("crashes", 8, "memory: double_row is found twice"),
    "HAVE lists bodies that are not durable": Killer(
        "crashes", 6, "termination: member 3 undecided"
    ),
    "a lost disk makes no observer": Killer("disks", 0, "equivocation: ROW in view 0 by member 0"),
    "an observer forgets that it is one": Killer(
        "disks", 0, "equivocation: ROW in view 0 by member 0"
    ),
    "an unknown own statement makes no observer": Killer(
        "disks", 4, "equivocation: ROW in view 0 by member 1"
    ),
    "a clock that is set back moves every deadline": Killer(
        "clock", 0, "termination: member 1 undecided"
    ),
    "the signer is not compared": Killer("forgery", 1, "termination: member 1 undecided"),
    "statements: signature not checked": Killer(
        "forgery", 4, "evidence: evidence.signature: does not verify"
    ),
    "WISH: signature not checked": Killer("forgery", 1, "termination: member 1 undecided"),
    "rows of a block: signature not checked": Killer(
        "forgery", 8, "validity: block.rows: signature of member 0 does not verify"
    ),
    "HAVEs of a block: signature not checked": Killer(
        "forgery", 36, "validity: block.haves: signature of member 0 does not verify"
    ),
    "certificates: signature not checked": Killer("forgery", 2, "termination: member 3 undecided"),
    "an ECHO certificate decides": Killer(
        "forgery", 16, "validity: certificate.votes: signature of member 0 does not verify"
    ),
    "one voter counts twice in a certificate": Killer(
        "forgery", 0, "termination: member 3 undecided"
    ),
    "DECIDED is believed": Killer("forgery", 0, "termination: member 3 undecided"),
    "REPORT_SIG: statement not checked": Killer(
        "forgery", 10, "evidence: evidence.signature: does not verify"
    ),
    "REPORT_SIG: the chain's signature not checked": Killer(
        "forgery", 9, "validity: attested with a forged signature"
    ),
    "evidence is believed": Killer("forgery", 14, "framing: double_echo by correct member 2"),
}
