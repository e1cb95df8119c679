"""Senders that never stop: batches of every size, resent, repeated in part, late; and a book of what was acknowledged."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from tests.node.measure.measure_world import CALENDAR, NODES, lines, record

from meridian.measure.times import parse_time
from meridian.node.measure.client import Answer, MeasureClient

RESEND: Final = 0.15
"""Share of batches that are sent again as they are."""
REPEAT: Final = 0.15
"""Share of new batches that hold jobs of earlier ones, too."""
KEPT: Final = 400
"""Batches that a sender can still resend, from this epoch or the one before: older ones may be forgotten."""

Job = tuple[str, str]
"""Node id and job id."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """A batch that was acknowledged."""

    body: bytes
    jobs: list[tuple[Job, int]]
    answer: Answer
    during: int
    """The open epoch at that time."""


@dataclass(slots=True)
class Book:
    """What the senders were told, and what of it is contradictory."""

    accepted: dict[Job, tuple[int, int]] = field(default_factory=dict)
    """Job -> the epoch of its end, and the deadline of its receipt."""
    sent: set[Job] = field(default_factory=set)
    batches: int = 0
    resent: int = 0
    sequences: dict[int, bytes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, jobs: list[tuple[Job, int]], answer: Answer, before: Answer | None) -> None:
        """Enter an answer to a batch with these jobs and the epochs of their ends."""
        with self.lock:
            self.batches += 1
            if before is not None:
                self.resent += 1
                if before != answer and before.receipt is not None:
                    self.faults.append(f"batch {answer.batch.hex()} got two answers")
                return
            refused = {rejection.index for rejection in answer.rejected}
            taken = [job for index, job in enumerate(jobs) if index not in refused]
            if len(taken) != answer.accepted:
                self.faults.append(f"{answer.accepted} accepted, {len(taken)} not refused")
            if not taken:
                return
            signed = answer.receipt
            if signed is None or not signed.holds:
                self.faults.append(f"batch {answer.batch.hex()} has no receipt that holds")
                return
            if self.sequences.setdefault(signed.receipt.sequence, answer.batch) != answer.batch:
                self.faults.append(f"receipt {signed.receipt.sequence} was given twice")
            for job, own in taken:
                if job in self.accepted:
                    self.faults.append(f"{job} was promised twice")
                self.accepted[job] = (own, signed.receipt.deadline_epoch)

    def compare(self, counted: Iterable[tuple[Job, int]]) -> None:
        """Compare with what the published epochs hold: (job, epoch)."""
        found: dict[Job, int] = {}
        times: Counter[Job] = Counter()
        for job, epoch in counted:
            found[job] = epoch
            times[job] += 1
        for job, number in times.items():
            if number > 1:
                self.faults.append(f"{job} is counted {number} times")
            if job not in self.sent:
                self.faults.append(f"{job} was never sent")
        for job, (own, deadline) in self.accepted.items():
            if job not in found:
                self.faults.append(f"{job} was acknowledged and is in no epoch")
            elif not own <= found[job] <= deadline:
                self.faults.append(f"{job} is in epoch {found[job]}, promised {own}..{deadline}")


class Sender(threading.Thread):
    """One sender: it draws batches, sends each until it is answered, and enters the answers."""

    def __init__(
        self, number: int, seed: int, client: MeasureClient, book: Book, epoch: Callable[[], int]
    ) -> None:
        super().__init__(name=f"sender-{number}", daemon=True)
        self._number, self._client, self._book, self._epoch = number, client, book, epoch
        self._draw = random.Random(f"{seed}/{number}")
        self._kept: list[_Sent] = []
        self._next = 0
        self.stopping = threading.Event()
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                self._one()
        except BaseException as error:  # noqa: BLE001 - the programme reports it
            self.failure = error

    def _one(self) -> None:
        draw, now = self._draw, self._epoch()
        self._kept = [sent for sent in self._kept[-KEPT:] if sent.during >= now - 1]
        if self._kept and draw.random() < RESEND:
            sent = draw.choice(self._kept)
            self._book.note(sent.jobs, self._client.submit(sent.body), sent.answer)
            return
        records = [self._record() for _ in range(draw.choice((1, 1, 2, 7, 40, 300)))]
        if self._kept and draw.random() < REPEAT:
            earlier = draw.choice(self._kept).jobs
            records += [self._again(job) for job, _ in earlier[:20]]
            draw.shuffle(records)
        jobs = [
            (
                (one["peer_id"], one["job_id"]),
                CALENDAR.epoch_of(parse_time(one["ended_at"])),
            )
            for one in records
        ]
        body = lines(records)
        with self._book.lock:
            self._book.sent.update(job for job, _ in jobs)
        answer = self._client.submit(body)
        self._book.note(jobs, answer, None)
        if answer.receipt is not None:
            self._kept.append(_Sent(body, jobs, answer, now))

    def _second(self) -> int:
        hours = self._epoch() - CALENDAR.first_epoch
        if hours and self._draw.random() < 0.2:
            hours -= 1  # perhaps late
        return hours * 3600 + self._draw.randrange(3590)

    def _record(self) -> dict[str, Any]:
        self._next += 1
        node = self._draw.choice(NODES)
        job_id = f"{self._number}-{self._next:08d}"
        return record(self._next, node=node, job_id=job_id, second=self._second())

    def _again(self, job: Job) -> dict[str, Any]:
        """The same job with another row, at another time: it must never be counted beside the first."""
        node, job_id = job
        return record(self._next, node=node, job_id=job_id, second=self._second())
