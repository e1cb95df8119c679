"""Two servers of one network: every job once, every receipt kept, whatever goes to which server and whoever is killed."""

import threading
from collections import Counter
from pathlib import Path

from tests.node.measure.measure_world import CALENDAR, lines, record
from tests.servers.fleet import Fleet, broken_promises

from meridian.measure.claims import server_of

SEED = bytes(range(32))


def test_every_job_counts_once_with_duplicates_across_and_a_server_killed(tmp_path: Path) -> None:
    with Fleet(tmp_path) as fleet:
        fleet.set_clock(CALENDAR.end_us(6))
        clients = [fleet.balanced() for _ in range(2)]
        bodies = [
            lines(record(at, second=60 if at % 2 else 3700) for at in range(start, start + 60))
            for start in range(0, 3000, 50)  # each repeats ten jobs of the one before
        ]
        answers: dict[bytes, object] = {}
        done = [threading.Event() for _ in bodies]

        def load(own: int) -> None:
            for at in range(own, len(bodies), 2):
                answers[bodies[at]] = clients[own].submit(bodies[at])
                done[at].set()

        loaders = [threading.Thread(target=load, args=(own,)) for own in range(2)]
        for loader in loaders:
            loader.start()
        for at, victim in ((8, 1), (24, 0), (40, 1)):
            assert done[at].wait(60)
            fleet.kill(victim)
            fleet.start(victim)
        for loader in loaders:
            loader.join(60)
            assert not loader.is_alive()
        for body in bodies:  # again, and once more: so each goes to either server
            assert clients[0].submit(body) == answers[body] == clients[0].submit(body)
        assert min(fleet.balancer.taken.values()) > 20
        admin = fleet.client()
        admin.seal(5)
        late = clients[0].submit(lines([record(9001, second=90)]), SEED)
        assert late.receipt is not None
        assert late.receipt.receipt.deadline_epoch == 6
        admin.seal(6)
        faults: list[str] = []
        found = list(fleet.published(range(5, 7), faults))
        assert Counter(Counter(job for job, _, _ in found).values()) == {1: 3011}
        assert faults + broken_promises(clients, {row for _, _, row in found}) == []
        numbers = {
            server_of(answer.receipt.receipt.sequence)
            for client in clients
            for _, answer in client.promised.values()
        }
        assert numbers == {0, 1}
        assert [fleet.stop(number) for number in (1, 0)] == [0, 0]
