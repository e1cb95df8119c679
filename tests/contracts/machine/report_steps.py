"""Epochs are committed and reported, rightly and wrongly."""

from dataclasses import replace
from typing import Any

from contract_world import CHALLENGE_S, EPOCH_S, FIRST, NETWORK, ClaimTree, Report, account
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from machine.scene import (
    AGGREGATOR_STAKE,
    AGGREGATORS,
    KEYS,
    MEMBER_KEYS,
    NODES,
    PAYEES,
    Scene,
    anybody,
    mostly,
    near,
)
from model.rule_state import Answer

from meridian.contracts.calldata import signature_words
from meridian.contracts.statements import Transmission
from meridian.primitives.hashing import sha256
from meridian.primitives.keys import PrivateKey
from meridian.primitives.quorum import quorum

LIES = ("move", "inflate", "total", "lower", "garbage")
REPORT_FLAWS = (
    "network",
    "commitment",
    "function",
    "parameters",
    "previous",
    "quorum",
    "order",
    "signature",
    "signer",
    "transmitter",
)


class ReportSteps(Scene):
    """The calls of Commitments and Evaluations, except disputes."""

    # ---- commitments

    @rule(
        who=st.sampled_from(AGGREGATORS),
        flaw=mostly("good", "empty", "order", "stranger"),
        salt=st.integers(0, 1),
    )
    def commit(self, who: str, flaw: str, salt: int) -> None:
        self.commit_next(who, flaw, salt)

    def commit_next(self, who: str, flaw: str = "good", salt: int = 0) -> Answer | str:
        turn = self.rules.commitments.state.aggregators[account(who)].turn or FIRST
        by = "someone" if flaw == "stranger" else who
        content = self.content(salt, 0 if flaw == "empty" else 5)
        return self.call("commitments", "commit", turn + (flaw == "order"), *content, by=by)

    def content(self, salt: int, n_nodes: int = 5) -> tuple[bytes, int, bytes, bytes]:
        """Hash of the tree, number of nodes, annotation, manifest."""
        return sha256(b"tree", bytes((salt,))), n_nodes, bytes((salt,)) * 24, sha256(b"manifest")

    @rule(
        who=st.one_of(st.sampled_from(AGGREGATORS), anybody),
        act=st.sampled_from(["join", "leave", "withdraw", "skip"]),
        less=mostly("", "less"),
    )
    def serve(self, who: str, act: str, less: str) -> None:
        stake = AGGREGATOR_STAKE - bool(less) if act == "join" else 0
        self.call("commitments", act, by=who, value=stake)

    @rule(who=anybody, of=st.sampled_from(AGGREGATORS))
    def take_without_a_verdict(self, who: str, of: str) -> None:
        """Nobody but Disputes can void and slash."""
        answer = self.call("commitments", "slash", account(of), by=who)
        self.refused(answer, "commitments: sender")
        content = (bytes(32), 5, bytes(24), bytes(32))
        answer = self.call("commitments", "void", FIRST, account(of), *content, by=who)
        self.refused(answer, "commitments: sender")

    # ---- the truth

    def last_tree(self) -> ClaimTree:
        """The claim tree of the last report; an empty one where nobody knows it."""
        known = self.trees.get(self.last_root())
        return known or ClaimTree({name: (account(PAYEES[i]), 0) for i, name in enumerate(NODES)})

    def last_root(self) -> bytes:
        chain = self.rules.evaluations.state.chain
        return self.rules.rewards.state.records[chain[-1]].reward_root if chain else b""

    def true_tree(self, epoch: int) -> ClaimTree:
        """What correct members compute: the budget, shared by what the commitments say."""
        seed = sha256(b"weights", self.rules.commitments.epoch_digest(epoch))
        weights = seed[: len(NODES)]
        budget = self.rules.rewards.budget(epoch)
        shares = [budget * weight // max(1, sum(weights)) for weight in weights]
        before = self.last_tree().amounts
        return ClaimTree(
            {
                name: (before[name][0], before[name][1] + share)
                for name, share in zip(NODES, shares, strict=True)
            }
        )

    def false_tree(self, tree: ClaimTree, lie: str) -> ClaimTree:
        """What liars would rather have: always something for the last node."""
        amounts = dict(tree.amounts)
        first, last = NODES[0], NODES[-1]
        taken = amounts[first][1] if lie in {"move", "lower"} else 0
        gained = {"move": taken, "inflate": 50}.get(lie, 0)
        amounts[first] = (amounts[first][0], amounts[first][1] - taken)
        amounts[last] = (amounts[last][0], amounts[last][1] + gained)
        return ClaimTree(amounts)

    # ---- reports

    def draft(self, epoch: int, lie: str = "") -> Report:
        """The true report of an epoch, or a false one."""
        tree = self.true_tree(epoch)
        if lie:
            tree = self.false_tree(tree, lie)
        root = sha256(b"garbage") if lie == "garbage" else tree.root
        if lie != "garbage":
            self.trees[root] = tree
        version = self.rules.evaluations.schedule(max(epoch, FIRST))
        return Report(
            network=NETWORK,
            epoch=epoch,
            commitment=self.rules.commitments.epoch_digest(epoch),
            function_digest=version[1],
            parameters_digest=version[2],
            inputs_root=sha256(b"inputs"),
            block_hash=sha256(b"block"),
            verdict_root=sha256(b"verdicts"),
            reward_root=root,
            total=tree.total + (lie == "total"),
            previous=self.rules.evaluations.last_report(),
        )

    def signers(self, epoch: int, *, liars: bool) -> list[PrivateKey]:
        """The members of the epoch who would sign the truth, or else a lie."""
        members = self.rules.registry.committee(epoch)
        names = {account(name) for name in self.liars}
        return [MEMBER_KEYS[one] for one in members if (one in names) == liars]

    def submit(self, report: Report, signers: list[PrivateKey], flaw: str = "good") -> Answer | str:
        domain = self.rules.domain("evaluations")
        digest = report.digest(domain)
        needed = quorum(max(1, len(self.rules.registry.committee(report.epoch))))
        if flaw == "quorum":
            signers = signers[: needed - 1]
        words = [signature_words(one.sign(digest)) for one in signers[:needed]]
        if flaw == "signer":
            words = sorted([*words, signature_words(KEYS["watcher"].sign(digest))])
        if flaw == "order":
            words = words[::-1]
        if flaw == "signature":
            words = [(0, vs) for _, vs in words]
        transmitter = KEYS["watcher"] if flaw == "transmitter" or not signers else signers[0]
        says = Transmission(NETWORK, report.epoch, digest)
        transmission = self.sign(transmitter, "evaluations", says)
        return self.call("evaluations", "submit", report.values, transmission, words)

    @precondition(lambda self: self.rules.registry.state.epochs)
    @rule(ahead=near, lie=mostly("", *LIES))
    def report(self, ahead: int, lie: str) -> None:
        """The truth, or a lie; each signed by those who would sign it, which may be too few."""
        epoch = self.next_unreported() + ahead
        self.submit(self.draft(epoch, lie), self.signers(epoch, liars=bool(lie)))

    @rule(flaw=st.sampled_from(REPORT_FLAWS), ahead=near)
    def report_badly(self, flaw: str, ahead: int) -> None:
        """Something that no quorum signs, or that is not about this epoch at all."""
        epoch = self.next_unreported() + max(ahead, 0) * (flaw == "network")
        report = self.draft(epoch)
        changes: dict[str, Any] = {
            "network": {"network": sha256(b"other")},
            "commitment": {"commitment": sha256(b"other")},
            "function": {"function_digest": sha256(b"other")},
            "parameters": {"parameters_digest": sha256(b"other")},
            "previous": {"previous": sha256(b"other")},
        }
        members = [MEMBER_KEYS[one] for one in self.rules.registry.committee(epoch)]
        answer = self.submit(replace(report, **changes.get(flaw, {})), members, flaw)
        assert isinstance(answer, str) or flaw in {"signer", "order"}

    def next_unreported(self) -> int:
        """The first epoch without a report."""
        epoch = FIRST
        while epoch in self.rules.evaluations.state.hashes:
            epoch += 1
        return epoch

    # ---- the ordinary way

    @rule(way=st.integers(0, 1))
    def next_step(self, way: int) -> None:
        self.go_on(way)

    @rule(way=st.integers(0, 1))
    def next_step_again(self, way: int) -> None:
        """The same: so that long examples come far."""
        self.go_on(way)

    def go_on(self, way: int) -> None:
        """What a healthy network would do next for its first unreported epoch."""
        epoch = self.next_unreported()
        if self.rules.registry.epoch_set(epoch) == 0:
            self.call("registry", "open_epochs", epoch)
        elif self.rules.now_s < self.rules.registry.epoch_end(epoch):
            self.pair.wait(self.rules.registry.epoch_end(epoch) - self.rules.now_s)
        elif not self.rules.commitments.standing(epoch):
            self.commit_for(epoch, AGGREGATORS[way])
        else:
            captured = len(self.signers(epoch, liars=True)) > len(self.signers(epoch, liars=False))
            report = self.draft(epoch, "move" if captured else "")
            self.submit(report, self.signers(epoch, liars=captured))

    def commit_for(self, epoch: int, who: str) -> None:
        """Bring an epoch nearer to having a commitment."""
        known = self.rules.commitments.state.aggregators[account(who)]
        if known.turn is None:
            self.call("commitments", "join", by=who, value=AGGREGATOR_STAKE)
        elif known.exit_at or known.turn > epoch:
            self.call("commitments", "withdraw", by=who)
        else:
            self.commit_next(who)

    @rule(seconds=st.sampled_from([1, 300, EPOCH_S, CHALLENGE_S, 3600]))
    def wait(self, seconds: int) -> None:
        self.pair.wait(seconds)

    # ---- schedule

    @rule(by=st.one_of(st.just("owner"), anybody), ahead=st.integers(-2, 30))
    def schedule(self, by: str, ahead: int) -> None:
        first = self.rules.registry.next_epoch() + ahead
        self.call(
            "evaluations",
            "set_schedule",
            first,
            sha256(b"function", bytes((ahead % 3,))),
            sha256(b"parameters"),
            by=by,
        )
