"""The chaos programme: real nodes, real TLS, seeded faults, and a judge. See docs/chaos.md.

``python -m tests.chaos --nodes 4 --minutes 15 --seed 1``
"""

import json
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any, Final

import click

from meridian.journey.host import free_port
from meridian.primitives.quorum import faults_max

from .checker import Checker, Findings, percentile
from .faults import Conditions, Faults
from .network import Network, lacking
from .roster import RunConfig
from .world import World, unmount_leftovers

HEAD_START_S: Final = 4.0
HEAD_START_PER_NODE_S: Final = 0.4
LOOK_S: Final = 1.0
KEEP_EPOCHS: Final = 100


def say(text: str) -> None:
    """Tell the person who waits."""
    print(text, file=sys.stderr, flush=True)


def features(network: Network | None, why: str | None) -> list[str]:
    """What is left out on this machine, in words."""
    if network is None:
        return [f"no network namespaces ({why}): partitions, loss and delay are left out"]
    left_out = []
    if not network.has_iptables:
        left_out.append("no iptables: partitions and random loss are left out")
    if not network.has_relay:
        left_out.append("no TUN devices: delay is left out")
    return left_out


class Run:
    """One run of the programme."""

    def __init__(self, world: World, seed: int, minutes: float, bound_s: float) -> None:
        self.world = world
        self._seconds = minutes * 60
        self._bound_s = bound_s
        n = world.config.n
        pace_s = world.config.epoch_ms / 2000
        witness = seed % n
        self.lanes = [
            Faults(world, f"{seed} lane {i}", witness, pace_s) for i in range(faults_max(n))
        ]
        self.conditions = Conditions(world, f"{seed} conditions", pace_s)

    def go(self) -> tuple[int, float]:
        """Make faults, then heal; return the last epoch that must be decided, and when the nodes were stopped."""
        world, config = self.world, self.world.config
        world.start_all()
        say(f"{config.n} nodes run; faults for {self._seconds:.0f} s")
        time.sleep(max(0.0, config.genesis_monotonic_s - time.monotonic()))
        deeds = [*(lane.run for lane in self.lanes), self.conditions.run]
        threads = [threading.Thread(target=deed, daemon=True) for deed in deeds]
        for thread in threads:
            thread.start()
        self._watch(time.monotonic() + self._seconds)
        world.ending.set()
        for thread in threads:
            thread.join()
        world.heal()
        last = config.epoch_at(time.monotonic()) - 1
        self._await_decisions(last)
        ended_s = time.monotonic()
        world.stop_all()
        world.save()
        return last, ended_s

    def _watch(self, until_s: float) -> None:
        said = time.monotonic()
        while time.monotonic() < until_s and not self.world.ending.wait(LOOK_S):
            self.world.look()
            if time.monotonic() - said > 30:
                said = time.monotonic()
                decided = [len(epochs) for epochs in self.world.decided.values()]
                say(
                    f"{until_s - said:.0f} s to go: epoch {self.world.config.epoch_at(said)}, "
                    f"decided {decided}, {len(self.world.faults)} faults"
                )

    def _await_decisions(self, last: int) -> None:
        wanted = set(range(last + 1))
        deadline = time.monotonic() + self._bound_s + 1
        while time.monotonic() < deadline:
            if all(epochs >= wanted for epochs in self.world.attested.values()):
                return
            time.sleep(0.1)


def summary(run: Run, found: Findings, settings: dict[str, Any]) -> dict[str, Any]:
    """The result as a document."""
    faults = Counter(fault.kind for fault in run.world.faults)
    points = {
        f.note.rsplit(":", 1)[0] for f in run.world.faults if f.kind == "failpoint" and f.reached
    }
    return settings | {
        "epochs": found.epochs,
        "decisions": found.decisions,
        "certificates_verified": found.certificates,
        "attestations_verified": found.attestations,
        "statements_compared": found.statements,
        "faults": dict(sorted(faults.items())),
        "faults_reached": sum(fault.reached for fault in run.world.faults),
        "failpoints_reached": sorted(points),
        "conditions": run.conditions.times,
        "evidence": dict(sorted(found.evidence.items())),
        "views": {str(view): count for view, count in sorted(found.views.items())},
        "decide_ms": {
            "p50": percentile(found.clean_ms, 0.5),
            "p99": percentile(found.clean_ms, 0.99),
            "max": max(found.clean_ms, default=0),
            "slowest_after_fault": found.slowest_ms,
        },
        "queues_most": {
            name: count
            for name, count in sorted(run.world.queues_most.items())
            if name in {"inbox", "small_bytes", "bulk_bytes", "pending"}
        },
        "memory": [
            {
                "node": m.node,
                "minutes": m.minutes,
                "rss_kib": m.rss_kib,
                "slope_kib_per_min": m.slope_kib_per_min,
                "descriptors": m.descriptors,
            }
            for m in found.memory
        ],
        "violations": run.world.problems + found.violations,
    }


