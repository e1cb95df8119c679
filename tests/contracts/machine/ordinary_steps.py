"""What a healthy network does next, time, and the schedule."""

from contract_world import EPOCH_S, account
from hypothesis import strategies as st
from hypothesis.stateful import rule
from machine.accusing import Accusing
from machine.actors import AGGREGATORS, MEMBERS, mostly
from machine.report_steps import LIES
from machine.scene import AGGREGATOR_STAKE, CHALLENGE_S
from machine.small_epochs import FALSE, UNSEEN

from meridian.primitives.hashing import sha256


class OrdinarySteps(Accusing):
    """Steps of correct parties, so that examples come far."""

    # ---- the ordinary way

    @rule(n=st.integers(1, 6), way=st.integers(0, 3))
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
            self.commit_for(epoch, way)
        elif self.rules.now_s < self.rules.evaluations.ready_at(epoch):
            self.pair.wait(self.rules.evaluations.ready_at(epoch) - self.rules.now_s)
        else:
            self.report_or_accuse(epoch, way)

    def come_to(self, what: str, way: int) -> int:
        """Go on until the first unreported epoch is over, or ready for its report; return it."""
        for _ in range(8):
            epoch = self.next_unreported()
            is_open = self.rules.registry.epoch_set(epoch)
            over = is_open and self.rules.now_s >= self.rules.registry.epoch_end(epoch)
            ready = over and self.rules.commitments.standing(epoch)
            if (what == "over" and over) or (
                ready and self.rules.now_s >= self.rules.evaluations.ready_at(epoch)
            ):
                break
            self.go_on(way)
        return self.next_unreported()

    def catch_up(self, who: str, epoch: int) -> None:
        """Let an aggregator commit, rightly, to what it has left out."""
        for _ in range(6):
            turn = self.rules.commitments.state.aggregators[account(who)].turn
            if turn is None or turn >= epoch:
                break
            self.commit_next(who)

    @rule(
        who=st.sampled_from(AGGREGATORS),
        variant=st.sampled_from([*FALSE, *UNSEEN * 3, "kept"]),
        way=st.integers(0, 3),
        judged=st.booleans(),
    )
    def lie_in_a_commitment(self, who: str, variant: str, way: int, judged: bool) -> None:
        """A promise for the next epoch, then a commitment to something false, alone or beside others."""
        if who not in self.liars:
            return
        epoch = self.come_to("over", way)
        self.catch_up(who, epoch)
        if variant in {"omits", "kept"}:
            self.promises.add((epoch, account(who), epoch + way % 2))
        self.commit_next(who, variant="plain" if variant == "kept" else variant)
        if variant == "omits" and way % 2:
            self.pair.wait(EPOCH_S)
            self.commit_next(who)
        last = self.made.get((epoch + (variant == "omits") * (way % 2), account(who)))
        if judged and last and account(who) in self.false and self.stands(*last.words[:2]):
            self.convict_author(last, "watcher", way)

    @rule(lie=st.sampled_from(LIES), way=st.integers(0, 3), more=st.integers(0, 2))
    def lie_in_a_report(self, lie: str, way: int, more: int) -> None:
        """A false report as soon as one is possible, if enough would sign it; and some after it."""
        epoch = self.come_to("ready", way)
        captured = len(self.signers(epoch, liars=True)) > len(self.signers(epoch, liars=False))
        if captured:
            self.submit(self.draft(epoch, lie), self.signers(epoch, liars=True))
        for _ in range(4 * more):
            self.go_on(way)

    def report_or_accuse(self, epoch: int, way: int) -> None:
        """The majority reports: the truth, unless it lies; nobody correct reports about a false commitment."""
        captured = len(self.signers(epoch, liars=True)) > len(self.signers(epoch, liars=False))
        false = [made for made in self.standing(epoch) if not made.is_readable]
        if false and not captured:
            self.convict_author(false[0], "watcher")
        else:
            report = self.draft(
                epoch, ("move", "total", "payee", "inflate")[way] if captured else ""
            )
            self.submit(report, self.signers(epoch, liars=captured))

    def absent(self) -> list[str]:
        """Those who could be evaluators and are not."""
        known = self.rules.registry.state.evaluators
        return [name for name in MEMBERS if account(name) not in known]

    def commit_for(self, epoch: int, way: int) -> None:
        """Bring an epoch nearer to having a commitment."""
        known = self.rules.commitments.state.aggregators
        able = [
            name
            for name in AGGREGATORS
            if not known[account(name)].slashed and not known[account(name)].exit_at
        ]
        able = [name for name in able if (known[account(name)].turn or 0) <= epoch] or able
        if not able:
            self.pair.wait(EPOCH_S)
            return
        who = able[way % len(able)]
        mine = known[account(who)]
        voided = [
            by
            for (at, by), made in self.rules.commitments.state.made.items()
            if at == epoch and made.fate == "voided"
        ]
        if mine.turn is None:
            self.call("commitments", "join", by=who, value=AGGREGATOR_STAKE)
        elif voided and (epoch, account(who)) not in self.made:
            self.replace_commitment(who, epoch, voided[0])
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
