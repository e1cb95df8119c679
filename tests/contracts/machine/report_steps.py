"""Epochs are committed and reported, rightly and wrongly."""

from dataclasses import replace
from typing import Any

from contract_world import EPOCH_S, FIRST, NETWORK, ClaimTree, Report, account
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from machine.scene import (
    AGGREGATOR_STAKE,
    AGGREGATORS,
    CHALLENGE_S,
    KEYS,
    MEMBER_KEYS,
    MEMBERS,
    NAME_OF,
    NODES,
    PAYEES,
    Scene,
    Sent,
    anybody,
    mostly,
    near,
    node,
)
from model.rule_state import Answer

from meridian.contracts.calldata import signature_words
from meridian.contracts.statements import SelfCommit, Transmission
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import node_key
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

    @rule(name=node, late=st.integers(0, 1), flaw=mostly("good", "signer", "deadline"))
    def self_commit(self, name: str, late: int, flaw: str) -> None:
        """A node commits itself, for the last epoch that is over or the one before."""
        epoch = self.rules.running_epoch() - 1 - late
        known = self.rules.registry.state.nodes.get(node_key(name))
        by = NAME_OF.get(known.operator if known else b"", "watcher")
        deadline = self.rules.now_s - (flaw == "deadline")
        says = SelfCommit(
            NETWORK, epoch, node_key(name), sha256(b"jobs"), b"\x01" * 24, sha256(b"s"), deadline
        )
        signer = KEYS["watcher"] if flaw == "signer" else KEYS[by]
        words = self.sign(signer, "commitments", says)
        self.call("commitments", "self_commit", *says.arguments, *words)

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
        truth = self.true_tree(report.epoch)
        true = (report.reward_root, report.total) == (truth.root, truth.total)
        self.sent[digest] = Sent(true, tuple(one.address for one in signers[:needed]))
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
        state = self.rules.evaluations.state
        while epoch in state.hashes or epoch in state.abandoned:
            epoch += 1
        return epoch

    # ---- the ordinary way

    @rule(n=st.integers(1, 6), way=st.integers(0, 1))
    def next_steps(self, n: int, way: int) -> None:
        """Several steps of the ordinary way, so that examples come far."""
        for _ in range(n):
            self.go_on(way)

    def begin(self) -> None:
        super().begin()
        while not self.rules.evaluations.state.chain:
            self.go_on(0)
        self.pair.wait(CHALLENGE_S)

    def go_on(self, way: int) -> None:
        """What a healthy network would do next for its first unreported epoch."""
        epoch = self.next_unreported()
        absent = self.absent()
        if len(self.rules.registry.active_evaluators()) < 3 and absent:
            self.register_evaluator(absent[0])
        elif self.rules.registry.epoch_set(epoch) == 0:
            self.call("registry", "open_epochs", epoch)
        elif self.rules.registry.standing(epoch) < self.rules.evaluations.quorum(epoch):
            self.call("evaluations", "renew", epoch)
        elif self.rules.now_s < self.rules.registry.epoch_end(epoch):
            self.pair.wait(self.rules.registry.epoch_end(epoch) - self.rules.now_s)
        elif not self.rules.commitments.standing(epoch):
            self.commit_for(epoch, AGGREGATORS[way])
        elif self.rules.now_s < self.rules.evaluations.ready_at(epoch):
            self.pair.wait(self.rules.evaluations.ready_at(epoch) - self.rules.now_s)
        else:
            captured = len(self.signers(epoch, liars=True)) > len(self.signers(epoch, liars=False))
            report = self.draft(epoch, ("move", "total")[way] if captured else "")
            self.submit(report, self.signers(epoch, liars=captured))

    def absent(self) -> list[str]:
        """Those who could be evaluators and are not."""
        known = self.rules.registry.state.evaluators
        return [name for name in MEMBERS if account(name) not in known]

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

    @rule(
        by=mostly("owner", "someone"),
        ahead=st.integers(-2, 30),
        rule_=st.integers(0, 5),
        shares=st.sampled_from([0, 1000, 500_001]),
        size=st.sampled_from([0, 2, 3, 4, 129]),
        least=st.sampled_from([0, 1001, 5000]),
    )
    def schedule(self, by: str, ahead: int, rule_: int, shares: int, size: int, least: int) -> None:
        """Another function, or another rule by which members are chosen."""
        first = self.rules.registry.next_epoch() + ahead
        self.call(
            "evaluations",
            "set_schedule",
            first,
            sha256(b"function", bytes((ahead % 3,))),
            sha256(b"parameters"),
            (rule_, shares, shares, size, least),
            by=by,
        )
