"""One process that hosts some members of a committee: the real links, drivers, replicas and safety logs.

The coordinator (`agreement_latency`) starts several of these and speaks to each over a pipe: `open` epochs, `run`
them from a common start on the monotonic clock (one clock for all processes of a machine), `close` them.
"""

import asyncio
import gc
import hashlib
import random
import resource
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

from benchmarks.sampler import Sampler
from meridian.ephemera import context as contexts
from meridian.ephemera.context import Context
from meridian.ephemera.effects import Attested, Decided
from meridian.ephemera.limits import Limits, Timing
from meridian.ephemera.replica import Replica
from meridian.node.link_connection import LinkLimits
from meridian.node.link_identity import link_identity
from meridian.node.link_stream import LinkStream
from meridian.node.links import Links, Peer
from meridian.node.replica_driver import ReplicaDriver
from meridian.node.safety_log import SafetyLog
from meridian.primitives import keys
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, network_id

NETWORK = network_id("benchmark")
DOMAIN = Domain(chain_id=31337, contract=Address(b"\xe0" * 20))
ATTEMPT = bytes(32)

LIMITS = replace(LinkLimits(), handshake_ms=120_000, ping_ms=60_000, dead_ms=180_000)
"""The real bounds; patient, because thousands of handshakes of one machine start together."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run measures."""

    n: int
    body_bytes: int
    distinct: bool
    """Every member another body (all must travel), or all the same (nothing to fetch)."""
    tls: bool
    durable: bool
    """`synchronous=FULL` as in production, or OFF."""
    instances: int
    """Epochs that run at the same time: 1, or n for the seed's one broadcast per member."""
    timing: Timing
    port: int
    folder: Path


class AnyRow:
    """Accepts every body: what a body means is measured elsewhere."""

    def check_row(self, epoch: int, member: Address, body: bytes) -> str | None:  # noqa: ARG002
        """None: acceptable."""
        return None


class PlainLinks(Links):
    """The alternative without TLS: the same frames over bare TCP; nobody proves who they are."""

    def _stream(self, tls: Any, *, server_side: bool) -> LinkStream:  # noqa: ARG002
        return LinkStream(None, server_side=server_side, buffer=self._buffer)

    def _check_key(self, claimed: Address, stream: LinkStream) -> None:
        """Nothing was proved."""


class TimedLog(SafetyLog):
    """The real log; adds up what its writes cost."""

    wall_s = 0.0
    cpu_s = 0.0
    written_bytes = 0

    def write(self, records: Any) -> None:
        """As the real one."""
        wall_s, cpu_s = time.perf_counter(), time.thread_time()
        super().write(records)
        self.wall_s += time.perf_counter() - wall_s
        self.cpu_s += time.thread_time() - cpu_s
        self.written_bytes += sum(len(record.value) for record in records)


def member_keys(n: int) -> list[keys.PrivateKey]:
    """The protocol keys, ascending by address."""
    secrets = (hashlib.sha256(b"benchmark member %d" % i).digest() for i in range(n))
    return sorted((keys.PrivateKey(secret) for secret in secrets), key=lambda key: key.address)


def body_of(plan: Plan, epoch: int, member: int) -> bytes:
    """The row body of a member: bytes that do not compress."""
    seed = f"{epoch} {member if plan.distinct else 0}"
    return random.Random(seed).randbytes(plan.body_bytes)


