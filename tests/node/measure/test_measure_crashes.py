"""kill -9 at any moment: what was acknowledged is in its epoch exactly once, and every epoch is committed once."""

import json
import os
import threading
from collections import Counter
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from measure_world import CALENDAR, NODES, SCHEMA, Process, lines, make_config, record, write_nodes

from meridian.errors import Overloaded, RemoteFault, StorageFailure
from meridian.journey.host import free_port
from meridian.measure.batch_decode import Body, BodyKind
from meridian.measure.commitment import load_epoch, verify_epoch
from meridian.measure.epoch import PlacementRules
from meridian.measure.epoch_log import EpochRecord, verify_log
from meridian.measure.manifest import Manifest
from meridian.measure.seen_jobs import SeenJobs
from meridian.measure.signed_note import verifier_of
from meridian.measure.tiles import decode_bundle, encode_bundle
from meridian.node import durable_file
from meridian.node.measure import journal as journal_module
from meridian.node.measure import publication as publication_module
from meridian.node.measure import published_log as log_module
from meridian.node.measure.grouping import Aggregator, Submitted
from meridian.node.measure.intake import Intake
from meridian.node.measure.job_log import JobLog
from meridian.node.measure.journal import Journal, open_journal
from meridian.node.measure.ledger import FileLedger
from meridian.node.measure.nodes import FileNodes, NodeDirectory
from meridian.node.measure.publication import Publication
from meridian.node.measure.published_log import PublishedLog, SignedState, read_log_entries
from meridian.node.measure.settling import Settling
from meridian.primitives.cid import parse_cid
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, network_id
from meridian.primitives.keys import PrivateKey

KEY = PrivateKey(bytes(31) + b"\x05")
LOG_SEED = bytes(range(32))


