"""Verdicts by those who know what is false, and what follows from them.

Against whoever committed to, or signed, something false a verdict must always be reached while the epoch is locked:
by a proof where arithmetic can tell, by a challenge where a row is hidden, else by the referees.
"""

from contract_world import FIRST, NETWORK, account
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from machine.actors import AGGREGATORS, MEMBER_KEYS, anybody, mostly, near
from machine.ordinary_steps import OrdinarySteps
from machine.scene import REPORT_S
from machine.small_epochs import Made
from model.rule_state import Answer

from meridian.contracts.calldata import signature_words
from meridian.contracts.statements import Unavailable
from meridian.primitives.hashing import sha256
from meridian.primitives.quorum import quorum


class VerdictSteps(OrdinarySteps):
    """Slashing, voids, replacements, renewals, holds and abandoned epochs."""

    def lies(self) -> list[int]:
        """Epochs whose report is false and still locked."""
        records = self.rules.rewards.state.records
        hashes = self.rules.evaluations.state.hashes
        return [
            epoch
            for epoch in self.rules.evaluations.state.chain
            if not self.sent[hashes[epoch]].true and self.rules.now_s < records[epoch].unlock_at
        ]

    @precondition(lambda self: self.lies())
    @rule(data=st.data(), choice=st.integers(0, 3), winner=anybody, last=st.booleans())
    def judge_report(self, data: st.DataObject, choice: int, winner: str, last: bool) -> None:
        """A false report can be voided at any moment of its window, whatever came after it."""
        epoch = data.draw(st.sampled_from(self.lies()))
        after = list(self.rules.evaluations.state.chain)
        chain = after[: after.index(epoch)]
        if last:  # the last second
            self.pair.wait(self.rules.evaluations.unlock_at(epoch) - 1 - self.rules.now_s)
        self.convict_signers(epoch, winner, choice)
        assert self.rules.evaluations.state.chain == chain

    def false_commitments(self) -> list[Made]:
        """Those that stand."""
        return [made for at, made in self.made.items() if self.stands(*at) and at[1] in self.false]

    @precondition(lambda self: self.false_commitments())
    @rule(data=st.data(), choice=st.integers(0, 3), winner=anybody)
    def judge_commitment(self, data: st.DataObject, choice: int, winner: str) -> None:
        """A false commitment is void until its epoch is unlocked; its aggregator is out for good."""
        self.convict_author(data.draw(st.sampled_from(self.false_commitments())), winner, choice)

    @rule(
        who=st.sampled_from([*AGGREGATORS, "someone"]),
        of=st.sampled_from(AGGREGATORS),
        ahead=near,
        variant=mostly("plain", "more", "sum"),
    )
    def replace(self, who: str, of: str, ahead: int, variant: str) -> None:
        """Another takes the place of a commitment that was voided."""
        made = self.rules.commitments.state.made
        voided = [at for at, one in made if made[at, one].fate == "voided"]
        epoch = voided[0] if voided and ahead >= 0 else self.next_unreported() + ahead
        self.replace_commitment(who, max(epoch, FIRST), account(of), variant)

    @rule(ahead=near)
    def renew(self, ahead: int) -> None:
        self.call("evaluations", "renew", self.next_unreported() + ahead)

    @rule(
        ahead=near,
        act=st.sampled_from(["abandon", "late", "unavailable", "continue"]),
        lacking=st.booleans(),
    )
    def give_up(self, ahead: int, act: str, lacking: bool) -> None:
        """Close an epoch without a report; its budget goes on, once."""
        epoch = self.next_unreported() + ahead
        answer: Answer | str = ""
        if act == "continue":
            self.call("evaluations", "continue_void")
        elif act == "abandon":
            answer = self.call("evaluations", "abandon", epoch)
        elif act == "late":
            self.pair.wait(REPORT_S)
            answer = self.call("evaluations", "abandon", self.next_unreported())
        else:
            digest = self.rules.commitments.standing_digest(epoch)
            says = Unavailable(NETWORK, epoch, digest).digest(self.rules.domain("evaluations"))
            members = self.rules.registry.committee(epoch)
            n = quorum(max(1, len(members))) - lacking
            words = [signature_words(MEMBER_KEYS[one].sign(says)) for one in members[:n]]
            answer = self.call("evaluations", "declare_unavailable", epoch, words)
        if not isinstance(answer, str):
            given = answer.events[-1].args
            for at in (given["epoch"], given["to_epoch"]):
                self.pair.compare_view("rewards", "budget", at)

    @rule(place=st.integers(0, 2), seconds=st.sampled_from([1, 900, 5000]))
    def hold(self, place: int, seconds: int) -> None:
        """What is before the judge is not paid in the meantime."""
        chain = self.rules.evaluations.state.chain
        epoch = chain[-1 - place] if place < len(chain) else FIRST + 50
        self.call("rewards", "hold", epoch, self.rules.now_s + seconds, by="judge")

    @rule(by=anybody, act=st.sampled_from(range(15)), epoch=st.integers(FIRST, FIRST + 5))
    def take_without_a_verdict(self, by: str, act: int, epoch: int) -> None:
        """Nobody but the contracts themselves can do what verdicts do, or come to one."""
        victim = account(AGGREGATORS[act % 2])
        content = (bytes(32), 5, bytes(24), bytes(32))
        contract, function, *args = (
            ("commitments", "slash", victim),
            ("commitments", "void", epoch, victim, *content),
            ("registry", "slash_evaluator", next(iter(MEMBER_KEYS))),
            ("registry", "renew", epoch),
            ("evaluations", "void", epoch),
            ("evaluations", "note_slashing"),
            ("rewards", "hold", epoch, self.rules.now_s + 50),
            ("rewards", "forget", epoch, False),
            ("rewards", "roll", epoch),
            ("rewards", "accept", epoch, bytes(32), 1, 0, 0, epoch),
            ("disputes", "convict_aggregator", 1, (epoch, victim, *content), account(by), victim),
            ("disputes", "convict_signer", 5, victim, account(by)),
            ("disputes", "convict_evaluators", 5, epoch, bytes(32), [victim], account(by)),
            ("disputes", "rule", 1, [victim], [], True),
            ("referees", "open_case", 1, epoch, bytes(32)),
        )[act]
        self.refused(self.call(contract, function, *args, by=by), f"{contract}: sender")

    @rule(flaw=mostly("unlocked", "record", "stranger"), epoch=near)
    def judge_too_late(self, flaw: str, epoch: int) -> None:
        """A judge that errs about time, commitment or person gets nowhere."""
        at = self.next_unreported() - 1 - epoch
        if flaw == "record":
            args = (sha256(b"other"), 5, bytes(24), bytes(32))
            answer = self.call(
                "commitments", "void", at, account(AGGREGATORS[0]), *args, by="judge"
            )
            self.refused(answer, "commitments: record")
        elif flaw == "stranger":
            answer = self.call("commitments", "slash", account("someone"), by="judge")
            self.refused(answer, "commitments: aggregator")
        elif self.rules.evaluations.unlocked(at):
            answer = self.call("evaluations", "void", at, by="judge")
            self.refused(answer, "evaluations: unlocked")
