"""After the commitment: honest aggregators are found honest, liars are found, and their own words convict them."""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from watch_world import (
    AGGREGATOR,
    CALENDAR,
    NETWORK,
    SEED,
    SPONSOR,
    VICTIM,
    WORK,
    Heard,
    WatchWorld,
)

from meridian.cli.main import main
from meridian.measure.columns import column_values
from meridian.measure.epoch import LATE_FLAG
from meridian.measure.order import sort_order
from meridian.measure.receipt import Batch, Receipt, SignedReceipt
from meridian.measure.record import decode_ndjson
from meridian.measure.row import job_keys, job_rows, private_commitments
from meridian.node.chain_view import EpochCommitments
from meridian.node.measure.client import NDJSON
from meridian.node.measure.sent_records import rebuilt_jobs
from meridian.node.receipt_check import CheckResult, ReceiptCheck
from meridian.node.receipt_store import Form, KeptBatch, ReceiptStore, Verdict
from meridian.primitives.cid import cid_text
from meridian.primitives.hashing import sha256
from meridian.scenario.jobs import JOBS, NAME, SCHEMA, Job, batch_of

ALL = sum(JOBS.values())


def root_of(body: bytes, open_epoch: int) -> bytes:
    """The batch root as an aggregator makes it while `open_epoch` is open."""
    table = decode_ndjson(body, SCHEMA).table
    keys = job_keys(table.column("job_id"))
    order = sort_order(table.column("node_id"), keys)
    table, keys = table.take(order), keys[order]
    late = CALENDAR.epochs_of(column_values(table, "ended_us")) < open_epoch
    table = table.append_column("flags", [np.where(late, LATE_FLAG, 0).astype(np.uint16)])
    private = private_commitments(SCHEMA, table, [SEED] * table.num_rows)
    return Batch(SCHEMA, job_rows(SCHEMA, table, keys, private), table.column("node_id")).root


class Sender:
    """Who submitted to the village's aggregator, and kept what it promised."""

    def __init__(self, world: WatchWorld) -> None:
        self.world, self.fetched = world, list[str]()
        self.store = ReceiptStore(world.root / "receipts")
        self.sequence = 0

    def promise(
        self, jobs: Sequence[Job], epoch: int, *, deadline: int | None = None, bare: bool = False
    ) -> KeptBatch:
        """Keep jobs that were promised while `epoch` was open; `bare`: without a schema at hand."""
        body, network = batch_of(jobs), self.world.network
        receipt = Receipt(
            network=NETWORK,
            deadline_epoch=epoch if deadline is None else deadline,
            aggregator=AGGREGATOR.address,
            sequence=self.sequence,
            batch_root=root_of(body, epoch),
            received_at_us=WORK.end_us(epoch),
        )
        self.sequence += 1
        domain = network.domain(network.contracts.commitments)
        kept = KeptBatch(
            batch=sha256(SEED, body),
            seed=SEED,
            source="jobs.ndjson",
            first=1,
            content_type=NDJSON,
            accepted=len(jobs),
            duplicates=0,
            receipt=SignedReceipt.sign(receipt, domain, AGGREGATOR),
        )
        if bare:
            self.store.keep(kept, Form.BODY, body)
        else:
            first, promised = rebuilt_jobs(body, kept, SCHEMA, CALENDAR)
            self.store.keep(replace(kept, first_epoch=first), Form.PROMISED, promised)
        return kept

    def fetch(self, digest: bytes) -> bytes:
        self.fetched.append(cid_text(digest))
        return self.world.measured.get(digest)

    def check(self, **more: Any) -> CheckResult:
        known: dict[int, EpochCommitments] = {}
        self.world.view.follow_commitments(known)
        again = more.pop("again", True)
        return ReceiptCheck(
            self.store,
            schema=SCHEMA,
            calendar=CALENDAR,
            commitments={epoch: one.standing for epoch, one in known.items() if one.standing},
            fetch=self.fetch,
            **more,
        ).run(again=again)


