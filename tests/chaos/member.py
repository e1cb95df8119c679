"""One node of a chaos run: links, driver, replica and safety log as production has them, and a clock for epochs.

It opens epoch after epoch by its wall clock, contributes its row, signs the hash of the decided block as report, and
appends every decision durably to its results. Run by the programme: ``python -m tests.chaos.member CONFIG NUMBER``.
"""

import asyncio
import faulthandler
import os
import sys
import time
from pathlib import Path
from typing import Any

from meridian.ephemera.effects import Attested, Decided, Misbehaviour
from meridian.ephemera.replica import Replica
from meridian.errors import StorageFailure
from meridian.node.evaluator.safety import observe_through, open_safety_log
from meridian.node.links import Links
from meridian.node.process import (
    STOP_GRACE_MS,
    event_line,
    ready_line,
    serve_until_stopped,
    start_logging,
)
from meridian.node.replica_driver import ReplicaDriver

from .failpoint import (
    VARIABLE,
    Failpoint,
    WatchedLog,
    WatchedTransport,
    append,
    open_lines,
    read_lines,
)
from .roster import (
    LIMITS,
    LINK_LIMITS,
    OPEN_DECIDED,
    OPEN_EPOCHS_MAX,
    TIMING,
    Committee,
    Rows,
    RunConfig,
    row_body,
)

ATTEMPT = bytes(32)
TELL_S = 0.5
LOOK_S = 0.2
"""How often the wall clock is read at least: it may jump."""


