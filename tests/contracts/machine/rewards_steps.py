"""Sponsors fund, payees claim, and some payees do more than take the money."""

from dataclasses import replace
from typing import Any

from contract_world import NETWORK, account
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from machine.actors import KEYS, NAME_OF, NODES, PAYEES, SPONSORS, anybody, mostly, near
from machine.scene import Scene
from model.rewards_rules import EPOCHS_AHEAD_MAX
from model.rule_state import Reenters, Refuses

from meridian.contracts.calldata import Claim
from meridian.contracts.statements import Delegate, RelayedClaim
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import Address

CLAIM_FLAWS = ("payee", "amount", "index", "size", "path", "node", "huge", "hash", "epoch")


class RewardsSteps(Scene):
    """The calls of Rewards."""

    # ---- sponsors

    @rule(
        ahead=near,
        n=st.integers(1, 20),
        each=st.integers(1, 500),
        by=st.sampled_from(SPONSORS),
        flaw=mostly("good", "value", "n", "each", "far", "late", "overflow"),
    )
    def fund(self, ahead: int, n: int, each: int, by: str, flaw: str) -> None:
        first = self.rules.rewards.next_to_settle() + ahead
        n, each = n * (flaw != "n"), each * (flaw != "each")
        first += {"far": EPOCHS_AHEAD_MAX, "late": -2}.get(flaw, 0)
        if flaw == "overflow":
            n, each = 1, 1 << 96
        value = n * each + (flaw == "value")
        if self.rules.balance(account(by)) < value:
            value = 0
        self.call("rewards", "fund", first, n, each, by=by, value=value)

    @rule(ahead=near)
    def settle(self, ahead: int) -> None:
        self.call("rewards", "settle", self.rules.rewards.next_to_settle() + ahead)

    @rule(by=anybody, name=st.sampled_from(["registry", "commitments", "evaluations", "rewards"]))
    def meddle(self, by: str, name: str) -> None:
        """Nobody but Evaluations can add a reward root; coins forced upon a contract help nobody."""
        epoch = self.rules.rewards.next_to_settle()
        answer = self.call("rewards", "accept", epoch, sha256(b"root"), 1, 0, 0, 0, by=by)
        self.refused(answer, "rewards: sender")
        self.pair.give(self.rules.address(name), 7)
        self.money += 7

    # ---- payees

    def claim_of(self, data: st.DataObject) -> Claim | None:
        """A true claim under a report whose tree is known."""
        records = self.rules.rewards.state.records
        epochs = [epoch for epoch in records if records[epoch].reward_root in self.trees]
        if not epochs:
            return None
        epoch = data.draw(st.sampled_from(epochs))
        tree = self.trees[records[epoch].reward_root]
        return tree.claim(epoch, data.draw(st.sampled_from(NODES)))

    def flawed(self, claim: Claim, flaw: str) -> Claim:
        """A claim with one thing wrong."""
        path = claim.path
        changes: dict[str, Any] = {
            "payee": {"payee": account("watcher")},
            "amount": {"cumulative_atto": claim.cumulative_atto + 1},
            "index": {"index": claim.index ^ 1},
            "size": {"size": claim.size + 8},
            "path": {"path": path[:-1]},
            "node": {"node_key": sha256(b"other")},
            "huge": {"cumulative_atto": 1 << 122},
            "hash": {"path": (bytes(32) + path[0][32:], *path[1:])},
            "epoch": {"epoch": claim.epoch + 1},
        }
        return replace(claim, **changes.get(flaw, {}))

    @precondition(lambda self: self.rules.rewards.state.records)
    @rule(data=st.data(), flaw=mostly("good", *CLAIM_FLAWS))
    def claim(self, data: st.DataObject, flaw: str) -> None:
        claim = self.claim_of(data)
        if claim is None:
            return
        key, before = claim.node_key, self.rules.rewards.claimed(claim.node_key)
        answer = self.call("rewards", "claim", *self.flawed(claim, flaw).arguments)
        if isinstance(answer, str):
            return
        assert flaw in {"good", "epoch"}, flaw
        now = self.rules.rewards.claimed(key)
        assert now >= claim.cumulative_atto > before

    @precondition(lambda self: self.rules.rewards.state.records)
    @rule(data=st.data(), n=st.integers(0, 3), flaw=mostly("good", *CLAIM_FLAWS))
    def claim_many(self, data: st.DataObject, n: int, flaw: str) -> None:
        claims = [self.claim_of(data) for _ in range(n)]
        found = [claim for claim in claims if claim is not None]
        if found:
            found[-1] = self.flawed(found[-1], flaw)
        self.call("rewards", "claim_many", [claim.arguments for claim in found])

    def due(self, epoch: int) -> list[Claim]:
        """True claims under a report that would pay something."""
        tree = self.trees.get(self.rules.rewards.state.records[epoch].reward_root)
        claims = [tree.claim(epoch, name) for name in NODES] if tree else []
        paid = self.rules.rewards.claimed
        return [one for one in claims if one.cumulative_atto > paid(one.node_key)]

    @precondition(lambda self: self.rules.rewards.state.records)
    @rule(data=st.data(), way=st.sampled_from(["claim", "claim_many", "claim_to"]))
    def claim_twice(self, data: st.DataObject, way: str) -> None:
        """A payee that claims the same again while it is paid, by whichever call."""
        epochs = [epoch for epoch in self.rules.rewards.state.records if self.due(epoch)]
        if not epochs:
            return
        claim = data.draw(st.sampled_from(self.due(data.draw(st.sampled_from(epochs)))))
        self.pair.behave(claim.payee, Reenters("rewards", "claim", claim.arguments))
        if way == "claim_many":
            self.call("rewards", way, [claim.arguments] * 2)
        elif way == "claim_to":
            by = NAME_OF[claim.payee]
            self.call("rewards", way, claim.arguments, claim.payee, by=by)
        else:
            self.call("rewards", way, *claim.arguments)
        self.pair.behave(claim.payee, None)

    @precondition(lambda self: self.rules.rewards.state.records)
    @rule(back=st.integers(0, 1), late=st.booleans())
    def claim_all(self, back: int, late: bool) -> None:
        """Everybody claims under one of the last reports: what a lie moved is asked for, too."""
        chain = self.rules.evaluations.state.chain
        epoch = chain[max(0, len(chain) - 1 - back)]
        record = self.rules.rewards.state.records[epoch]
        if late:
            self.pair.wait(max(0, record.unlock_at - self.rules.now_s))
        tree = self.trees.get(record.reward_root)
        if tree is not None:
            claims = [tree.claim(epoch, name).arguments for name in NODES]
            self.call("rewards", "claim_many", claims)

    @precondition(lambda self: self.rules.rewards.state.records)
    @rule(
        data=st.data(),
        fee=st.integers(0, 60),
        by=anybody,
        flaw=mostly("good", "deadline", "nonce", "signer", "amount", "path"),
    )
    def claim_relayed(self, data: st.DataObject, fee: int, by: str, flaw: str) -> None:
        """Somebody sends a payee's claim for a fee that the payee signed for."""
        claim = self.claim_of(data)
        if claim is None:
            return
        nonce = self.rules.rewards.nonces(claim.payee) + (flaw == "nonce")
        deadline = self.rules.now_s - (flaw == "deadline")
        says = RelayedClaim(NETWORK, claim.node_key, claim.payee, fee, nonce, deadline)
        payee = "watcher" if flaw == "signer" else NAME_OF[claim.payee]
        words = self.sign(KEYS[payee], "rewards", says)
        arguments = self.flawed(claim, flaw).arguments
        self.call("rewards", "claim_relayed", arguments, fee, deadline, *words, by=by)

    @rule(
        who=st.sampled_from(PAYEES),
        delegate=anybody,
        flaw=mostly("good", "own", "deadline", "nonce", "signer"),
    )
    def set_delegate(self, who: str, delegate: str, flaw: str) -> None:
        if flaw == "own":
            self.call("rewards", "set_delegate", account(delegate), by=who)
            return
        payee = account(who)
        nonce = self.rules.rewards.nonces(payee) + (flaw == "nonce")
        deadline = self.rules.now_s - (flaw == "deadline")
        says = Delegate(NETWORK, payee, account(delegate), nonce, deadline)
        words = self.sign(KEYS["watcher" if flaw == "signer" else who], "rewards", says)
        args = (payee, account(delegate), deadline, *words)
        self.call("rewards", "set_delegate_signed", *args)

    @precondition(lambda self: self.rules.rewards.state.records)
    @rule(data=st.data(), to=anybody, way=mostly("delegate", "payee", "stranger", "nobody"))
    def claim_to(self, data: st.DataObject, to: str, way: str) -> None:
        claim = self.claim_of(data)
        if claim is None:
            return
        delegate = NAME_OF.get(self.rules.rewards.delegates(claim.payee), "someone")
        by = {"delegate": delegate, "stranger": "watcher"}.get(way, NAME_OF[claim.payee])
        recipient = Address(bytes(20)) if way == "nobody" else account(to)
        self.call("rewards", "claim_to", claim.arguments, recipient, by=by)

    @rule(
        data=st.data(),
        who=st.one_of(st.sampled_from(PAYEES), anybody),
        kind=st.sampled_from(["plain", "plain", "refuses", "greedy", "again", "withdraws"]),
    )
    def behave(self, data: st.DataObject, who: str, kind: str) -> None:
        """An account becomes a contract: it refuses, burns gas, or calls back when it is paid."""
        behaviour: Any = None
        if kind in {"refuses", "greedy"}:
            behaviour = Refuses(greedy=kind == "greedy")
        elif kind == "withdraws":
            behaviour = Reenters("registry", "withdraw_evaluator", ())
        elif kind == "again":
            claim = self.claim_of(data)
            if claim is not None:
                behaviour = Reenters("rewards", "claim", claim.arguments)
        self.pair.behave(account(who), behaviour)