@pytest.fixture
def sender(world: WatchWorld) -> Iterator[Sender]:
    made = Sender(world)
    yield made
    made.store.close()


def missing_ids(result: CheckResult) -> set[str]:
    return {one.job_id for one in result.first_missing}


def test_who_sent_all_jobs_needs_none_of_them_to_know_that_they_count(sender: Sender) -> None:
    jobs = WORK.jobs_of(1)
    for start in range(0, len(jobs), 7):
        sender.promise(jobs[start : start + 7], 1)
    before = sender.check()
    assert (before.pending, before.pending_epochs, before.counted) == (ALL, {1}, {})
    sender.world.commit(1)
    result = sender.check()
    assert (result.counted, result.missing, result.pending) == ({1: ALL}, 0, 0)
    assert len(sender.fetched) == 2, "the manifest and the nodes, and no segment"
    assert {one.verdict for one in sender.store.batches()} == {Verdict.COUNTED}
    assert sender.check(again=False).batches == 0, "what is counted stays so"


def test_jobs_of_other_senders_are_no_obstacle(sender: Sender) -> None:
    jobs = WORK.jobs_of(1)
    own = [job for at, job in enumerate(jobs) if at % 3]
    sender.promise(own, 1)
    sender.world.commit(1)
    assert sender.check().counted == {1: len(own)}
    for bounds in ({"jobs_max": 4}, {"jobs_max": 1}):
        again = sender.check(**bounds)
        assert (again.counted, again.missing) == ({1: len(own)}, 0), "in passes over the nodes"


def test_each_job_that_was_left_out_or_altered_is_found(sender: Sender) -> None:
    jobs = WORK.jobs_of(1)
    sender.promise(jobs[:20], 1)
    sender.promise(jobs[20:], 1)
    altered = [
        replace(job, ended_us=job.ended_us - 1) if at in (3, 21) else job
        for at, job in enumerate(jobs)
        if at not in (5, 28)
    ]
    sender.world.commit(1, altered)
    result = sender.check()
    assert missing_ids(result) == {jobs[at].job_id for at in (3, 5, 21, 28)}
    assert result.counted == {1: ALL - 4}
    assert {one.batch.first + one.index for one in result.first_missing} == {4, 6, 2, 9}
    assert {one.verdict for one in sender.store.batches()} == {Verdict.MISSING}


def test_late_jobs_count_in_the_epoch_of_the_deadline(sender: Sender) -> None:
    late, own = WORK.jobs_of(1)[:6], WORK.jobs_of(2)
    sender.promise([*late, *own], 2)
    sender.promise(WORK.jobs_of(1)[6:], 1)
    sender.world.commit(1, WORK.jobs_of(1)[6:])
    assert sender.check().pending_epochs == {2}
    sender.world.commit(2, [*own, *late])
    result = sender.check()
    assert (result.counted, result.missing) == ({1: ALL - 6, 2: ALL + 6}, 0)


def test_what_is_not_published_is_no_verdict_about_jobs(sender: Sender) -> None:
    sender.promise(WORK.jobs_of(1)[:9], 1)
    sender.world.commit(1, lie="withholds-data")
    result = sender.check()
    assert (result.pending, result.missing, result.counted) == (9, 0, {})
    assert 1 in result.problems


