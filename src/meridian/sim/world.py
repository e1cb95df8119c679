"""One world per seed: hosts, network and checkers, run until every correct member is done.

`run_seed` is a pure function of its arguments: the same seed gives the same trace, byte for byte. A world has two
phases. Until `Plan.calm_ms` everything may go wrong, and nothing wrong may be decided. Then the network
heals, the members that are left (n - f at least) go on among liars and without the dead, and each of them must
decide every epoch within `END_MS`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from meridian.ephemera import frame as frames
from meridian.ephemera.context import Context, Kind
from meridian.ephemera.message import Propose
from meridian.sim import checkers, faults, signatures
from meridian.sim.aimed_liars import AIMED_ROLES, LIARS
from meridian.sim.copiers import COPIERS, Copycat, Hasty
from meridian.sim.epochs import FIRST_EPOCH, contexts_of
from meridian.sim.faults import AIMED_SPEAKERS, END_MS, SPEAKERS, TWINNED, Plan, Scenario
from meridian.sim.hosts import HOUR_MS, Host, World
from meridian.sim.liar import RESEND_MS, Cabal, Liar
from meridian.sim.mangler import Mangler
from meridian.sim.network import VIEW_END, Event, Network, view_of
from meridian.sim.outcomes import Outcome
from meridian.sim.puppets import ROLES, Puppet
from meridian.sim.trace import text_of

EVENTS_MAX = 400_000

LOCK_CARRIED_FAR = 3
"""A lock that lives until this view was carried through more than one change."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a world ended."""

    seed: int
    nodes: int
    trace_hash: str
    """SHA-256 over every event and every frame, in order."""
    events: int
    virtual_ms: int
    view_max: int
    violations: tuple[str, ...]
    reached: tuple[tuple[str, int], ...]
    """How often the rare things happened, by name."""
    plan: Plan

    def describe(self) -> str:
        """What to print when it fails: enough to run it again."""
        aim = "" if self.plan.aim is None else f"--aim {self.plan.aim.family} "
        return (
            f"{aim}seed {self.seed}, n={self.nodes}: {'; '.join(self.violations)}\n"
            f"  plan: {self.plan.describe()}\n"
            f"  again: meridian sim {aim}--nodes {self.nodes} --replay {self.seed}"
        )


Watch = Callable[[int, int, str], None]
"""(virtual ms, participant, what happened)."""


def run_seed(seed: int, nodes: int, watch: Watch | None = None) -> Result:
    """Run the world of a seed with `nodes` members; `watch` is told what happens."""
    rng = faults.rng_of(seed)
    return _run(faults.draw(rng, seed, nodes), rng, watch)


def run_plan(plan: Plan, watch: Watch | None = None) -> Result:
    """Run a world whose faults were chosen by hand."""
    return _run(plan, faults.rng_of(plan.seed), watch)


def _run(plan: Plan, rng: random.Random, watch: Watch | None) -> Result:
    with contextlib.nullcontext() if plan.real_signatures else signatures.modelled():
        return _Run(plan, rng, watch).run()


