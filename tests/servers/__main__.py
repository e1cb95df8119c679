"""`python -m tests.servers`: servers of one network behind a load balancer, killed at random under load; what was lost or doubled?"""

import contextlib
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click
from tests.crashes.load import Book, Sender
from tests.node.measure.measure_world import CALENDAR
from tests.node.postgres_server import postgres_server
from tests.servers.fleet import BalancedClient, Fleet, broken_promises

from meridian.measure.claims import server_of

PATIENCE_S = 300.0


class Run:
    """Senders, epochs and kills over one fleet."""

    def __init__(self, fleet: Fleet, senders: int, seed: int) -> None:
        self._fleet, self._draw = fleet, random.Random(seed)
        self.book, self._epoch = Book(), CALENDAR.first_epoch
        fleet.set_clock(CALENDAR.end_us(self._epoch))
        self._clients = [fleet.balanced(PATIENCE_S) for _ in range(senders)]
        self._senders = [
            Sender(number, seed, client, self.book, lambda: self._epoch)  # type: ignore[arg-type]
            for number, client in enumerate(self._clients)
        ]
        self.kills: Counter[str] = Counter()
        for sender in self._senders:
            sender.start()

    def next_epoch(self) -> None:
        """Let the clocks go on, and seal what has ended; the load goes on meanwhile."""
        ended, self._epoch = self._epoch, self._epoch + 1
        self._fleet.set_clock(CALENDAR.end_us(self._epoch))
        self._fleet.client(0, PATIENCE_S).seal(ended)

    def kill(self, moment: int) -> None:
        """End a server, or two, and start them again after a while."""
        time.sleep(self._draw.uniform(0.05, 0.8))
        count = len(self._fleet.ports)
        victims = self._draw.sample(range(count), 1 if self._draw.random() < 0.8 else 2)
        if moment % 3 == 0 and self._epoch < CALENDAR.first_epoch + 18:
            self.next_epoch()  # so that some end while they close, hand over, or seal
            time.sleep(self._draw.uniform(0, 0.3))
        for victim in victims:
            self._fleet.kill(victim)
            self.kills["coordinator" if victim == 0 else "further"] += 1
        time.sleep(self._draw.uniform(0, 0.5))
        for victim in victims:
            self._fleet.start(victim)
        for sender in self._senders:
            if sender.failure is not None:
                raise AssertionError(f"{sender.name}: {sender.failure!r}") from sender.failure

    def finish(self) -> dict[str, Any]:
        """Let the senders end, seal everything, and compare what was promised with what is published."""
        for sender in self._senders:
            sender.stopping.set()
        for sender in self._senders:
            sender.join(PATIENCE_S)
        last = self._epoch + 1
        self._fleet.set_clock(CALENDAR.end_us(last))
        admin = self._fleet.client(None, PATIENCE_S)
        for epoch in range(CALENDAR.first_epoch, last + 1):
            admin.seal(epoch)
        faults: list[str] = []
        epochs = range(CALENDAR.first_epoch, last + 1)
        found = list(self._fleet.published(epochs, faults))
        self.book.compare((job, epoch) for job, epoch, _ in found)
        faults += self.book.faults + broken_promises(self._clients, {row for _, _, row in found})
        return {
            "servers": len(self._fleet.ports),
            "kills": dict(self.kills),
            "epochs": len(epochs),
            "batches": self.book.batches,
            "resent": self.book.resent,
            "jobs": len(self.book.accepted),
            "published": len(found),
            "receipts_by_server": _by_server(self._clients),
            "faults": faults,
        }


def _by_server(clients: list[BalancedClient]) -> dict[int, int]:
    answers = [answer for client in clients for _, answer in client.promised.values()]
    receipts = [answer.receipt.receipt for answer in answers if answer.receipt is not None]
    return dict(sorted(Counter(server_of(one.sequence) for one in receipts).items()))


@click.command()
@click.option("--servers", type=int, default=2, help="How many.")
@click.option("--moments", type=int, default=20, help="How often some are killed.")
@click.option("--senders", type=int, default=3, help="Clients at a time.")
@click.option("--seed", type=int, default=1, help="Order of the kills.")
@click.option("--postgres", is_flag=True, help="Control state in a PostgreSQL server of its own.")
def command(servers: int, moments: int, senders: int, seed: int, postgres: bool) -> int:
    """Kill servers at random moments under load; 0 if nothing was lost, doubled or promised in vain."""
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="servers-")))
        url = stack.enter_context(postgres_server()) if postgres else None
        control = None if url is None else {"control_url": url}
        run = Run(stack.enter_context(Fleet(root, servers, control)), senders, seed)
        for moment in range(moments):
            run.kill(moment)
        document = run.finish()
    document["seconds"] = round(time.monotonic() - started)
    click.echo(json.dumps(document, indent=1))
    return 1 if document["faults"] else 0


if __name__ == "__main__":
    sys.exit(command.main(standalone_mode=False))