class Member:
    """One member: key, log, replica, driver, links."""

    def __init__(self, plan: Plan, index: int, peers: list[Peer], key: keys.PrivateKey) -> None:
        self.plan, self.index, self.members = plan, index, tuple(peer.address for peer in peers)
        self.log = TimedLog(plan.folder / f"{index}.db", network=NETWORK, member=key.address)
        if not plan.durable:
            self.log._database._connection.execute("PRAGMA synchronous=OFF")  # noqa: SLF001
        limits = replace(Limits(), epochs_max=max(16, 2 * plan.instances))
        self.driver = ReplicaDriver(
            Replica(key, plan.timing, limits, AnyRow()),
            self.log,
            on_decided=self._decided,
            on_attested=self._attested,
            on_misbehaviour=lambda _: None,
        )
        self.links = (Links if plan.tls else PlainLinks)(
            link_identity(hashlib.sha256(b"benchmark link %d" % index).digest()),
            peers,
            self.driver.deliver,
            address=key.address,
            network=NETWORK,
            limits=LIMITS,
        )
        self.decided_s: dict[int, float] = {}
        self.attested_s: dict[int, float] = {}
        self.blocks: dict[int, bytes] = {}
        self.reports: dict[int, bytes] = {}
        self.changed: Callable[[], None] = lambda: None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start links and driver."""
        await self.links.start()
        await self.driver.start(self.links)

    async def open(self, epoch: int) -> None:
        """Open an epoch; every member makes its own context, so that it checks every signature itself."""
        await self.driver.open_epoch(Context(DOMAIN, NETWORK, epoch, self.members))

    def _decided(self, decided: Decided) -> None:
        self.decided_s[decided.epoch] = time.monotonic()
        self.blocks[decided.epoch] = decided.block.hash
        digest = hashlib.sha256(b"report" + decided.block.hash).digest()
        task = asyncio.create_task(self.driver.submit_report(decided.epoch, ATTEMPT, digest))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _attested(self, attested: Attested) -> None:
        self.attested_s[attested.epoch] = time.monotonic()
        self.reports[attested.epoch] = attested.digest
        self.changed()

    def counters(self) -> Counter[str]:
        """Counters of driver, links and log as they stand."""
        out: Counter[str] = Counter(self.driver.statistics())
        for name, link in self.links.statistics().items():
            if name != "links":
                out.update(link)
        out.update(
            disk_us=int(self.log.wall_s * 1e6),
            disk_cpu_us=int(self.log.cpu_s * 1e6),
            disk_bytes=self.log.written_bytes,
        )
        return out


class Host:
    """The members of this process."""

    def __init__(self, plan: Plan, hosted: list[int]) -> None:
        self.plan = plan
        private = member_keys(plan.n)
        peers = [
            Peer(
                key.address,
                link_identity(hashlib.sha256(b"benchmark link %d" % i).digest()).link_key,
                f"127.0.1.{i + 1}",
                plan.port,
            )
            for i, key in enumerate(private)
        ]
        self.members = [Member(plan, i, peers, private[i]) for i in hosted]

    async def start(self) -> None:
        """Listen and dial."""
        for member in self.members:
            await member.start()

    async def connected(self) -> None:
        """Wait for the full mesh."""
        while any(len(m.links.connected()) < self.plan.n - 1 for m in self.members):  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    async def run(self, epochs: list[int], start_s: float, *, profile: bool) -> dict[str, Any]:
        """Submit all rows at `start_s`, and wait until all members have attested all the epochs."""
        bodies = [
            (m, epoch, body_of(self.plan, epoch, m.index)) for epoch in epochs for m in self.members
        ]
        done = asyncio.Event()

        def look() -> None:
            if all(epoch in m.attested_s for m in self.members for epoch in epochs):
                done.set()

        for member in self.members:
            member.changed = look
        gc.collect()
        before = self.counters()
        sampler = Sampler() if profile else None
        await asyncio.sleep(start_s - time.monotonic())
        cpu_s, usage = time.process_time(), resource.getrusage(resource.RUSAGE_SELF)
        if sampler is not None:
            sampler.start()
        submits = [asyncio.create_task(m.driver.submit_row(e, body)) for m, e, body in bodies]
        await done.wait()
        await asyncio.gather(*submits)
        if sampler is not None:
            sampler.stop()
        after = resource.getrusage(resource.RUSAGE_SELF)
        switches = after.ru_nvcsw - usage.ru_nvcsw
        spent = self.counters()
        spent.subtract(before)
        return {
            "decided_s": [max(m.decided_s[e] for e in epochs) - start_s for m in self.members],
            "attested_s": [max(m.attested_s[e] for e in epochs) - start_s for m in self.members],
            "blocks": sorted({(e, m.blocks[e].hex()) for m in self.members for e in epochs}),
            "reports": sorted({(e, m.reports[e].hex()) for m in self.members for e in epochs}),
            "cpu_s": time.process_time() - cpu_s,
            "counters": dict(spent) | {"waits": switches},
            "samples": {} if sampler is None else sampler.shares(),
        }

    def counters(self) -> Counter[str]:
        """Sums over the members."""
        total: Counter[str] = Counter()
        for member in self.members:
            total.update(member.counters())
        total["signature_checks"] = _CHECKS["recover"]
        return total

    async def stop(self) -> None:
        """Close everything."""
        for member in self.members:
            await member.driver.stop()
            await member.links.stop()
            member.log.close()


_CHECKS: Counter[str] = Counter()


def _count_checks() -> None:
    """Count the calls of the one function that checks a signature."""
    recover = keys.recover

    def counted(digest: bytes, signature: bytes) -> Address:
        _CHECKS["recover"] += 1
        return recover(digest, signature)

    contexts.keys.recover = counted


async def _serve(plan: Plan, hosted: list[int], pipe: Pipe) -> None:
    host = Host(plan, hosted)
    loop = asyncio.get_running_loop()
    await host.start()
    await host.connected()
    pipe.send("connected")
    while True:
        command, epochs, *rest = await loop.run_in_executor(None, pipe.recv)
        match command:
            case "open":
                for epoch in epochs:
                    await asyncio.gather(*(member.open(epoch) for member in host.members))
                pipe.send("open")
            case "run":
                pipe.send(await host.run(epochs, rest[0], profile=rest[1]))
            case "close":
                for epoch in epochs:
                    for member in host.members:
                        await member.driver.close_epoch(epoch)
                pipe.send("closed")
            case _:
                await host.stop()
                return


def serve(plan: Plan, hosted: list[int], pipe: Pipe) -> None:
    """Host the members `hosted` until the coordinator says stop."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 20_000)), hard))
    _count_checks()
    asyncio.run(_serve(plan, hosted, pipe))