def test_sigkill_under_load_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """One client submits, resends and seals while the process is killed again and again."""
    config = make_config(tmp_path, listen_port=free_port(0))
    process = Process(tmp_path, config)
    client = process.client(patience_s=60)
    client.set_clock(CALENDAR.end_us(6))
    batches = [
        lines(record(at, second=60 if at % 2 else 3700) for at in range(start, start + 200))
        for start in range(0, 8000, 200)
    ]
    acknowledged: list[Any] = []
    moments = [threading.Event() for _ in batches]

    def load() -> None:
        for number, body in enumerate(batches):
            if number == 25:
                client.seal(5)
            acknowledged.append(client.submit(body))
            moments[number].set()

    loader = threading.Thread(target=load)
    loader.start()
    for number in (3, 9, 16, 24, 25, 31):
        assert moments[number].wait(60)
        process.kill()
        process = Process(tmp_path, config)
    loader.join(90)
    assert not loader.is_alive()
    client = process.client()
    again = [client.submit(body) for body in batches]
    assert again == acknowledged
    client.seal(6)
    process.kill()
    process = Process(tmp_path, config)
    client = process.client()
    client.wait_committed(6)
    jobs: list[tuple[str, str, int]] = []
    for epoch in (5, 6):
        manifest = Manifest.decode(client.artefact(parse_cid(client.epoch(epoch)["manifest"])[1]))
        nodes, table = load_epoch(manifest, SCHEMA, client.artefact)
        assert verify_epoch(manifest, SCHEMA, nodes, table, CALENDAR) == []
        jobs += [
            (row["node_id"], row["job_id"], epoch)
            for row in table.select(["node_id", "job_id"]).to_pylist()
        ]
    assert process.stop() == 0
    counted = Counter((node, job) for node, job, _ in jobs)
    assert set(counted.values()) == {1}
    assert sum(answer.accepted for answer in acknowledged) == len(jobs) == 8000
    assert {job for _, job, _ in jobs} == {f"job-{at:08d}" for at in range(8000)}
    sequences = [answer.receipt.receipt.sequence for answer in acknowledged]
    assert sequences == list(range(len(batches)))
    ledger = (config.data_dir / "commitments.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in ledger] == [5, 6]


class Crash(BaseException):
    """Stands for the end of the process."""


class CrashingDisk:
    """Ends the process before its n-th durable write."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = -1
        self.writes = 0
        real = durable_file.write_durably

        def write(path: Path, data: bytes, mode: int = 0o644) -> None:
            self.writes += 1
            if self.left == 0:
                raise Crash
            self.left -= 1
            real(path, data, mode)

        monkeypatch.setattr(publication_module, "write_durably", write)
        monkeypatch.setattr(log_module, "write_durably", write)


class Service:
    """Journal, intake and settling in this process, without HTTP."""

    def __init__(
        self, root: Path, ledger: Any = None, *, seen_max: int = 100_000, nodes: list[str] = NODES
    ) -> None:
        config = make_config(root, nodes)
        self.root = root
        self.directory = NodeDirectory(FileNodes(root / "nodes.json"))
        self.directory.refresh()
        self.journal: Journal = open_journal(
            root / "log",
            SCHEMA,
            CALENDAR.first_epoch,
            seen=SeenJobs(bytes(32), seen_max),
            bytes_max=1 << 30,
            remembered_epochs=2,
        )
        self.events: list[tuple[str, int]] = []
        self.settling = Settling(
            network="test",
            schema=SCHEMA,
            aggregator=KEY.address,
            first_epoch=CALENDAR.first_epoch,
            data_dir=root,
            memory_bytes=64 << 20,
            journal=self.journal,
            directory=self.directory,
            publication=Publication(root / "public"),
            ledger=ledger or FileLedger(root / "commitments.jsonl"),
            log=PublishedLog(
                root / "public/log", SignedState(root / "log.signed"), "meridian/test", LOG_SEED
            ),
            on_event=lambda event, fields: self.events.append((event, fields["epoch"])),
        )
        aggregator = Aggregator(
            network_id=network_id("test"),
            schema=SCHEMA,
            rules=PlacementRules(CALENDAR),
            key=KEY,
            domain=Domain(1, Address(bytes(20))),
            seed_secret=bytes(32),
            replay=config.replay,
            signed_within_us=config.signed_within_us,
        )
        self.intake = Intake(aggregator, self.journal, self.directory, self.settling.add)
        self.intake.start()

    def submit(self, body: bytes) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.waiting(body).result(20))
        return answer

    def waiting(self, body: bytes) -> "Future[bytes]":
        reply: Future[bytes] = Future()
        self.intake.submit(Submitted(Body(BodyKind.NDJSON, body)), reply)
        return reply

    def settle(self, through: int) -> None:
        """Run the settling thread until the epoch is committed or the thread has ended."""
        self.settling.start()
        while self.settling.settled_before <= through and self.settling.failure is None:
            threading.Event().wait(0.005)

    def end(self) -> None:
        self.intake.stop()
        self.settling.stop()
        self.journal.close()


def fill(root: Path) -> None:
    """Two sealed epochs with jobs and an input, nothing settled."""
    service = Service(root)
    service.intake.set_clock(CALENDAR.end_us(6)).result(20)
    service.submit(lines(record(at) for at in range(300)))
    service.submit(lines(record(at, second=3700) for at in range(300, 500)))
    service.intake.put_input(5, "health", bytes(32)).result(20)
    service.intake.seal(5).result(20)
    service.intake.seal(6).result(20)
    service.end()


def published(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted([*(root / "public").rglob("*"), root / "commitments.jsonl"])
        if path.is_file()
    }


def test_a_crash_before_any_write_leads_to_the_same_publication(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = tmp_path / "reference"
    fill(reference)
    disk = CrashingDisk(monkeypatch)
    service = Service(reference)
    service.settle(6)
    service.end()
    expected, writes = published(reference), disk.writes
    assert writes > 10
    assert service.events == [("sealed", 5), ("committed", 5), ("sealed", 6), ("committed", 6)]
    for crash_at in range(writes):
        root = tmp_path / str(crash_at)
        fill(root)
        disk.left = crash_at
        service = Service(root)
        service.settle(6)
        assert isinstance(service.settling.failure, Crash)
        service.end()
        disk.left = -1
        service = Service(root)
        service.settle(6)
        service.end()
        assert published(root) == expected
    entries = read_log_entries(reference / "public/log", 2)
    note = (reference / "public/log/checkpoint").read_bytes()
    assert verify_log(note, entries, verifier_of("meridian/test", LOG_SEED)).size == 2


class FlakyLedger:
    """Commits, but loses some answers, and is away at first."""

    def __init__(self, path: Path) -> None:
        self._ledger = FileLedger(path)
        self.calls = 0

    def self_committed(self, epoch: int) -> tuple[()]:
        return ()

    def commit(self, record: EpochRecord, tree_hash: bytes) -> Any:
        self.calls += 1
        if self.calls == 1:
            raise RemoteFault("nobody answers")
        committed = self._ledger.commit(record, tree_hash)
        if self.calls == 2:
            raise RemoteFault("the answer was lost")
        return committed


def test_a_ledger_that_is_away_is_asked_again_and_ingest_goes_on(tmp_path: Path) -> None:
    fill(tmp_path)
    ledger = FlakyLedger(tmp_path / "commitments.jsonl")
    service = Service(tmp_path, ledger)
    service.settling.start()
    while service.settling.problem is None:
        threading.Event().wait(0.005)
    assert (
        service.submit(lines([record(900, second=7300)]))["rejected"][0]["reason"]
        == "ahead_of_clock"
    )
    assert service.submit(lines([record(901, second=3700)]))["accepted"] == 1
    while service.settling.settled_before <= 6:
        threading.Event().wait(0.005)
    service.end()
    assert len((tmp_path / "commitments.jsonl").read_text().splitlines()) == 2
    assert ledger.calls == 4


def test_a_torn_line_of_the_file_ledger_is_not_a_commitment(tmp_path: Path) -> None:
    path = tmp_path / "commitments.jsonl"
    entry = EpochRecord(bytes(32), 5, KEY.address, bytes(32), 0, bytes(24), b"\x01" * 32)
    path.write_text('{"epoch": 5, "rec')
    for _ in range(2):
        assert FileLedger(path).commit(entry, bytes(32)).tx_hash == entry.manifest.hex()
    assert len(path.read_text().splitlines()) == 2


def test_another_commitment_for_the_epoch_stops_the_service(tmp_path: Path) -> None:
    fill(tmp_path)
    other = EpochRecord(bytes(32), 5, KEY.address, bytes(32), 0, bytes(24), bytes(32))
    FileLedger(tmp_path / "commitments.jsonl").commit(other, bytes(32))
    service = Service(tmp_path)
    service.settle(6)
    service.end()
    assert "another root" in str(service.settling.failure)


def test_a_signed_epoch_log_is_never_rewritten(tmp_path: Path) -> None:
    fill(tmp_path)
    service = Service(tmp_path)
    service.settle(6)
    service.end()
    bundle = tmp_path / "public/log/tile/entries/000.p/2"
    entries = decode_bundle(bundle.read_bytes(), 2)
    changed = bytes([*entries[1][:60], entries[1][60] ^ 1, *entries[1][61:]])
    bundle.write_bytes(encode_bundle([entries[0], changed]))
    index = json.loads((tmp_path / "public/epochs/000006.json").read_text())
    index["state"] = "sealed"
    (tmp_path / "public/epochs/000006.json").write_text(json.dumps(index))
    service = Service(tmp_path)
    service.settle(6)
    service.end()
    assert "over other entries than these" in str(service.settling.failure)


def test_more_jobs_than_fit_in_memory_are_put_off(tmp_path: Path) -> None:
    service = Service(tmp_path, seen_max=10)
    service.intake.set_clock(CALENDAR.end_us(9)).result(20)
    service.submit(lines(record(at) for at in range(8)))
    more = lines(record(at) for at in range(8, 12))
    with pytest.raises(Overloaded):
        service.submit(more)
    for epoch in (5, 6, 7):
        service.intake.seal(epoch).result(20)
    later = lines(record(at, second=3 * 3600 + 5) for at in range(8, 12))
    assert service.submit(later)["accepted"] == 4
    service.end()


def test_settled_files_of_the_log_are_deleted_and_nothing_is_forgotten_that_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        journal_module, "JobLog", lambda path, bytes_max: JobLog(path, bytes_max, file_bytes=20_000)
    )
    service = Service(tmp_path)
    service.settling.start()
    service.intake.set_clock(CALENDAR.end_us(20)).result(20)
    for epoch in range(5, 15):
        bodies = [
            lines(
                record(epoch * 1000 + at, second=(epoch - 5) * 3600 + 9)
                for at in range(start, start + 40)
            )
            for start in (0, 40)
        ]
        answers = [service.submit(body) for body in bodies]
        assert sum(answer["accepted"] for answer in answers) == 80
        service.intake.seal(epoch).result(20)
    while service.settling.settled_before < 15:
        threading.Event().wait(0.005)
    before = len(list((tmp_path / "log").glob("jobs-*.log")))
    service.intake.prune(15).result(20)
    service.end()
    after = len(list((tmp_path / "log").glob("jobs-*.log")))
    assert 1 < after < before
    service = Service(tmp_path)
    assert (service.journal.open_epoch, service.journal.clock_us) == (15, CALENDAR.end_us(20))
    assert service.submit(bodies[0]) == answers[0]
    assert service.journal.sequence == 20
    assert service.submit(bodies[0] + b"\n")["accepted"] == 0
    service.end()


def test_an_epoch_waits_for_registrations_that_cannot_be_read_and_is_not_lost(
    tmp_path: Path,
) -> None:
    fill(tmp_path)
    service = Service(tmp_path, nodes=NODES[:3])
    service.settling.start()
    while service.settling.problem is None:
        threading.Event().wait(0.005)
    assert "cannot be read" in service.settling.problem
    write_nodes(tmp_path / "nodes.json", NODES)
    while service.settling.settled_before <= 6:
        threading.Event().wait(0.005)
    service.end()


def test_nothing_is_acknowledged_before_it_is_on_disk_and_one_sync_serves_all_who_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(tmp_path)
    service.intake.set_clock(CALENDAR.end_us(5)).result(20)
    entered, release, syncs = threading.Event(), threading.Event(), []
    real = os.fdatasync

    def sync(descriptor: int) -> None:
        syncs.append(descriptor)
        entered.set()
        assert release.wait(20)
        real(descriptor)

    monkeypatch.setattr("os.fdatasync", sync)
    first = service.waiting(lines([record(0)]))
    assert entered.wait(20)
    others = [service.waiting(lines([record(at)])) for at in range(1, 20)]
    assert not first.done()
    release.set()
    answers = [json.loads(one.result(20)) for one in (first, *others)]
    assert [answer["accepted"] for answer in answers] == [1] * 20
    assert len(syncs) == 2
    monkeypatch.undo()
    service.end()


def test_after_a_failed_sync_nothing_is_promised_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(tmp_path)
    service.intake.set_clock(CALENDAR.end_us(5)).result(20)

    def refuse(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fdatasync", refuse)
    answer = service.waiting(lines([record(0)]))
    with pytest.raises(StorageFailure):
        answer.result(20)
    monkeypatch.undo()
    while service.intake.failure is None:
        threading.Event().wait(0.005)
    with pytest.raises(StorageFailure):
        service.waiting(lines([record(1)])).result(20)
    service.end()
