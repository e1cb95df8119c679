"""Promises are read from what a gateway keeps, and nothing that cannot be shown is taken for one."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from meridian.measure.columns import column_values
from meridian.measure.epoch import LATE_FLAG, Calendar
from meridian.measure.order import sort_order
from meridian.measure.receipt import Batch, Receipt, SignedReceipt, batch_root_of
from meridian.measure.record import decode_ndjson
from meridian.measure.row import JobRow, job_keys, job_rows, private_commitments
from meridian.node.watch.promises import GatewayPromises
from meridian.primitives.eip712 import Domain
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import Address, network_id, node_key
from meridian.primitives.keys import PrivateKey
from meridian.scenario.jobs import EPOCH_SECONDS, FIRST_EPOCH, NAME, SCHEMA, Job, Work, batch_of

WORK = Work(1_760_000_000)
CALENDAR = Calendar(WORK.genesis_s, EPOCH_SECONDS, FIRST_EPOCH)
KEY = PrivateKey(b"\x07" * 32)
DOMAIN = Domain(chain_id=31337, contract=Address(b"\xc0" * 20))
SEED = b"\x05" * 32


def tree_of(body: bytes, open_epoch: int) -> Batch:
    """The tree that an aggregator builds for a batch while `open_epoch` is open."""
    table = decode_ndjson(body, SCHEMA).table
    keys = job_keys(table.column("job_id"))
    order = sort_order(table.column("node_id"), keys)
    table, keys = table.take(order), keys[order]
    late = CALENDAR.epochs_of(column_values(table, "ended_us")) < open_epoch
    table = table.append_column("flags", [np.where(late, LATE_FLAG, 0).astype(np.uint16)])
    private = private_commitments(SCHEMA, table, [SEED] * table.num_rows)
    return Batch(SCHEMA, job_rows(SCHEMA, table, keys, private), table.column("node_id"))


class Gateway:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "batches").mkdir(parents=True)

    def keep(self, jobs: Sequence[Job], epoch: int, sequence: int = 0, root: bytes = b"") -> None:
        """Keep batch and receipt; `root` is another one than the batch's."""
        body = batch_of(jobs)
        batch = sha256(SEED, body)
        (self.directory / "batches" / f"{batch.hex()}.ndjson").write_bytes(body)
        receipt = Receipt(
            network=network_id(NAME),
            deadline_epoch=epoch,
            aggregator=KEY.address,
            sequence=sequence,
            batch_root=root or tree_of(body, epoch).root,
            received_at_us=WORK.end_us(epoch),
        )
        signed = SignedReceipt.sign(receipt, DOMAIN, KEY)
        entry = {"batch": batch.hex(), "seed": SEED.hex(), "receipt": signed.document()}
        self.append(json.dumps(entry).encode() + b"\n")

    def append(self, data: bytes) -> None:
        with (self.directory / "receipts.jsonl").open("ab") as file:
            file.write(data)

    def promises(self, node_id: str | None = None) -> GatewayPromises:
        return GatewayPromises(self.directory, SCHEMA, CALENDAR, node_id)


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return Gateway(tmp_path / "gateway")


def test_each_job_of_a_batch_is_one_promise_that_leads_to_the_receipt(gateway: Gateway) -> None:
    jobs = WORK.jobs_of(1)
    gateway.keep(jobs, 1)
    found = list(gateway.promises().new())
    assert len(found) == len(jobs)
    assert {promise.node_key for promise in found} == {node_key(job.node_id) for job in jobs}
    for promise in found:
        root = batch_root_of(promise.proof, promise.node_key, SCHEMA.lanes.kind)
        assert root == promise.receipt.receipt.batch_root
        assert promise.epochs(CALENDAR) == range(1, 2)


def test_late_jobs_are_promised_with_their_flag_and_up_to_the_deadline(gateway: Gateway) -> None:
    gateway.keep([*WORK.jobs_of(1)[:2], *WORK.jobs_of(2)[:3]], 2)
    found = list(gateway.promises().new())
    spans = sorted(tuple(promise.epochs(CALENDAR)) for promise in found)
    assert spans == [(1, 2), (1, 2), (2,), (2,), (2,)]
    flags = sorted(JobRow.decode(promise.proof.row).flags for promise in found)
    assert flags == [0, 0, 0, LATE_FLAG, LATE_FLAG]


def test_only_the_jobs_of_the_chosen_node_are_followed(gateway: Gateway) -> None:
    gateway.keep(WORK.jobs_of(1), 1)
    found = list(gateway.promises("emil").new())
    assert [promise.node_key for promise in found] == [node_key("emil")] * 2


def test_each_receipt_is_given_once_and_a_torn_line_when_it_is_whole(gateway: Gateway) -> None:
    promises = gateway.promises()
    assert not list(promises.new()), "there is no file yet"
    gateway.keep(WORK.jobs_of(1)[:2], 1)
    path = gateway.directory / "receipts.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    assert not list(promises.new())
    path.write_bytes(whole)
    assert len(list(promises.new())) == 2
    assert not list(promises.new())
    gateway.keep(WORK.jobs_of(1)[2:5], 1, sequence=1)
    assert len(list(promises.new())) == 3


@pytest.mark.parametrize(
    "line", [b"\n", b"[]\n", b'{"batch": 5}\n', b"\xff\n", b'{"receipt": {}}\n']
)
def test_nonsense_is_passed_over(gateway: Gateway, line: bytes) -> None:
    gateway.append(line)
    gateway.keep(WORK.jobs_of(1)[:2], 1)
    assert len(list(gateway.promises().new())) == 2


def test_a_receipt_over_something_else_promises_nothing_that_could_be_shown(
    gateway: Gateway,
) -> None:
    jobs = WORK.jobs_of(1)
    gateway.keep(jobs, 1, root=tree_of(batch_of(jobs[1:]), 1).root)
    assert not list(gateway.promises().new())


def test_two_receipts_of_one_number_are_both_remembered(gateway: Gateway) -> None:
    gateway.keep(WORK.jobs_of(1)[:2], 1)
    gateway.keep(WORK.jobs_of(1)[:2], 1)
    gateway.keep(WORK.jobs_of(1)[2:4], 1)
    promises = gateway.promises()
    assert len(list(promises.new())) == 6
    [both] = promises.receipts.values()
    assert len(both) == 2, "the repeated one counts once"
    assert replace(both[0].receipt, batch_root=both[1].receipt.batch_root) == both[1].receipt
