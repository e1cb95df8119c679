"""Two servers of one network: every job once, every receipt kept, whatever goes to which server and whoever is killed."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from tests.node.measure.measure_world import CALENDAR, lines, record
from tests.node.postgres_server import postgres_server
from tests.node.stores.s3_server import s3_server
from tests.servers.fleet import Fleet, broken_promises

from meridian.errors import MeridianError
from meridian.measure.claims import server_of
from meridian.measure.manifest import Manifest
from meridian.node.control.control import Taken
from meridian.node.measure.client import MeasureClient
from meridian.node.measure.membership import join
from meridian.node.stores.config import StoreConfig
from meridian.node.stores.s3 import S3Store
from meridian.primitives.cid import parse_cid

CONFIRMED_S = 1.2
"""After so long a further server has told the coordinator what is on its disk."""
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
        assert done[20].wait(60)
        fleet.kill(1)
        fleet.start(1)
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


def test_postgres_and_a_bucket_and_servers_that_are_away_at_the_seal(tmp_path: Path) -> None:
    """Control state in PostgreSQL, artefacts in an S3-protocol server; the seal waits, and goes on after the coordinator's end."""
    with postgres_server() as url, s3_server(tmp_path) as bucket:
        account = tmp_path / "s3.account"
        account.write_text(f"{bucket.credentials.access_key}\n{bucket.credentials.secret_key}\n")
        account.chmod(0o600)
        store = StoreConfig(
            kind="s3",
            endpoint=bucket.endpoint,
            bucket=bucket.name,
            prefix=bucket.prefix,
            credentials_file=account,
        )
        with Fleet(tmp_path, control={"control_url": url}, store=store) as fleet:
            fleet.set_clock(CALENDAR.end_us(5))
            client, admin = fleet.balanced(), fleet.client(0)
            body, again = (
                lines(record(at) for at in range(start, start + 30)) for start in (0, 20)
            )
            first = fleet.client(1).submit(body)
            time.sleep(CONFIRMED_S)
            assert client.submit(body) == client.submit(body) == first
            assert client.submit(again).duplicates == 10
            assert fleet.client(0).receipt(first.batch) == fleet.client(1).receipt(first.batch)
            fleet.kill(1)
            assert fleet.client(0).submit(lines([record(77)])).accepted == 1
            admin.seal(5)
            problem = _problem(admin)
            assert "server 1" in problem or "measure service at" in problem
            fleet.kill(0)
            fleet.start(1)  # without the coordinator nothing is promised
            with pytest.raises(MeridianError, match="busy"):
                fleet.client(1, patience_s=0.5).submit(lines([record(78)]))
            fleet.start(0)
            faults: list[str] = []
            rows = {row for _, _, row in fleet.published(range(5, 6), faults)}
            assert len(rows) == 51
            assert faults + broken_promises([client], rows) == []
            index = fleet.client(1).epoch(5)  # a further server passes on what it does not have
            assert (index["state"], index["jobs"], index["duplicates"]) == ("committed", 51, 10)
            wait_for(lambda: not (fleet.configs[0].data_dir / "handed/000005").exists())
            servers = fleet.configs[1].servers
            assert servers is not None
            (tmp_path / "other").mkdir()
            with (
                contextlib.ExitStack() as stack,
                pytest.raises(Taken, match="number 1 belongs to another data directory"),
            ):
                join(servers, "test", tmp_path / "other", stack)
            with pytest.raises(HTTPError, match="401"):  # the gateway's token is not the servers'
                urlopen(
                    Request(
                        f"http://127.0.0.1:{fleet.ports[0]}/v1/servers/claims", b"", method="POST"
                    )
                )
        with contextlib.closing(S3Store(bucket)) as published:
            names = set(published.names())
            manifest = parse_cid(index["manifest"])[1]
            assert Manifest.decode(published.get(manifest)).jobs == 51
        assert {"epochs/000005.json", "log/checkpoint"} <= names


def _problem(client: MeasureClient) -> str:
    found: list[str] = []

    def look() -> bool:
        problem = client.epoch(5)["problem"]
        found.append(problem or "")
        return problem is not None

    wait_for(look)
    return found[-1]


def wait_for(holds: Callable[[], bool], patience_s: float = 30.0) -> None:
    end = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < end, "it did not come in time"
        time.sleep(0.05)