class ChaosNode:
    """One member in one process."""

    def __init__(self, config: RunConfig, number: int) -> None:
        self._config = config
        self._number = number
        self._committee = Committee(config)
        self._key = self._committee.keys[number]
        self._results = open_lines(config.results(number))
        failpoint = Failpoint(os.environ.get(VARIABLE))
        self._safety = open_safety_log(
            config.home(number), self._committee.network, self._key.address
        )
        self._log = WatchedLog(self._safety, failpoint, self._committee.context, self._key.address)
        self._driver = ReplicaDriver(
            Replica(self._key, TIMING, LIMITS, Rows(), archive=self._log),
            self._log,  # type: ignore[arg-type]
            on_decided=self._on_decided,
            on_attested=self._on_attested,
            on_misbehaviour=self._on_misbehaviour,
        )
        self._links = Links(
            self._committee.identities[number],
            self._committee.peers(),
            self._driver.deliver,
            address=self._key.address,
            network=self._committee.network,
            limits=LINK_LIMITS,
        )
        statements = open_lines(config.statements(number))
        self._transport = WatchedTransport(
            self._links, self._log, failpoint, number, statements, self._committee.context
        )
        self._observe_through = -1
        self._open: dict[int, bool] = {}
        """Open epochs; true when decided and attested."""
        self._to_sign: list[tuple[int, bytes]] = []
        self._wake = asyncio.Event()

    # --- what the protocol tells us --------------------------------------------------------------

    def _on_decided(self, effect: Decided) -> None:
        again = effect.epoch in self._log.decided_before
        line: dict[str, Any] = {
            "what": "decided",
            "epoch": effect.epoch,
            "hash": effect.block.hash.hex(),
            "view": effect.certificate.view,
            "again": again,
            "certificate": effect.certificate.encode().hex(),
        }
        if not again:
            line["block"] = effect.block.encode().hex()
        self._write(line)
        self._to_sign.append((effect.epoch, effect.block.hash))
        self._wake.set()
        event_line("decided", epoch=effect.epoch)

    def _on_attested(self, effect: Attested) -> None:
        self._write(
            {
                "what": "attested",
                "epoch": effect.epoch,
                "digest": effect.digest.hex(),
                "signatures": [[a.hex(), s.hex()] for a, s in effect.signatures],
            }
        )
        self._open[effect.epoch] = True
        event_line("attested", epoch=effect.epoch)

    def _on_misbehaviour(self, effect: Misbehaviour) -> None:
        self._write(
            {
                "what": "misbehaviour",
                "epoch": effect.epoch,
                "member": effect.member,
                "kind": effect.kind,
                "evidence": effect.evidence.hex(),
            }
        )

    def _write(self, line: dict[str, Any]) -> None:
        """Append one line durably.

        Raises:
            StorageFailure: If the disk refuses.
        """
        append(self._results, {"at_s": time.monotonic(), "run": os.getpid()} | line)
        try:
            os.fdatasync(self._results)
        except OSError as error:
            raise StorageFailure(f"results: {error.strerror}") from error

    # --- the loop --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until cancelled."""
        config = self._config
        begun = range(config.epoch_by_wall_clock() + 1)
        self._observe_through = observe_through(config.home(self._number), self._safety, begun)
        self._write({"what": "started", "observe_through": self._observe_through})
        await self._links.start()
        await self._driver.start(self._transport)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._driver.join(), name="driver")
            group.create_task(self._links.join(), name="links")
            group.create_task(self._follow(), name="follow")
            group.create_task(self._tell(), name="tell")
            ready_line(number=self._number, observe_through=self._observe_through)

    async def _tell(self) -> None:
        """Say now and then what waits in the queues; whoever started us looks at the bounds."""
        while True:
            links = self._links.statistics()
            peers = [counters for name, counters in links.items() if name != "links"]
            driver = self._driver.statistics()
            event_line(
                "queues",
                inbox=driver["frames_waiting"],
                dropped=driver["frames_dropped"],
                rejected=driver["frames_rejected"],
                small_bytes=sum(peer["small_waiting_bytes"] for peer in peers),
                bulk_bytes=sum(peer["bulk_waiting_bytes"] for peer in peers),
                connected=links["links"]["connected"],
                pending=links["links"]["pending"],
            )
            await asyncio.sleep(TELL_S)

    async def close(self) -> None:
        """Stop driver and links; release the safety log. What hangs is shown before the process is ended."""
        faulthandler.dump_traceback_later(STOP_GRACE_MS / 2000)
        asyncio.get_running_loop().call_later(STOP_GRACE_MS / 2000, _show_tasks)
        try:
            await self._driver.stop()
        finally:
            await self._links.stop()
            self._safety.close()

    async def _follow(self) -> None:
        """Open the epochs that the clock says have begun, sign reports, close what nobody needs any more."""
        now = self._config.epoch_by_wall_clock()
        kept = range(max(0, now - self._config.keep_epochs), max(0, now - OPEN_DECIDED))
        done = [epoch for epoch in self._written_before() if epoch in kept]
        await self._driver.answer_for([self._committee.context(epoch) for epoch in done])
        for epoch in done:  # the line of the process that died may have been lost
            event_line("decided", epoch=epoch)
            event_line("attested", epoch=epoch)
        following = kept.start
        while True:
            self._wake.clear()
            await self._tidy()
            now = self._config.epoch_by_wall_clock()
            while following <= now and len(self._open) < OPEN_EPOCHS_MAX:
                if following not in done:
                    await self._begin(following)
                following += 1
            while self._to_sign:
                epoch, block_hash = self._to_sign.pop(0)
                if epoch in self._open:
                    await self._driver.submit_report(epoch, ATTEMPT, block_hash)
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def _written_before(self) -> list[int]:
        """Epochs whose report is in our results and in our log: the others are opened, and told to us again."""
        written = {
            line["epoch"]
            for line in read_lines(self._config.results(self._number))
            if line["what"] == "attested"
        }
        return [epoch for epoch in sorted(written) if self._log.records(epoch, "attested")]

    async def _begin(self, epoch: int) -> None:
        context = self._committee.context(epoch)
        observer = epoch <= self._observe_through
        self._open[epoch] = False
        await self._driver.open_epoch(context, observer=observer)
        if not observer:
            await self._driver.submit_row(epoch, row_body(epoch, self._key.address))

    async def _tidy(self) -> None:
        """Close what is done, and forget what nobody can have to catch up with any more."""
        newest = max(self._open, default=0)
        for epoch in sorted(self._open):
            if self._open[epoch] and epoch < newest - OPEN_DECIDED:
                await self._driver.close_epoch(epoch)
                del self._open[epoch]
                self._log.forget(epoch)
                self._transport.forget(epoch)
        oldest = min(self._open, default=0) - 2 * self._config.keep_epochs
        if oldest > 0 and newest % 16 == 0:
            await self._driver.forget_before(oldest)


def _show_tasks() -> None:
    for task in asyncio.all_tasks():
        task.print_stack(file=sys.stderr)


async def _serve(config: RunConfig, number: int) -> None:
    node = ChaosNode(config, number)
    try:
        await node.run()
    finally:
        await node.close()


def main() -> int:
    """Run the process and return its exit code."""
    config, number = RunConfig.load(Path(sys.argv[1])), int(sys.argv[2])
    start_logging(f"node-{number}")
    return serve_until_stopped(lambda: _serve(config, number))


if __name__ == "__main__":
    sys.exit(main())
