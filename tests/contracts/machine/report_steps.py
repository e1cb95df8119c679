"""Epochs are committed and reported, rightly and wrongly."""

from dataclasses import replace
from typing import Any

from contract_world import FIRST, NETWORK, ClaimTree, Report, account
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from machine.actors import (
    AGGREGATORS,
    KEYS,
    MEMBER_KEYS,
    NAME_OF,
    NODES,
    PAYEES,
    anybody,
    mostly,
    near,
    node,
)
from machine.scene import AGGREGATOR_STAKE, Scene, Sent
from machine.small_epochs import (
    FALSE,
    PROMISED,
    PROMISED_KEY,
    UNSEEN,
    Made,
    payee_of,
    promised_row,
    small_epoch,
)
from model.rule_state import Answer
from published_epochs import batch, matrix

from meridian.contracts.calldata import signature_words
from meridian.contracts.statements import SelfCommit, Transmission
from meridian.disputes.promises import Promise
from meridian.disputes.ways import claim_row_tree
from meridian.primitives.hashing import REWARD_ROOT, sha256, tagged
from meridian.primitives.ids import Address, node_key
from meridian.primitives.keys import PrivateKey
from meridian.primitives.quorum import quorum

LIES = ("move", "inflate", "total", "lower", "garbage", "disorder", "payee")
PPM = 10**6
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
        variant=mostly("plain", "more", *FALSE, *UNSEEN),
    )
    def commit(self, who: str, flaw: str, variant: str) -> None:
        """Who lies commits to anything, others to what is right."""
        self.commit_next(who, flaw, variant if who in self.liars else "plain")

    def commit_next(self, who: str, flaw: str = "good", variant: str = "plain") -> Answer | str:
        by = account(who)
        turn = (self.rules.commitments.state.aggregators[by].turn or FIRST) + (flaw == "order")
        made = small_epoch(turn, by, variant)
        content = list(made.content)
        content[1] *= flaw != "empty"
        sender = "someone" if flaw == "stranger" else who
        answer = self.call("commitments", "commit", turn, *content, by=sender)
        self.note_commitment(answer, turn, by, made)
        return answer

    def note_commitment(self, answer: Answer | str, epoch: int, by: Address, made: Made) -> None:
        if not isinstance(answer, str):
            self.made[epoch, by] = made
            self.note_what_is_broken(by)

    @rule(who=st.sampled_from(AGGREGATORS), ahead=st.integers(-1, 1), late=st.integers(0, 1))
    def promise(self, who: str, ahead: int, late: int) -> None:
        """An aggregator gives a receipt for a job that ended in an epoch near its next one."""
        by = account(who)
        epoch = (self.rules.commitments.state.aggregators[by].turn or FIRST) + ahead
        if epoch >= FIRST and not (
            self.is_broken(epoch, by, epoch + late) and who not in self.liars
        ):
            self.promises.add((epoch, by, epoch + late))
            self.note_what_is_broken(by)

    def promised(self, epoch: int, by: Address, deadline: int) -> Promise:
        """The receipt, with the job's way to it."""
        jobs = {PROMISED: [promised_row(epoch)], NODES[0]: [promised_row(epoch + 1)]}
        domain = self.rules.domain("commitments")
        given = batch(jobs, KEYS[NAME_OF[by]], domain, NETWORK, deadline, epoch)
        return Promise(given.receipt, PROMISED_KEY, given.proofs[PROMISED, promised_row(epoch)])

    def is_broken(self, epoch: int, by: Address, deadline: int) -> bool:
        """Whether all epochs up to the deadline are committed, and none has the promised row."""
        due = [self.made.get((at, by)) for at in range(epoch, deadline + 1)]
        row = promised_row(epoch)
        return all(due) and not any(
            row in [one.tobytes() for table in made.shown.job_rows for one in table]
            for made in due
            if made
        )

    def note_what_is_broken(self, by: Address) -> None:
        """Whoever committed to a falsehood, counted a job twice or broke a promise is not a correct party."""
        mine = {at: made for (at, one), made in self.made.items() if one == by}
        lied = any(made.variant in FALSE for made in mine.values())
        twice = any(mine[at].variant == "twice" and at - 1 in mine for at in mine)
        broken = any(self.is_broken(*one) for one in self.promises if one[1] == by)
        if lied or twice or broken:
            self.false.add(by)

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

    def standing(self, epoch: int) -> list[Made]:
        """The commitments of an epoch that are not void."""
        made = self.rules.commitments.state.made
        return [
            one
            for (at, by), one in self.made.items()
            if at == epoch and made[at, by].fate == "stands"
        ]

    def true_tree(self, epoch: int) -> ClaimTree:
        """What correct members compute: the budget, shared by what the commitments say."""
        budget, weights, whole = self.rules.rewards.budget(epoch), [], 0
        standing = self.standing(epoch)
        rule_, evaluators, aggregators, *_ = self.rules.evaluations.terms(max(epoch, FIRST))
        alone = not self.rules.commitments.self_commitments(epoch)
        if len(standing) == 1 and alone and rule_:
            budget -= budget * evaluators // PPM + budget * aggregators // PPM
            shown = standing[0].shown
            rows = {row[8:40].tobytes(): row[92:].tobytes() for row in shown.node_rows}
            weights = [weight_in(rows.get(node_key(name), bytes(24)), rule_) for name in NODES]
            whole = weight_in(shown.commitment.annotation, rule_)
        else:  # a function of which no contract knows anything
            weights = list(
                sha256(b"weights", self.rules.commitments.epoch_digest(epoch))[: len(NODES)]
            )
            whole = sum(weights)
        before = self.last_tree().amounts
        return ClaimTree(
            {
                name: (payee_of(name), before[name][1] + budget * weight // max(1, whole))
                for name, weight in zip(NODES, weights, strict=True)
            }
        )

    def false_tree(self, tree: ClaimTree, lie: str) -> ClaimTree:
        """What liars would rather have: always something for the last node."""
        amounts = dict(tree.amounts)
        first, last = NODES[0], NODES[-1]
        taken = amounts[first][1] if lie in {"move", "lower"} else 0
        gained = {"move": taken, "inflate": 50, "payee": 1}.get(lie, 0)
        amounts[first] = (amounts[first][0], amounts[first][1] - taken)
        payee = account(PAYEES[0]) if lie == "payee" else amounts[last][0]
        amounts[last] = (payee, amounts[last][1] + gained)
        return ClaimTree(amounts)

    # ---- reports

    def draft(self, epoch: int, lie: str = "") -> Report:
        """The true report of an epoch, or a false one."""
        tree = self.true_tree(epoch)
        if lie:
            tree = self.false_tree(tree, lie)
        rows = claim_rows(tree)
        if lie == "disorder":
            rows[0], rows[1] = rows[1], rows[0]
        root = sha256(b"garbage") if lie == "garbage" else claim_root(rows)
        if lie != "garbage":
            self.trees[root], self.rows[root] = tree, tuple(rows)
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
        signatures = {one.address: one.sign(digest) for one in signers[:needed]}
        words = [signature_words(one) for one in signatures.values()]
        if flaw == "signer":
            words = sorted([*words, signature_words(KEYS["watcher"].sign(digest))])
        if flaw == "order":
            words = words[::-1]
        if flaw == "signature":
            words = [(0, vs) for _, vs in words]
        transmitter = KEYS["watcher"] if flaw == "transmitter" or not signers else signers[0]
        says = Transmission(NETWORK, report.epoch, digest)
        transmission = self.sign(transmitter, "evaluations", says)
        self.sent[digest] = Sent(
            self.is_true(report),
            tuple(signatures),
            report,
            self.rows.get(report.reward_root),
            signatures,
        )
        if not self.sent[digest].true:
            self.false |= signatures.keys()
        return self.call("evaluations", "submit", report.values, transmission, words)

    def is_true(self, report: Report) -> bool:
        """Whether correct members sign a report: nothing that they have read is false, nothing is given wrongly."""
        truth = self.true_tree(report.epoch)
        read = all(one.is_readable for one in self.standing(report.epoch))
        return read and (report.reward_root, report.total) == (truth.root, truth.total)

    @precondition(lambda self: self.rules.registry.state.epochs)
    @rule(ahead=near, lie=mostly("", *LIES))
    def report(self, ahead: int, lie: str) -> None:
        """The truth, or a lie; each signed by those who would sign it, which may be too few."""
        epoch = self.next_unreported() + ahead
        report = self.draft(epoch, lie)
        self.submit(report, self.signers(epoch, liars=not self.is_true(report)))

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


def claim_rows(tree: ClaimTree) -> list[bytes]:
    """The leaves of a claim tree as proofs show them."""
    rows = sorted((node_key(name), *claim) for name, claim in tree.amounts.items())
    return [key + payee + amount.to_bytes(16) for key, payee, amount in rows]


def claim_root(rows: list[bytes]) -> bytes:
    """The reward root over rows in this order."""
    top = claim_row_tree(matrix(rows, 68)).tree.root
    return tagged(REWARD_ROOT, len(rows).to_bytes(8), top)


def weight_in(annotation: bytes, rule_: int) -> int:
    """What a rule reads from an annotation."""
    fields = {1: slice(8), 2: slice(8, 16), 3: slice(16, 24), 4: slice(8, 24)}
    return int.from_bytes(annotation[fields[rule_]])
