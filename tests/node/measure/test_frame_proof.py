"""Whatever senders do, no honest aggregator can be convicted: by a promise, a job counted twice, or a number given twice."""

import json
import tempfile
from concurrent.futures import Future
from itertools import combinations
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from measure_world import CALENDAR, NODES, SCHEMA, lines, record
from test_measure_crashes import KEY, Service

from meridian.disputes.commitment_faults import find_faults
from meridian.disputes.promises import Promise, SortedEpoch, double_receipt, duplicates, omission
from meridian.measure.batch_decode import Body, BodyKind, decode_batch
from meridian.measure.epoch_log import EpochRecord
from meridian.measure.promised import accepted_jobs, promised_jobs, rows_of
from meridian.measure.receipt import Batch, SignedReceipt
from meridian.node.chain_view import Commitment
from meridian.node.measure.grouping import Submitted
from meridian.node.measure.published_log import read_log_entries
from meridian.node.watch.published import published_epoch
from meridian.primitives.ids import node_key

LAST = 9
Sent: TypeAlias = tuple[list[dict[str, Any]], bytes | None]
"""The records of a batch, and the seed that its sender chose."""

jobs = st.tuples(
    st.integers(0, 9),  # few ids, so that jobs come again
    st.sampled_from([0, 0, 1, 2, 3]),  # the hour in which it ended
    st.sampled_from([0, 0, 0, 20]),  # another content under the same id
)
seeds = st.sampled_from([None, None, bytes(32), bytes([1]) * 32])
moves = st.one_of(
    st.tuples(st.just("send"), st.lists(jobs, min_size=1, max_size=6), seeds),
    st.tuples(st.just("again"), st.integers(0, 9), st.booleans()),
    st.tuples(st.just("part"), st.integers(0, 9), seeds),
    st.tuples(st.just("together"), st.integers(0, 9), st.integers(0, 9)),
    st.tuples(st.just("seal"), st.just(0), st.just(0)),
    st.tuples(st.just("restart"), st.just(0), st.just(0)),
)


class Senders:
    """Two senders with one set of jobs, and what they were promised."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.service = Service(root)
        self.epoch = CALENDAR.first_epoch
        self.sent: list[Sent] = []
        self.answers: dict[bytes, dict[str, Any]] = {}
        self.promises: list[Promise] = []
        self.receipts: list[SignedReceipt] = []
        self.service.intake.set_clock(CALENDAR.start_us(self.epoch + 2)).result(20)

    def make(self, move: tuple[str, Any, Any]) -> None:
        match move:
            case "send", chosen, seed:
                records = [
                    record(number + value, job_id=f"job-{number}", node=NODES[number % 3], second=hour * 3600 + 60)
                    for number, hour, value in chosen
                ]  # fmt: skip
                self.send([(records, seed)])
            case "again", which, same_seed if self.sent:
                records, seed = self.sent[which % len(self.sent)]
                self.send([(records, seed if same_seed else bytes([2]) * 32)])
            case "part", which, seed if self.sent:
                records, _ = self.sent[which % len(self.sent)]
                half = len(records) // 2 + 1
                self.send([(records[:half], seed), (records[half:], seed)])
            case "together", one, other if self.sent:
                self.send([self.sent[at % len(self.sent)] for at in (one, other, one)])
            case "seal", _, _ if self.epoch < LAST:
                self.service.intake.set_clock(CALENDAR.end_us(self.epoch)).result(20)
                self.service.intake.seal(self.epoch).result(20)
                self.epoch += 1
            case "restart", _, _:
                self.service.end()
                self.service = Service(self.root)

    def send(self, batches: list[Sent]) -> None:
        """Hand several batches in at once: they are admitted as one group."""
        waiting = []
        for records, seed in batches:
            if records:
                reply: Future[bytes] = Future()
                body = Body(BodyKind.NDJSON, lines(records))
                self.service.intake.submit(Submitted(body, seed), reply)
                waiting.append((records, seed, reply))
        for records, seed, reply in waiting:
            self.sent.append((records, seed))
            self.keep(records, json.loads(reply.result(20)))

    def keep(self, records: list[dict[str, Any]], answer: dict[str, Any]) -> None:
        if answer["receipt"] is None:  # nothing of it was taken: it may be judged anew
            return
        known = self.answers.setdefault(bytes.fromhex(answer["batch"]), answer)
        assert known == answer, "a batch that is sent again gets its first answer"
        if known is not answer:
            return
        signed = SignedReceipt.read(answer["receipt"])
        table = decode_batch(lines(records), BodyKind.NDJSON, SCHEMA).table
        refused = np.array([one["index"] for one in answer["rejected"]], dtype=np.int64)
        accepted = accepted_jobs(table, refused)
        seed = bytes.fromhex(answer["seed"])
        promised = promised_jobs(accepted, seed, SCHEMA, CALENDAR, signed)
        rows, names = rows_of(promised), promised.column("node_id").cast("string")
        tree = Batch(SCHEMA, rows, names)
        self.receipts.append(signed)
        for name, job in zip(names.to_pylist(), promised.column("job_id").to_pylist(), strict=True):
            self.promises.append(Promise(signed, node_key(name), tree.prove(name, job)))

    def committed(self) -> dict[int, SortedEpoch]:
        """Seal and commit every epoch, and read what is published as an accuser does."""
        self.service.intake.set_clock(CALENDAR.end_us(LAST)).result(20)
        for epoch in range(self.epoch, LAST + 1):
            self.service.intake.seal(epoch).result(20)
        self.make(("restart", 0, 0))
        self.service.settle(LAST)
        assert self.service.settling.failure is None
        self.service.end()
        entries = read_log_entries(self.root / "public/log", LAST - CALENDAR.first_epoch + 1)
        found = {}
        for one in map(EpochRecord.decode, entries):
            commitment = Commitment(
                one.epoch, KEY.address, one.root, one.n_nodes, one.annotation, one.manifest, bytes(32), bytes(32), 0
            )  # fmt: skip
            published = published_epoch(commitment, SCHEMA.digest, self.artefact)
            assert find_faults(published) == []
            found[one.epoch] = SortedEpoch(published)
        return found

    def artefact(self, digest: bytes) -> bytes:
        return self.service.settling._publication.get(digest)


@given(st.lists(moves, min_size=1, max_size=14))
@settings(max_examples=20, deadline=None)
def test_no_order_of_sending_resending_splitting_delaying_and_restarts_convicts_an_honest_aggregator(
    chosen: list[tuple[str, Any, Any]],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        senders = Senders(Path(name))
        for move in chosen:
            senders.make(move)
        epochs = senders.committed()
        for promise in senders.promises:
            assert set(promise.epochs(CALENDAR)) <= epochs.keys()
            assert omission(promise, epochs, CALENDAR) is None
        for first, second in combinations(sorted(epochs), 2):
            assert list(duplicates(epochs[first], epochs[second], CALENDAR)) == []
        for one, other in combinations(senders.receipts, 2):
            assert double_receipt(one, other) is None


def test_a_promise_is_found_broken_where_its_job_does_not_stand() -> None:
    """The same judge convicts: epoch 5 is shown without the job, or with it twice."""
    with tempfile.TemporaryDirectory() as name:
        senders = Senders(Path(name))
        senders.make(("send", [(1, 0, 0)], None))
        (promise,) = senders.promises
        epochs = senders.committed()
        assert omission(promise, epochs, CALENDAR) is None
        elsewhere = epochs | {5: epochs[6], 6: epochs[6]}
        assert omission(promise, elsewhere, CALENDAR) is not None
        assert len(list(duplicates(epochs[5], epochs[5], CALENDAR))) == 1