class _Run:
    def __init__(self, plan: Plan, rng: random.Random, watch: Watch | None) -> None:
        self._plan = plan
        self._rng = rng
        self._watch = watch
        self._network = Network(plan, rng)
        self._trace = hashlib.sha256()
        self._reached: Counter[str] = Counter()
        self._contexts = contexts_of(plan)
        self._numbers = {context.epoch: context for context in self._contexts}
        participants = range(plan.nodes + (plan.course.epochs - 1 if plan.course.rotate else 0))
        self._keys = [signatures.key_of(p, modelled=not plan.real_signatures) for p in participants]
        self._world = World(
            plan=plan,
            rng=rng,
            contexts=self._contexts,
            ids={key.address: number for number, key in enumerate(self._keys)},
            reached=self._reached,
            say=self._say,
        )
        self._strategies = dict(plan.strategies)
        self._hosts: list[Host | Liar] = []
        self._owners: list[int] = []
        self._routes: list[list[int]] = [[] for _ in participants]
        self._puppets: dict[int, Puppet] = {}
        cabals = [self._cabal(context) for context in self._contexts]
        for participant in participants:
            self._add(participant, self._strategies.get(participant, "correct"), cabals)

    # ---- setting the stage

    def _cabal(self, context: Context) -> Cabal:
        keys = {
            index: self._keys[participant]
            for participant, strategy in self._plan.strategies
            if strategy == "colluder"
            and (index := context.index_of(self._keys[participant].address)) is not None
        }
        return Cabal(keys)

    def _add(self, participant: int, strategy: str, cabals: list[Cabal]) -> None:
        if strategy in SPEAKERS or strategy in AIMED_SPEAKERS:
            self._add_liars(participant, strategy, cabals)
            return
        key = self._keys[participant]
        texts = [b"same" * 20 if self._plan.same_bodies else b"row %d " % participant * 12]
        if strategy in TWINNED:
            texts.append(b"other row %d" % participant)
        for text in texts:
            bodies = tuple(text + b"%d" % epoch for epoch in range(len(self._contexts)))
            post = functools.partial(self._post, len(self._hosts))
            host = Host(self._world, participant, key, bodies, post)
            host.correct = strategy == "correct"
            self._place(participant, host)
        roles = {**ROLES, **AIMED_ROLES, **COPIERS}
        maker = Mangler if strategy == "mangler" else roles.get(strategy)
        if maker is not None:
            puppet = maker(participant, key, self._numbers, self._world.ids, self._rng)
            if isinstance(puppet, Copycat) and not isinstance(puppet, Hasty):
                puppet.waits_for = frozenset(self._world.ids.values()) - self._plan.byzantine
            self._puppets[participant] = puppet

    def _add_liars(self, participant: int, strategy: str, cabals: list[Cabal]) -> None:
        key = self._keys[participant]
        for context, shared in zip(self._contexts, cabals, strict=True):
            index = context.index_of(key.address)
            if index is None or strategy == "silent":
                continue
            cabal = shared if strategy == "colluder" else Cabal({index: key})
            ids = [self._world.ids[address] for address in context.members]
            post = functools.partial(self._post_of_liar, ids)
            maker = LIARS.get(strategy, Liar)
            self._place(participant, maker(index, context, cabal, self._rng, post))

    def _place(self, participant: int, host: Host | Liar) -> None:
        self._routes[participant].append(len(self._hosts))
        self._hosts.append(host)
        self._owners.append(participant)

    def _begin(self) -> None:
        plan, network = self._plan, self._network
        for number, host in enumerate(self._hosts):
            participant = self._owners[number]
            if isinstance(host, Liar):
                begins_ms = (host.context.epoch - FIRST_EPOCH) * plan.course.epoch_ms
                network.at(begins_ms, Event(number, "wake"))
                continue
            host.start(0)
            for epoch in range(1, len(self._contexts)):
                begins_ms = epoch * plan.course.epoch_ms + self._rng.randint(0, 20)
                network.at(begins_ms, Event(number, "epoch", stamp=epoch))
            if participant == plan.course.away:
                host.stop(plan.calm_ms)
            host.begin(0, 0)
            if host.late or (plan.aim is not None and plan.aim.unaware == participant):
                network.at(plan.calm_ms, Event(number, "late-row"))
            if participant in plan.course.dead:
                aimed = None if plan.aim is None else plan.aim.dies_ms
                network.at(self._rng.randint(*aimed or (0, plan.calm_ms)), Event(number, "dead"))
            if participant == plan.storage.wiped:
                network.at(self._rng.randint(0, plan.calm_ms), Event(number, "wiped"))
            self._after(number, host)

    # ---- running

    def run(self) -> Result:
        self._begin()
        events, network, trace = 0, self._network, self._trace
        end_ms = END_MS if self._plan.aim is None else self._plan.aim.end_ms
        while events < EVENTS_MAX:
            event = network.next()
            if event is None or network.now_ms > self._plan.calm_ms + end_ms:
                break
            events += 1
            head = f"{network.now_ms} {event.host} {event.sender} {event.stamp} {event.what} "
            trace.update(head.encode() + len(event.frame).to_bytes(4, "big") + event.frame)
            self._happen(event)
            if network.now_ms >= self._plan.calm_ms and self._done():
                break
        return self._result(events)

    def _happen(self, event: Event) -> None:
        host, now_ms = self._hosts[event.host], self._network.now_ms
        if isinstance(host, Liar):
            if event.what == "wake":
                host.wake()
                self._network.at(now_ms + RESEND_MS, event)
            else:
                sender = host.context.index_of(self._keys[event.sender].address)
                if sender is not None:
                    host.receive(sender, event.frame)
            return
        if host.dead:
            return
        if host.frozen_until_ms > now_ms:
            self._network.at(host.frozen_until_ms, event)
            return
        if event.what == "frame":
            if not host.up:
                return
            self._receive(event, host)
        elif event.what == "wake":
            if event.stamp != host.stamp or not host.up:
                return
            host.due_ms = None
            host.wake(now_ms)
        elif not self._turn(event, host):
            return
        self._after(event.host, host)

    def _receive(self, event: Event, host: Host) -> None:
        if self._watch is not None:
            self._say(host.member, f"<- {event.sender} {text_of(self._numbers, event.frame)}")
        host.receive(self._network.now_ms, self._keys[event.sender].address, event.frame)
        puppet = self._puppets.get(host.member)
        if puppet is not None and len(event.frame) >= VIEW_END:
            for to, frame in puppet.hears(event.sender, event.frame):
                self._spread(event.host, host.member, to, frame)

    def _turn(self, event: Event, host: Host) -> bool:
        """Fate: crashes that were planned, ways back, epochs; False if nothing came of it."""
        now_ms, rng = self._network.now_ms, self._rng
        match event.what:
            case "epoch":
                host.begin(now_ms, event.stamp)
            case "late-row":
                if not host.up:
                    self._network.at(now_ms + 100, event)
                    return False
                host.submit(now_ms, 0)
            case "back":
                if host.up:
                    return False
                if now_ms < host.down_until_ms:
                    self._network.at(host.down_until_ms, event)
                    return False
                self._reached["restart"] += 1
                self._say(host.member, "comes back")
                host.start(now_ms)
            case "dead":
                self._reached["dead for ever"] += 1
                self._say(host.member, "dies")
                host.dead = True
                host.stop(now_ms)
                return False
            case _:
                self._reached["disk wiped"] += 1
                self._say(host.member, "loses its disk")
                host.stop(now_ms + rng.randint(5, 120))
                host.wipe()
        return True

    def _after(self, number: int, host: Host) -> None:
        """Plan the next wake-up, the way back from a crash, and new mishaps."""
        now_ms, plan = self._network.now_ms, self._plan
        if not host.up:
            if not host.dead:
                self._network.at(max(host.down_until_ms, now_ms), Event(number, "back"))
            return
        if self._strategies.get(host.member) == "amnesia" and self._rng.randrange(1000) < 10:
            host.forget(now_ms)
        due_ms = host.wake_ms()
        if due_ms is not None:
            due_ms = max(due_ms, now_ms)
        if due_ms != host.due_ms:
            host.stamp += 1
            host.due_ms = due_ms
            if due_ms is not None:
                self._network.at(due_ms, Event(number, "wake", stamp=host.stamp))
        if (plan.pause or plan.jump) and host.correct and now_ms < plan.calm_ms:
            self._mishap(
                host
            )  # a clock jumps while its host sleeps, and sleep is counted in real time

    def _mishap(self, host: Host) -> None:
        now_ms, plan, rng = self._network.now_ms, self._plan, self._rng
        if plan.pause and rng.randrange(1000) < plan.pause:
            frozen_ms = rng.randint(plan.timing.view_ms, 5 * plan.timing.view_ms)
            host.frozen_until_ms = now_ms + frozen_ms
            self._reached["host frozen"] += 1
            self._say(host.member, f"freezes for {frozen_ms} ms")
        if plan.jump and rng.randrange(1000) < plan.jump:
            back = plan.aim is not None and plan.aim.set_back
            by_ms = -HOUR_MS if back else rng.choice((-HOUR_MS, HOUR_MS))
            host.jump(by_ms)
            self._reached[f"clock jumped {'back' if by_ms < 0 else 'forward'}"] += 1
            self._say(host.member, f"clock jumps by {by_ms} ms")

    # ---- frames

    def _post_of_liar(self, ids: list[int], sender: int, to: tuple[int, ...], frame: bytes) -> None:
        self._spread(-1, ids[sender], tuple(ids[receiver] for receiver in to), frame)

    def _post(self, origin: int, sender: int, to: tuple[int, ...], frame: bytes) -> None:
        puppet = self._puppets.get(sender)
        if puppet is None:
            self._spread(origin, sender, to, frame)
            return
        for receivers, said in puppet.says(to, frame):
            self._spread(origin, sender, receivers, said)

    def _spread(self, origin: int, sender: int, to: tuple[int, ...], frame: bytes) -> None:
        kind = frame[1] if len(frame) > 1 else 0
        if sender not in self._strategies:
            self._reached[Kind(kind).name] += 1
            if kind == Kind.PROPOSE:
                self._count_views(frame)
        scenario = self._plan.scenario
        divided = self._strategies.get(sender) in TWINNED and scenario is None
        for receiver in to:
            if receiver == sender:
                continue
            for number in self._routes[receiver]:
                host = self._hosts[number]
                if isinstance(host, Liar) and frame[2:10] != host.context.epoch.to_bytes(8, "big"):
                    continue
                if divided and self._rng.random() < 0.5:
                    continue
                if scenario is not None and self._apart(scenario, origin, number, frame):
                    continue
                self._network.post(sender, receiver, number, frame)

    def _apart(self, scenario: Scenario, origin: int, number: int, frame: bytes) -> bool:
        """Whether two hosts are on different sides in the view of a frame."""
        view = view_of(frame)
        if (
            view is None
            or view >= len(scenario.sides)
            or self._network.now_ms >= self._plan.calm_ms
        ):
            return False
        side = scenario.sides[view]
        return side[origin] != side[number]

    def _count_views(self, frame: bytes) -> None:
        message = frames.decode(frame, self._numbers[int.from_bytes(frame[2:10], "big")])
        if isinstance(message, Propose) and message.justification is not None:
            carried = message.justification.certificate is not None
            self._reached["lock carried" if carried else "fresh block in a later view"] += 1
            if carried and message.view >= LOCK_CARRIED_FAR:
                self._reached[f"lock carried in view >= {LOCK_CARRIED_FAR}"] += 1

    def _say(self, participant: int, what: str) -> None:
        if self._watch is not None:
            self._watch(self._network.now_ms, participant, what)

    # ---- the end

    def _correct(self) -> dict[int, Host]:
        return {
            host.member: host for host in self._hosts if isinstance(host, Host) and host.correct
        }

    def _done(self) -> bool:
        return all(
            isinstance(host, Liar)
            or not host.correct
            or host.dead
            or (host.up and not host.pending())
            for host in self._hosts
        )

    def _copying(self, context: Context, outcomes: Mapping[int, Outcome]) -> list[str]:
        """What became of the rows that copycats copied."""
        aim, found = self._plan.aim, list[str]()
        never = aim is not None and aim.copying
        for puppet in self._puppets.values():
            row = puppet.copied(context).row if isinstance(puppet, Copycat) else None
            if row is None:
                continue
            entry = (row.member, row.digest)
            blocks = [d.block for o in outcomes.values() for d in o.decided]
            rows = {(r.member, r.digest) for block in blocks for r in block.rows}
            self._reached["row copied"] += 1
            self._reached["copied row decided"] += entry in rows
            if never or not isinstance(puppet, Hasty):
                found += checkers.copied(context, entry, outcomes, never=never)
        return found

    def _result(self, events: int) -> Result:
        correct = self._correct()
        found = [f"core: member {m} raised {h.broken}" for m, h in correct.items() if h.broken]
        found += [f"member {m}: {text}" for m, host in correct.items() for text in host.forgot]
        if self._plan.aim is not None and self._plan.aim.guilt:
            found += checkers.unproved(self._plan.aim.guilt, [h.outcomes for h in correct.values()])
        for epoch, context in enumerate(self._contexts):
            members = {
                index: host
                for host in correct.values()
                if (index := context.index_of(self._keys[host.member].address)) is not None
            }
            outcomes = {
                i: host.outcomes[epoch] for i, host in members.items() if epoch in host.outcomes
            }
            rows = {index: host.rows_of(epoch) for index, host in members.items()}
            found += checkers.violations(context, rows, outcomes)
            found += self._copying(context, outcomes)
            core = {index: host for index, host in members.items() if not host.dead}
            found += checkers.unfinished({i: host.outcomes.get(epoch) for i, host in core.items()})
            for outcome in outcomes.values():
                for misbehaviour in outcome.misbehaviour:
                    self._reached[misbehaviour.kind] += 1
                for decided in outcome.decided:
                    self._trace.update(decided.block.hash)
                    self._reached[f"decided in view {min(decided.certificate.view, 9)}"] += 1
        view_max = max((host.view() for host in correct.values()), default=0)
        return Result(
            seed=self._plan.seed,
            nodes=self._plan.nodes,
            trace_hash=self._trace.hexdigest(),
            events=events,
            virtual_ms=self._network.now_ms,
            view_max=view_max,
            violations=tuple(found),
            reached=tuple(sorted(self._reached.items())),
            plan=self._plan,
        )
