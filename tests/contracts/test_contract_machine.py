"""Any order of calls: the contracts agree with a small model, and no money is lost or made."""

from dataclasses import replace

from contract_world import (
    CHALLENGE_S,
    EPOCH_S,
    EVALUATOR_STAKE,
    FIRST,
    GENESIS_S,
    NODE_STAKE,
    ClaimTree,
    World,
    account,
    key,
    refuses,
)
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from meridian.primitives.ids import node_key
from meridian.primitives.quorum import quorum

NODES = [f"node {i}" for i in range(6)]
MEMBERS = sorted((key(f"member {i}") for i in range(6)), key=lambda member: member.address)
OPERATOR = key("operator")
LAST = FIRST + 12


class Contracts(RuleBasedStateMachine):
    """What the model knows: budgets, members, accepted trees, payments, stakes."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.active = set(MEMBERS[:4])
        for member in MEMBERS[:4]:
            self.world.join(member)
        self.leaving: set = set()
        self.staked_nodes: set[str] = set()
        self.budgets = dict.fromkeys(range(FIRST, LAST + 40), 0)
        self.opened = FIRST  # next epoch to open
        self.settled = FIRST
        self.committees: dict[int, list] = {}
        self.committed = FIRST
        self.accepted: list[tuple[int, ClaimTree, int]] = []
        self.claimed = dict.fromkeys(NODES, 0)
        self.funded = 0
        self.fund(FIRST, 20, 300)
        self.next_epoch()
        self.next_epoch()
        self.report(FIRST, [10, 20, 30, 40, 50, 0], honest=True, lacking=False)
        self.world.now_s += CHALLENGE_S

    # ---- sponsors

    @rule(first=st.integers(FIRST, LAST), n=st.integers(1, 20), each=st.integers(1, 500))
    def fund(self, first, n, each):
        if first < self.settled:
            assert refuses(self.world.fund, first, n, each) == "rewards: settled"
            return
        if first < FIRST + (self.world.now_s - GENESIS_S) // EPOCH_S:
            assert refuses(self.world.fund, first, n, each) == "rewards: over"
            return
        self.world.fund(first, n, each)
        self.funded += n * each
        for epoch in range(first, first + n):
            self.budgets[epoch] += each

    @rule(through=st.integers(FIRST, LAST))
    def settle(self, through):
        if through >= self.opened:
            assert refuses(self.world.rewards.send, "settle", through) == "rewards: not open"
            return
        value = self.world.rewards.send("settle", through).value
        assert value == self.budgets[through]
        self.settled = max(self.settled, through + 1)

    # ---- members and nodes

    @rule(member=st.sampled_from(MEMBERS), action=st.sampled_from(["join", "leave", "withdraw"]))
    def change_members(self, member, action):
        getattr(self, action)(member)

    def join(self, member):
        if member in self.active | self.leaving:
            assert refuses(self.world.join, member) == "registry: evaluator exists"
            return
        self.world.join(member)
        self.active.add(member)

    def leave(self, member):
        send = self.world.registry.send
        if member in self.active:
            send("leave_evaluator", sender=member.address)
            self.active.remove(member)
            self.leaving.add(member)
        else:
            reason = refuses(send, "leave_evaluator", sender=member.address)
            assert reason == "registry: no evaluator"

    def withdraw(self, member):
        _, _, exit_at = self.world.registry.read("evaluator", member.address)
        before = self.world.balance(member.address)
        send = self.world.registry.send
        if member in self.leaving and self.world.now_s >= exit_at:
            send("withdraw_evaluator", sender=member.address)
            assert self.world.balance(member.address) == before + EVALUATOR_STAKE
            self.leaving.remove(member)
        else:
            reason = refuses(send, "withdraw_evaluator", sender=member.address)
            assert reason == "registry: locked"

    @rule(node=st.sampled_from(NODES))
    def register_node(self, node):
        entry = self.world.node_registration(OPERATOR, node, account(node)).arguments
        send = self.world.registry.send
        if node in self.staked_nodes:
            reason = refuses(send, "register_nodes", [entry], value=NODE_STAKE)
            assert reason == "registry: node exists"
        else:
            send("register_nodes", [entry], value=NODE_STAKE)
            self.staked_nodes.add(node)

    # ---- the epoch

    @rule(epochs=st.integers(0, 2))
    def open(self, epochs):
        through = min(self.opened + epochs, LAST)
        if through < self.opened:
            return
        if not self.active:
            assert refuses(self.world.open, through) == "registry: no evaluators"
            return
        self.world.open(through)
        members = sorted(self.active, key=lambda member: member.address)
        for epoch in range(self.opened, through + 1):
            self.committees[epoch] = members
        self.opened = through + 1

    @rule()
    def commit(self):
        if self.committed <= LAST:
            self.world.commit(self.committed)
            self.committed += 1

    @precondition(lambda self: self.active and self.committed <= LAST)
    @rule()
    def next_epoch(self):
        """The ordinary way, so that reports and claims are often possible."""
        self.open(0)
        while self.committed < self.opened:
            self.commit()

    @precondition(lambda self: self.committees)
    @rule(
        data=st.data(),
        spread=st.lists(st.integers(0, 400), min_size=len(NODES), max_size=len(NODES)),
        honest=st.sampled_from([True, True, True, False]),
        lacking=st.sampled_from([False, False, False, True]),
    )
    def report_something(self, data, spread, honest, lacking):
        epoch = data.draw(st.sampled_from(sorted(self.committees)))
        self.report(epoch, spread, honest=honest, lacking=lacking)

    @precondition(lambda self: self.unreported())
    @rule(
        data=st.data(),
        spread=st.lists(st.integers(0, 400), min_size=len(NODES), max_size=len(NODES)),
        seconds=st.sampled_from([0, CHALLENGE_S]),
    )
    def report_well(self, data, spread, seconds):
        """The ordinary way; late epochs and any order among them included."""
        epoch = data.draw(st.sampled_from(self.unreported()))
        self.report(epoch, spread, honest=True, lacking=False)
        self.world.now_s += seconds

    def unreported(self):
        done = {epoch for epoch, _, _ in self.accepted}
        return [epoch for epoch in self.committees if epoch < self.committed and epoch not in done]

    def report(self, epoch, spread, *, honest, lacking):
        previous = self.accepted[-1][1] if self.accepted else None
        before = {node: previous.amounts[node][1] if previous else 0 for node in NODES}
        if honest:
            left = self.budgets[epoch]
            for place, wish in enumerate(spread):
                spread[place] = min(wish, left)
                left -= spread[place]
        pairs = zip(NODES, spread, strict=True)
        tree = ClaimTree({node: (account(node), before[node] + more) for node, more in pairs})
        committee = self.committees[epoch]
        signers = committee[: quorum(len(committee)) - lacking]
        report = self.world.report(epoch, tree.root, tree.total)
        expected = self.expected_refusal(epoch, report, tree, previous, lacking=lacking)
        submit = self.world.submit
        if expected:
            reason = refuses(submit, report, signers, transmitter=committee[0])
            assert reason == expected
            return
        submit(report, signers, transmitter=committee[0])
        self.accepted.append((epoch, tree, self.world.now_s + CHALLENGE_S))
        self.settled = max(self.settled, epoch + 1)

    def expected_refusal(self, epoch, report, tree, previous, *, lacking):
        if any(epoch == done for done, _, _ in self.accepted):
            return "evaluations: reported"
        if epoch >= self.committed:
            assert report.commitment == bytes(32)
            return "evaluations: uncommitted"
        if lacking:
            return "evaluations: quorum"
        if tree.total - (previous.total if previous else 0) > self.budgets[epoch]:
            return "rewards: budget"
        return None

    # ---- payees

    @precondition(lambda self: self.accepted)
    @rule(data=st.data(), node=st.sampled_from(NODES), honest=st.sampled_from([True, True, False]))
    def claim(self, data, node, honest):
        epoch, tree, unlock_at = data.draw(st.sampled_from(self.accepted))
        claim = tree.claim(epoch, node)
        amount = tree.amounts[node][1]
        if not honest:
            greedy = replace(claim, cumulative_atto=amount + 1)
            assert refuses(self.world.claim, greedy) in {"rewards: sums", "rewards: locked"}
            return
        if self.world.now_s < unlock_at:
            assert refuses(self.world.claim, claim) == "rewards: locked"
        elif amount <= self.claimed[node]:
            assert refuses(self.world.claim, claim) == "rewards: nothing"
        else:
            (event,) = self.world.claim(claim).events
            assert event.args["amount"] == amount - self.claimed[node]
            self.claimed[node] = amount

    @precondition(lambda self: self.accepted)
    @rule(data=st.data(), names=st.lists(st.sampled_from(NODES), max_size=6))
    def claim_many(self, data, names):
        epoch, tree, unlock_at = data.draw(st.sampled_from(self.accepted))
        claims = [tree.claim(epoch, name).arguments for name in names]
        if names and self.world.now_s < unlock_at:
            reason = refuses(self.world.rewards.send, "claim_many", claims)
            assert reason == "rewards: locked"
            return
        done = self.world.rewards.send("claim_many", claims).value
        paid = {name for name in names if tree.amounts[name][1] > self.claimed[name]}
        assert done == len(paid)
        for name in paid:
            self.claimed[name] = tree.amounts[name][1]

    @rule(seconds=st.sampled_from([1, 300, 900, 3600]))
    def wait(self, seconds):
        self.world.now_s += seconds

    # ---- what always holds

    @invariant()
    def money_is_where_the_model_says(self):
        read, balance = self.world.rewards.read, self.world.balance
        paid = sum(self.claimed.values())
        assert read("total_funded") == self.funded
        assert read("total_claimed") == paid
        assert balance(self.world.rewards.address) == self.funded - paid
        reported = sum(self.budgets[epoch] for epoch, _, _ in self.accepted)
        assert paid <= read("last_total") <= reported <= self.funded
        for node, amount in self.claimed.items():
            assert balance(account(node)) == read("claimed", node_key(node)) == amount
        stakes = EVALUATOR_STAKE * len(self.active | self.leaving)
        stakes += NODE_STAKE * len(self.staked_nodes)
        assert balance(self.world.registry.address) == stakes
        assert balance(self.world.evaluations.address) == 0

    @invariant()
    def budgets_and_members_are_what_they_were_when_fixed(self):
        read = self.world.rewards.read
        assert read("next_to_settle") == self.settled
        for epoch in (FIRST, self.settled, LAST):
            assert read("budget", epoch) == self.budgets[epoch]
        if self.committees:
            epoch = max(self.committees)
            expected = tuple("0x" + member.address.hex() for member in self.committees[epoch])
            assert self.world.registry.read("committee", epoch) == expected


TestContracts = Contracts.TestCase
TestContracts.settings = settings(
    max_examples=30,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
