"""The faults, each as the deeds that make it and take it back, and the seeded order in which they come.

Every fault holds one node while it lasts, and at most f nodes are held at a time. What lasts is measured in paces; a
pace is one second where an epoch has two.
"""

import itertools
import random
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from .hostile import MANNERS
from .world import FAIL_STOP, FaultRecord, RunEnds, World, faketime_library

NO_RECORDS: Final = ("context", "body", "block", "view", "decided", "attested")
FAILPOINTS: Final = tuple(
    f"{point}:{when}:{kind}"
    for when in ("before", "after")
    for point, kinds in (
        ("persist", ("row", "have", "propose", "echo", "lock", "report", *NO_RECORDS)),
        ("send", ("row", "have", "propose", "echo", "vote", "report_sig", "wish", "fetch_reply")),
    )
    for kind in kinds
)

NEEDS_NETWORK: Final = frozenset({"isolated", "one way", "pair cut"})
HARMLESS_TO_PROCESS: Final = frozenset({"paused", *NEEDS_NETWORK})
"""What may also happen to the one node whose process lives through the run, so that its memory can be judged."""


class Faults:
    """Makes faults in one world; one object per lane of faults, f lanes in all."""

    def __init__(self, world: World, seed: str, witness: int, pace_s: float) -> None:
        self._world = world
        self._chance = random.Random(seed)
        self._witness = witness
        self._pace_s = pace_s
        failpoints = list(FAILPOINTS)
        self._chance.shuffle(failpoints)
        self._failpoints = itertools.cycle(failpoints)
        self._kinds: dict[str, Callable[[FaultRecord], None]] = {
            "killed": self._killed,
            "away": self._away,
            "failpoint": self._failpoint,
            "paused": self._paused,
            "isolated": self._isolated,
            "one way": self._one_way,
            "pair cut": self._pair_cut,
            "disk full": self._disk_full,
            "clock jump": self._clock_jump,
            "old backup": self._old_backup,
            "disk lost": self._disk_lost,
            "restarted": self._restart,
            "hostile": self._hostile,
        }

    def available(self) -> list[str]:
        """The kinds that this machine allows."""
        network = self._world.network
        lacking = set()
        if network is None or not network.has_iptables:
            lacking |= NEEDS_NETWORK
        if faketime_library() is None:
            lacking.add("clock jump")
        return [kind for kind in self._kinds if kind not in lacking]

    def run(self) -> None:
        """Make one fault after the other until the run ends."""
        try:
            while True:
                for kind in self._deck():
                    self._world.wait(self._chance.uniform(0.2, 2.5) * self._pace_s)
                    self._one(kind)
        except RunEnds:
            pass
        except Exception as error:  # noqa: BLE001 - a thread's last words; the run must not go on without it.
            self._world.give_up(f"a fault could not be made: {error!r}")

    def _deck(self) -> list[str]:
        """All kinds, the frequent ones several times, shuffled."""
        deck = self.available()
        deck += ["failpoint"] * 4 + ["killed"] * 2 + ["hostile"]
        self._chance.shuffle(deck)
        return deck

    def _one(self, kind: str) -> None:
        nodes = list(range(self._world.config.n))
        if kind not in HARMLESS_TO_PROCESS:
            nodes.remove(self._witness)
        if kind != "restarted":
            self._afflict(kind, nodes)
            return
        for node in nodes:  # a rolling restart: all of them, one after the other
            self._afflict(kind, [node])
            self._hold(0.5, 1.5)

    def _afflict(self, kind: str, candidates: Sequence[int]) -> None:
        node = self._world.reserve(candidates, self._chance)
        if node is None:
            return
        try:
            self._world.afflict(kind, node, self._kinds[kind])
        finally:
            self._world.release(node)

    def _hold(self, low: float, high: float) -> float:
        """Wait a while of some paces; return its seconds."""
        seconds = self._chance.uniform(low, high) * self._pace_s
        self._world.wait(seconds)
        return seconds

    # --- processes -------------------------------------------------------------------------------

    def _killed(self, record: FaultRecord) -> None:
        self._world.kill(record.node)
        record.note = f"{self._hold(0, 6):.1f} s away"
        self._world.start(record.node)

    def _away(self, record: FaultRecord) -> None:
        """Away for longer than epochs stay open: it catches up from the archives of the others."""
        self._world.kill(record.node)
        record.note = f"{self._hold(20, 45):.1f} s away"
        self._world.start(record.node)

    def _failpoint(self, record: FaultRecord) -> None:
        """Let it die at a named place, twice if it can: a crash during the way back is a crash of its own kind."""
        world, node = self._world, record.node
        world.kill(node)
        record.note = f"{next(self._failpoints)}:{self._chance.choice((1, 1, 2, 3))}"
        world.start_with_failpoint(node, record.note)
        code = world.wait_exit(node, 12 * self._pace_s)
        record.reached = code == -signal.SIGKILL
        if code is None:
            world.kill(node)
        elif not record.reached:
            world.problem(node, f"ended with exit code {code} on its way to {record.note}")
        world.start(node)

    def _paused(self, record: FaultRecord) -> None:
        self._world.signal(record.node, signal.SIGSTOP)
        try:
            seconds = self._hold(*self._chance.choice(((1, 4), (4, 12), (12, 30))))
            record.note = f"{seconds:.1f} s"
        finally:
            self._world.signal(record.node, signal.SIGCONT)

    def _restart(self, record: FaultRecord) -> None:
        self._world.stop(record.node)
        self._world.start(record.node)

    def _hostile(self, record: FaultRecord) -> None:
        """Let a Byzantine member take the node's place; the node then comes back knowing that it was away."""
        world, node = self._world, record.node
        record.note = self._chance.choice(MANNERS)
        world.kill(node)
        world.start(node, hostile=record.note)
        self._hold(6, 12)
        world.kill(node)
        world.lose_disk(node, "mark")
        self._come_back_observing(record)

    # --- disks -----------------------------------------------------------------------------------

    def _disk_full(self, record: FaultRecord) -> None:
        """No space left: it must stop before it signs anything more, and come back when there is space."""
        world, node = self._world, record.node
        record.note = self._chance.choice(("space", "limit")) if world.mounts else "limit"
        if record.note == "limit":
            world.limit_file_size(node)
        else:
            world.fill_disk(node)
        try:
            code = world.wait_exit(node, 8 * self._pace_s)
            if code is None:  # pages that are used again take no space
                record.reached = False
                world.kill(node)
            elif code != FAIL_STOP:
                world.problem(node, f"ended with exit code {code} on a full disk")
            self._hold(0.5, 3)
        finally:
            world.free_disk(node)
        world.start(node)

    def _old_backup(self, record: FaultRecord) -> None:
        world, node = self._world, record.node
        world.back_up(node)
        record.note = f"{self._hold(3, 8):.1f} s old"
        world.kill(node)
        world.restore(node)
        self._come_back_observing(record)

    def _disk_lost(self, record: FaultRecord) -> None:
        world, node = self._world, record.node
        record.note = self._chance.choice(("everything", "log", "mark"))
        world.kill(node)
        world.lose_disk(node, record.note)
        self._come_back_observing(record)

    def _come_back_observing(self, record: FaultRecord) -> None:
        """It must know by itself that it may have forgotten; until its epochs are done it is one of the f."""
        world, node = self._world, record.node
        running = world.config.epoch_at(time.monotonic())
        through = int(world.start(node)["observe_through"])
        if through < running:
            world.problem(
                node, f"signs after {record.kind}: it observes through {through}, not {running}"
            )
        world.wait_until_observed_are_done(node, through)

    # --- network and clock -----------------------------------------------------------------------

    def _cut(self, record: FaultRecord, others: list[int], *, inward: bool, outward: bool) -> None:
        network = self._world.network
        assert network is not None
        try:
            network.block(record.node, others, inward=inward, outward=outward)
            record.note += f" {self._hold(*self._chance.choice(((1, 5), (5, 15)))):.1f} s"
        finally:
            network.clear(record.node, loss=False)

    def _others(self, node: int) -> list[int]:
        return [i for i in range(self._world.config.n) if i != node]

    def _isolated(self, record: FaultRecord) -> None:
        self._cut(record, self._others(record.node), inward=True, outward=True)

    def _one_way(self, record: FaultRecord) -> None:
        inward = self._chance.random() < 0.5
        record.note = "deaf" if inward else "mute"
        self._cut(record, self._others(record.node), inward=inward, outward=not inward)

    def _pair_cut(self, record: FaultRecord) -> None:
        other = self._chance.choice(self._others(record.node))
        record.note = f"from {other}"
        self._cut(record, [other], inward=True, outward=True)

    def _clock_jump(self, record: FaultRecord) -> None:
        """Let its wall clock jump, forward or back, and jump right again; monotonic clocks never jump."""
        world, node = self._world, record.node
        library = faketime_library()
        assert library is not None
        offset = world.directory / f"clock-{node}"
        offset.write_text("+0\n")
        world.kill(node)
        world.start(
            node,
            [
                f"LD_PRELOAD={library}",
                f"FAKETIME_TIMESTAMP_FILE={offset}",
                "FAKETIME_CACHE_DURATION=1",
                "FAKETIME_DONT_FAKE_MONOTONIC=1",
                "DONT_FAKE_MONOTONIC=1",
            ],
        )
        jump_s = self._chance.choice((-1, 1)) * self._chance.uniform(3, 20) * self._pace_s
        record.note = f"{jump_s:+.1f} s"
        _replace(offset, f"{jump_s:+.3f}\n")
        self._hold(5, 12)
        _replace(offset, "+0\n")
        self._hold(1.5, 3)
        world.kill(node)
        world.start(node)
        if jump_s > 0:  # it has signed in epochs that have not begun: until then it must not forget
            self._world.wait(jump_s)