def table(document: dict[str, Any]) -> str:
    """The result for people."""
    lines = []
    for name, value in document.items():
        if name in {"violations", "memory"}:
            continue
        if isinstance(value, dict):
            value = ", ".join(f"{key} {count}" for key, count in value.items()) or "none"
        elif isinstance(value, list):
            value = "; ".join(map(str, value)) or "none"
        lines.append(f"{name.replace('_', ' '):24}{value}")
    for m in document["memory"]:
        (begin, end), (first, second) = m["rss_kib"], m["descriptors"]
        lines.append(
            f"{'memory of node ' + str(m['node']):24}{begin} -> {end} KiB in the second half of "
            f"{m['minutes']} minutes ({m['slope_kib_per_min']:+} KiB/min), descriptors {first} -> {second}"
        )
    violations = document["violations"]
    lines += [f"VIOLATION (seed {document['seed']}): {text}" for text in violations[:20]]
    lines.append(f"{len(violations)} violations")
    return "\n".join(lines)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@click.command()
@click.option("--nodes", type=click.IntRange(4, 31), default=4, show_default=True)
@click.option("--minutes", type=float, default=15.0, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Decides the faults.")
@click.option("--epoch-ms", type=int, default=2000, show_default=True)
@click.option("--bound-s", type=float, default=20.0, show_default=True, help="For a decision.")
@click.option("--no-network", is_flag=True, help="No namespaces, although there could be.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep all files in this directory.")
def command(
    nodes: int,
    minutes: float,
    seed: int,
    epoch_ms: int,
    bound_s: float,
    no_network: bool,
    as_json: bool,
    keep: Path | None,
) -> None:
    """Let nodes decide epochs under faults, and judge what they did; exit 1 on a violation."""
    signal.signal(signal.SIGTERM, _interrupt)
    why = "--no-network" if no_network else lacking()
    directory = Path(tempfile.mkdtemp(prefix="meridian-chaos-"))
    try:
        with ExitStack() as stack:
            network = None if why else stack.enter_context(Network(nodes))
            if network:
                unmount_leftovers()
            left_out = features(network, why)
            for line in left_out:
                say(line)
            endpoints = network.endpoints if network else loopback(nodes)
            head_start_s = HEAD_START_S + HEAD_START_PER_NODE_S * nodes
            config = RunConfig(
                seed=seed,
                endpoints=endpoints,
                genesis_ms=round((time.time() + head_start_s) * 1000),
                genesis_monotonic_s=time.monotonic() + head_start_s,
                epoch_ms=epoch_ms,
                keep_epochs=KEEP_EPOCHS,
                directory=str(directory),
            )
            world = World(config, network, mounts=network is not None)
            stack.callback(world.close)
            world.open()
            run = Run(world, seed, minutes, bound_s)
            last, ended_s = run.go()
            found = Checker(config, world.faults, world.samples).judge(last, ended_s, bound_s)
            settings = {"seed": seed, "nodes": nodes, "minutes": minutes, "epoch_ms": epoch_ms}
            document = summary(run, found, settings | {"bound_s": bound_s, "left_out": left_out})
            if keep is not None:
                (directory / "summary.json").write_text(json.dumps(document, indent=1) + "\n")
                shutil.copytree(directory, keep, dirs_exist_ok=True)
    except KeyboardInterrupt:
        say("interrupted; everything is removed")
        sys.exit(130)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print(json.dumps(document, indent=1) if as_json else table(document))
    sys.exit(1 if document["violations"] else 0)


def loopback(nodes: int) -> tuple[tuple[str, int], ...]:
    """Ports for nodes without a network of their own."""
    ports: list[int] = []
    for _ in range(nodes):
        ports.append(free_port(0, ports))
    return tuple(("127.0.0.1", port) for port in ports)


if __name__ == "__main__":
    command()
