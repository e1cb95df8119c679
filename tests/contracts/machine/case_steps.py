"""Challenges for rows, cases before the referees, and the referees themselves."""

from dataclasses import dataclass
from typing import Any

from contract_world import account
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from machine.accusing import BOND, Accusing
from machine.actors import KEYS, REFEREES, anybody, mostly, near
from machine.scene import REFEREE_STAKE, TERMS
from machine.small_epochs import Made
from model.disputes_rules import challenge_id
from model.referees_rules import lists_digests
from model.rule_state import Reenters
from published_epochs import LANES

from meridian.contracts.calldata import signature_words
from meridian.disputes.commitment_faults import challenge_job, challenge_node
from meridian.disputes.ways import job_row_tree, node_row_tree, path_words
from meridian.primitives.hashing import sha256

RESPONSE_S = TERMS.response_seconds


@dataclass(frozen=True)
class Asked:
    """A challenge that was made."""

    made: Made
    node: int
    job: int | None
    until: int


class CaseSteps(Accusing):
    """The calls of Disputes and Referees."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Asked] = []

    # ---- challenges

    @precondition(lambda self: self.made)
    @rule(
        data=st.data(),
        by=anybody,
        of_job=st.booleans(),
        flaw=mostly("good", "bond", "index", "row", "path"),
        then=st.sampled_from(["", "answer", "silence"]),
    )
    def challenge(self, data: st.DataObject, by: str, of_job: bool, flaw: str, then: str) -> None:
        """A row is asked for; perhaps it is shown at once, or never."""
        draw_from = list(self.made.values())[-4:]
        made = data.draw(st.sampled_from(draw_from))
        nodes = node_row_tree(made.shown.node_rows, LANES)
        node = data.draw(st.integers(0, nodes.size - 1))
        job = data.draw(st.integers(0, len(made.shown.job_rows[node]) - 1)) if of_job else None
        commitment = made.shown.commitment
        fault = (
            challenge_node(commitment, node)
            if job is None
            else challenge_job(commitment, nodes, node, job)
        )
        arguments: list[Any] = list(fault.arguments)
        if flaw == "index":
            arguments[1 if job is None else 4] += 7
        elif flaw == "row":
            arguments[2] = nodes.rows[0]
        elif flaw == "path":
            arguments[3] = arguments[3][:-1] or [(bytes(32), 0)]
        value = BOND - (flaw == "bond")
        answer = self.call("disputes", "challenge", *arguments, by=by, value=value)
        if not isinstance(answer, str):
            self.asked.append(Asked(made, node, job, self.rules.now_s + RESPONSE_S))
            if then == "answer":
                self.answer_to(self.asked[-1], by, "good")
            elif then == "silence":
                self.resolve_late(self.asked[-1], by, late=True)

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), by=anybody, flaw=mostly("good", "row", "job", "index", "path"))
    def answer(self, data: st.DataObject, by: str, flaw: str) -> None:
        """Whoever has the rows can answer in time; a hidden row nobody has."""
        self.answer_to(data.draw(st.sampled_from(self.asked)), by, flaw)

    def answer_to(self, asked: Asked, by: str, flaw: str) -> None:
        shown = asked.made.shown
        nodes = node_row_tree(shown.node_rows, LANES)
        row, path = nodes.rows[asked.node], path_words(nodes.tree.path(asked.node))
        job, job_row, job_path = 0, b"", []
        if asked.job is not None:
            jobs = job_row_tree(shown.job_rows[asked.node], LANES)
            job, job_row = asked.job, jobs.rows[asked.job]
            job_path = path_words(jobs.tree.path(asked.job))
        if flaw == "row":
            row = nodes.rows[asked.node - 1]
        elif flaw == "job":
            job_row = b"" if job_row else shown.job_rows[0][0].tobytes()
        elif flaw == "index":
            job += 1
        elif flaw == "path":
            job_path = [*job_path, (bytes(32), 0)]
        name = self.name_of(asked)
        waits = self.rules.disputes.open_challenge(name)[1] >= self.rules.now_s
        args = (asked.made.words, asked.node, row, path, job, job_row, job_path)
        answer = self.call("disputes", "answer", *args, by=by)
        if waits and flaw == "good" and asked.made.is_readable:
            self.accepted(answer)

    def name_of(self, asked: Asked) -> bytes:
        of_job = asked.job is not None
        return challenge_id(asked.made.words, asked.node, asked.job or 0, of_job)

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), by=anybody, late=st.booleans())
    def resolve(self, data: st.DataObject, by: str, late: bool) -> None:
        """Nobody answered: whoever could have done it is not correct."""
        self.resolve_late(data.draw(st.sampled_from(self.asked)), by, late=late)

    def resolve_late(self, asked: Asked, by: str, *, late: bool) -> None:
        waits = self.rules.disputes.open_challenge(self.name_of(asked))[1]
        if late and waits >= self.rules.now_s:
            self.pair.wait(waits + 1 - self.rules.now_s)
        if waits and self.rules.now_s > waits:
            self.false.add(asked.made.words[1])
        args = (asked.made.words, asked.node, asked.job or 0, asked.job is not None)
        answer = self.call("disputes", "resolve", *args, by=by)
        if waits and self.rules.now_s > waits:
            self.accepted(answer)

    @rule(by=anybody)
    def sweep(self, by: str) -> None:
        self.call("disputes", "sweep", by=by)

    # ---- cases

    @rule(
        ahead=near,
        back=st.booleans(),
        by=anybody,
        flaw=mostly("good", "bond"),
        then=st.sampled_from(["", "decide", "few", "dismiss", "expire", "contradict"]),
    )
    def escalate(self, ahead: int, back: bool, by: str, flaw: str, then: str) -> None:
        """A case; perhaps it ends at once, or is forgotten."""
        epoch = self.next_unreported() + (-ahead if back else ahead)
        args = (epoch, sha256(b"case", bytes([epoch % 256])), "ipfs://case")
        answer = self.call("disputes", "escalate", *args, by=by, value=BOND - (flaw == "bond"))
        if isinstance(answer, str):
            return
        if then in {"decide", "few"}:
            self.rule_on(answer.value, by, "quorum" if then == "few" else "good")
        elif then == "contradict":
            self.contradict_in(answer.value, REFEREES[ahead], by, "good")
        elif then:
            self.end(answer.value, by, then, late=True)

    def a_case(self, data: st.DataObject) -> int:
        """One that waits, if any does; rarely one that there never was."""
        cases = list(self.rules.disputes.state.cases) or list(self.rules.referees.state.cases)
        return data.draw(st.sampled_from([*cases, *cases, self.rules.disputes.case_count() + 1]))

    @precondition(lambda self: self.rules.disputes.state.cases)
    @rule(
        data=st.data(),
        by=anybody,
        flaw=mostly("good", "quorum", "order", "stranger", "member", "epoch", "liar"),
    )
    def decide(self, data: st.DataObject, by: str, flaw: str) -> None:
        """The referees rule what is true: a false report and its signers, false commitments, or nothing."""
        self.rule_on(self.a_case(data), by, flaw)

    def rule_on(self, case: int, by: str, flaw: str) -> None:
        epoch = self.rules.referees.cases(case)[0]
        sent = self.sent.get(self.rules.evaluations.report_hash(epoch))
        false = sent is not None and not sent.true
        guilty = list(sent.signers) if sent is not None and false else []
        wrong = [made.words for made in self.standing(epoch) if not made.is_readable]
        if flaw == "member":
            guilty = [account("watcher")]
        if flaw == "epoch" and self.made:
            wrong = [next(reversed(self.made.values())).words]
            if wrong[0][0] == epoch and wrong[0][1] not in self.false:
                wrong = []
        voters = REFEREES[: 2 if flaw == "quorum" else 3]
        if flaw == "order":
            voters = voters[::-1]
        if flaw == "stranger":
            voters = sorted([*voters[:2], "watcher"], key=account)
        votes = self.votes(case, guilty, wrong, false, voters)
        if flaw == "liar":  # what fewer than a quorum signed convicts nobody
            guilty = [account(f"member {case % 6}")]
        self.call("referees", "decide", case, guilty, wrong, false, votes, by=by)

    @rule(
        data=st.data(), by=anybody, act=st.sampled_from(["dismiss", "expire"]), late=st.booleans()
    )
    def end_case(self, data: st.DataObject, by: str, act: str, late: bool) -> None:
        self.end(self.a_case(data), by, act, late=late)

    def end(self, case: int, by: str, act: str, *, late: bool) -> None:
        known = self.rules.disputes.state.cases.get(case)
        if late and known:
            last = known.until + RESPONSE_S * (act == "expire")
            self.pair.wait(max(0, last + 1 - self.rules.now_s))
        name = "referees" if act == "dismiss" else "disputes"
        self.call(name, act, case, by=by)

    # ---- referees

    @rule(
        who=st.sampled_from([*REFEREES, "someone"]),
        act=st.sampled_from(["deposit", "withdraw", "late", "again"]),
        value=st.integers(0, REFEREE_STAKE),
    )
    def serve_as_referee(self, who: str, act: str, value: int) -> None:
        if act == "deposit":
            self.call("referees", "deposit", by=who, value=value)
            return
        if act == "late":
            self.pair.wait(max(0, self.rules.referees.busy_until() + 1 - self.rules.now_s))
        if act == "again":
            self.pair.behave(account(who), Reenters("referees", "withdraw", ()))
        self.call("referees", "withdraw", by=who)
        if act == "again":
            self.pair.behave(account(who), None)

    @precondition(lambda self: self.rules.referees.state.cases)
    @rule(
        data=st.data(),
        who=st.sampled_from([*REFEREES, "watcher"]),
        by=anybody,
        flaw=mostly("good", "same", "signature", "signer"),
    )
    def contradict(self, data: st.DataObject, who: str, by: str, flaw: str) -> None:
        """A referee signed two rulings in one case."""
        self.contradict_in(self.a_case(data), who, by, flaw)

    def contradict_in(self, case: int, who: str, by: str, flaw: str) -> None:
        guilty, wrong = lists_digests((), ())
        voids = [True, flaw == "same"]
        words = [
            signature_words(KEYS[who].sign(self.rules.referees.ruling(case, guilty, wrong, void)))
            for void in voids
        ]
        if flaw == "signature":
            words[1] = (0, words[1][1])
        if flaw == "signer":
            words[1] = self.votes(case, (), (), False, [REFEREES[who == REFEREES[0]]])[0]
        args = (case, [guilty] * 2, [wrong] * 2, voids, words)
        self.call("referees", "contradiction", *args, by=by)