def test_batches_that_were_kept_without_a_schema_are_completed_then(sender: Sender) -> None:
    sender.promise(WORK.jobs_of(1), 1, bare=True)
    sender.world.commit(1)
    held = sender.store.kept_bytes()
    assert sender.check().counted == {1: ALL}
    [batch] = sender.store.batches()
    kept = sender.store.jobs(batch.number)
    assert kept is not None
    assert (kept[0], batch.first_epoch) == (Form.PROMISED, 1)
    assert sender.store.kept_bytes() == len(kept[1]) != held
    assert sender.store.drop_jobs(1) == 0, "its deadline is not before"
    assert sender.store.drop_jobs(2) == 1
    assert (sender.store.kept_bytes(), sender.store.jobs(batch.number)) == (0, None)


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_a_liar_is_found_by_the_command_and_convicted_with_the_file_that_it_writes(
    sender: Sender, endpoint: str, tmp_path: Path
) -> None:
    world, jobs = sender.world, WORK.jobs_of(1)
    sender.promise(jobs, 1)
    world.commit(1, lie="drops-jobs")
    where = ["--data-dir", world.data, "--receipts", world.root / "receipts"]
    found = run("receipt", "check", *where, "--json")
    told = json.loads(found.stdout)
    assert found.exit_code == 1
    assert (told["missing"], told["counted"]) == (JOBS[VICTIM], {"1": ALL - JOBS[VICTIM]})
    assert {one["node_id"] for one in told["first_missing"]} == {VICTIM}
    [path] = told["accusations"]
    gone = told["first_missing"][0]["job_id"]
    one = run("receipt", "check", *where, "--job", gone)
    assert (one.exit_code, "stands in none of the epochs 1" in one.stdout) == (1, True)
    counted = run("receipt", "check", *where, "--job", "anna-1-3")
    assert (counted.exit_code, "counted in epoch 1: number" in counted.stdout) == (0, True)
    kept = run("receipt", "prove", *where, "--job", "anna-1-3", "-o", tmp_path / "none.json")
    assert (kept.exit_code, "counted in epoch 1" in kept.stderr) == (2, True)
    said = run("receipt", "check", *where)
    assert f"meridian chain dispute send --data-dir {world.data} --file {path}" in said.stdout

    key = tmp_path / "sponsor.key"
    key.write_text(SPONSOR.secret.hex())
    key.chmod(0o600)
    sent = run(
        "chain", "dispute", "send", "--data-dir", world.data, "--file", path, "--key", key, "--yes"
    )
    assert sent.exit_code == 0, sent.output
    assert 1 not in world.view.standing(), "the commitment is void"
    assert AGGREGATOR.address not in world.view.aggregators() or not world.view.standing()
    assert world.network.network == NAME


def test_a_watcher_reads_the_same_directory_and_convicts_by_itself(sender: Sender) -> None:
    world, jobs = sender.world, WORK.jobs_of(1)
    sender.promise(jobs, 1)
    world.commit(1, lie="drops-jobs")
    heard = Heard()
    with closing(world.watcher(heard, gateway_dir=world.root / "receipts")) as watcher:
        watcher.round()
    [accusation] = heard.of("accusation")
    assert (accusation["kind"], accusation["result"]) == ("omission", "proven")
    assert 1 not in world.view.standing()


def test_list_and_show_tell_what_is_kept(sender: Sender) -> None:
    batch = sender.promise(WORK.jobs_of(1), 1)
    receipts = sender.world.root / "receipts"
    listed = run("receipt", "list", "--receipts", receipts)
    assert (listed.exit_code, batch.batch.hex()[:12] in listed.stdout) == (0, True)
    [words] = json.loads(run("receipt", "list", "--receipts", receipts, "--json").stdout)
    assert (words["accepted"], words["state"], words["deadline"]) == (ALL, "pending", 1)
    shown = json.loads(run("receipt", "show", batch.batch.hex()[:9], "--receipts", receipts).stdout)
    assert shown["signature_holds"] is True
    assert run("receipt", "show", "ffff", "--receipts", receipts).exit_code == 3
    assert run("receipt", "list", "--receipts", receipts / "none").exit_code == 3


def test_a_store_that_is_full_keeps_no_receipt_whose_jobs_it_cannot_keep(
    sender: Sender, tmp_path: Path
) -> None:
    from meridian.errors import StorageFailure

    kept = sender.promise(WORK.jobs_of(1), 1)
    first, promised = rebuilt_jobs(batch_of(WORK.jobs_of(1)), kept, SCHEMA, CALENDAR)
    with closing(ReceiptStore(tmp_path / "small", bytes_max=len(promised) - 1)) as small:
        with pytest.raises(StorageFailure, match="wait for their check"):
            small.keep(replace(kept, first_epoch=first), Form.PROMISED, promised)
        assert small.batch(kept.batch) is None
