"""Verdicts, and what follows from them. Here the judge is an account, and it knows the truth.

The judging contracts are tested by proofs; this machine asks what the others do with a verdict, whenever it comes:
against those who signed something false it must always be carried out, and nobody else loses anything.
"""

from contract_world import FIRST, NETWORK, account
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from machine.report_steps import ReportSteps
from machine.scene import AGGREGATORS, MEMBER_KEYS, REPORT_S, anybody, mostly, near

from meridian.contracts.calldata import signature_words
from meridian.contracts.statements import Unavailable
from meridian.primitives.hashing import sha256
from meridian.primitives.quorum import quorum


class VerdictSteps(ReportSteps):
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
    @rule(data=st.data())
    def judge_report(self, data: st.DataObject) -> None:
        """A false report can be voided at any moment of its window, whatever came after it."""
        epoch = data.draw(st.sampled_from(self.lies()))
        after = list(self.rules.evaluations.state.chain)
        chain = after[: after.index(epoch)]
        report_hash = self.rules.evaluations.report_hash(epoch)
        for signer in self.sent[report_hash].signers:
            stake = self.rules.registry.evaluator(signer)[0]
            answer = self.call("registry", "slash_evaluator", signer, by="judge")
            assert self.accepted(answer).value == stake
            self.guilty.add(signer)
        self.accepted(self.call("evaluations", "void", epoch, by="judge"))
        assert self.rules.evaluations.state.chain == chain

    @rule(who=st.sampled_from(AGGREGATORS), ahead=st.integers(0, 2))
    def judge_commitment(self, who: str, ahead: int) -> None:
        """A false commitment is void until its epoch is unlocked; its aggregator is out for good."""
        made = self.rules.commitments.state.made
        by = account(who)
        wrong = [at for at, one in made if one == by and made[at, one].annotation[0] == 1]
        if not wrong:
            return
        epoch = wrong[min(ahead, len(wrong) - 1)]
        if made[epoch, by].fate != "stands":
            return
        content = made[epoch, by]
        self.accepted(self.call("commitments", "slash", by, by="judge"))
        self.guilty.add(by)
        if not self.rules.evaluations.unlocked(epoch):
            args = (content.root, content.n_nodes, content.annotation, content.manifest)
            self.accepted(self.call("commitments", "void", epoch, by, *args, by="judge"))
            self.accepted(self.call("evaluations", "void", epoch, by="judge"))
            assert epoch not in self.rules.evaluations.state.hashes

    @rule(
        who=st.sampled_from([*AGGREGATORS, "someone"]), of=st.sampled_from(AGGREGATORS), ahead=near
    )
    def replace(self, who: str, of: str, ahead: int) -> None:
        """Another takes the place of a commitment that was voided."""
        made = self.rules.commitments.state.made
        voided = [at for at, one in made if made[at, one].fate == "voided"]
        epoch = voided[0] if voided and ahead >= 0 else self.next_unreported() + ahead
        content = (sha256(b"tree"), 5, bytes(24), sha256(b"manifest"))
        self.call("commitments", "replace", epoch, account(of), *content, by=who)

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
        if act == "continue":
            self.call("evaluations", "continue_void")
        elif act == "abandon":
            self.call("evaluations", "abandon", epoch)
        elif act == "late":
            self.pair.wait(REPORT_S)
            self.call("evaluations", "abandon", self.next_unreported())
        else:
            digest = self.rules.commitments.standing_digest(epoch)
            says = Unavailable(NETWORK, epoch, digest).digest(self.rules.domain("evaluations"))
            members = self.rules.registry.committee(epoch)
            n = quorum(max(1, len(members))) - lacking
            words = [signature_words(MEMBER_KEYS[one].sign(says)) for one in members[:n]]
            self.call("evaluations", "declare_unavailable", epoch, words)

    @rule(place=st.integers(0, 2), seconds=st.sampled_from([1, 900, 5000]))
    def hold(self, place: int, seconds: int) -> None:
        """What is before the judge is not paid in the meantime."""
        chain = self.rules.evaluations.state.chain
        epoch = chain[-1 - place] if place < len(chain) else FIRST + 50
        self.call("rewards", "hold", epoch, self.rules.now_s + seconds, by="judge")

    @rule(by=anybody, act=st.sampled_from(range(10)), epoch=st.integers(FIRST, FIRST + 5))
    def take_without_a_verdict(self, by: str, act: int, epoch: int) -> None:
        """Nobody but the contracts themselves can do what verdicts do."""
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