class Conditions:
    """The network's own weather, for everybody: calm, random loss, or a wide-area network; no fault of a node."""

    def __init__(self, world: World, seed: str, pace_s: float) -> None:
        self._world = world
        self._chance = random.Random(seed)
        self._pace_s = pace_s
        self.times: dict[str, int] = {}

    def run(self) -> None:
        """Change the weather until the run ends, and leave it calm."""
        network = self._world.network
        if network is None:
            return
        kinds = ["calm"] + ["loss"] * network.has_iptables + ["wide area"] * network.has_relay
        try:
            while True:
                self._chance.shuffle(kinds)
                for kind in kinds:
                    self.times[kind] = self.times.get(kind, 0) + 1
                    self._set(kind)
                    self._world.wait(self._chance.uniform(12, 30) * self._pace_s)
                    self._calm()
        except RunEnds:
            self._calm()

    def _set(self, kind: str) -> None:
        network = self._world.network
        assert network is not None
        if kind == "loss":
            network.lose(self._chance.uniform(0.005, 0.05))
        elif kind == "wide area":
            network.use_relay(
                delay_ms=self._chance.uniform(5, 40),
                jitter_ms=self._chance.uniform(0, 15),
                loss=self._chance.uniform(0, 0.02),
                duplicates=self._chance.uniform(0, 0.02),
            )

    def _calm(self) -> None:
        network = self._world.network
        assert network is not None
        network.use_bridge()
        if network.has_iptables:
            for i in range(self._world.config.n):
                network.clear(i, loss=True)


def _replace(path: Path, text: str) -> None:
    """Change a file in one step, under the eyes of a process that reads it."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    shutil.move(fresh, path)
