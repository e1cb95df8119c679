"""No job has two promises, and none is refused for a promise that was never given, whatever is lost on the way."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meridian.errors import InvalidInput, Overloaded
from meridian.measure.admission import LaneSums
from meridian.measure.claims import (
    SEQUENCE_BITS,
    TURN_BITS,
    Claim,
    Claims,
    Code,
    Verdict,
    batch_granted,
    first_sequence,
    server_of,
)
from meridian.measure.schema import Field, Lanes, NetworkSchema
from meridian.measure.seen_jobs import SMALL, SeenJobs
from meridian.primitives import dagcbor
from meridian.primitives.sumtree import LaneKind

SCHEMA = NetworkSchema(
    id=7,
    name="test",
    evaluation_fields=(Field.integer("num_bytes_sent"),),
    additional_fields=(),
    lanes=Lanes(LaneKind.PAIR_U64, ("num_bytes_sent",)),
)
EPOCH = 5


def hashes_of(jobs: list[int]) -> Any:
    return np.array([[job, job + 1] for job in jobs], dtype=np.uint64).reshape(-1, 2)


def claim_of(
    jobs: list[int], sequence: int, turn: int = 1, durable: int | None = None, **more: Any
) -> Claim:
    """A claim of one batch."""
    return Claim(
        turn=turn,
        sequence=sequence,
        durable=first_sequence(server_of(sequence)) if durable is None else durable,
        open_epoch=EPOCH,
        batches=(bytes([len(jobs)]) * 32,),
        batch_of=np.zeros(len(jobs), dtype=np.int64),
        epochs=np.full(len(jobs), EPOCH),
        hashes=hashes_of(jobs),
        lanes=more.pop("lanes", {"num_bytes_sent": np.zeros(len(jobs), dtype=np.uint64)}),
        **more,
    )


class Coordinator:
    """The coordinator's memory and its log, in which its own jobs and the claims of others stand as they came."""

    def __init__(self, log: tuple[int | tuple[Claim, Verdict], ...] = ()) -> None:
        self.seen, self.sums = SeenJobs(bytes(32), 10**6), LaneSums(SCHEMA)
        self.claims = Claims(self.seen, self.sums)
        self.log: list[int | tuple[Claim, Verdict]] = []
        for entry in log:
            if isinstance(entry, int):
                self.accept(entry)
            else:
                self.take(*entry)

    @property
    def own(self) -> list[int]:
        return [entry for entry in self.log if isinstance(entry, int)]

    def take(self, claim: Claim, verdict: Verdict) -> None:
        self.claims.apply(claim, verdict, len(self.log))
        self.log.append((claim, verdict))

    def ask(self, claim: Claim) -> Verdict:
        claim = Claim.read(dagcbor.decode(claim.encode()))
        self.claims.check(claim)
        verdict = self.claims.decide(claim, lambda _name: None)
        if self.claims.changes(claim, verdict):
            self.take(claim, verdict)
        return Verdict.read(dagcbor.decode(dagcbor.encode(verdict.document())))

    def accept(self, job: int) -> str:
        """Accept a job itself, as `Granting.screen` and `admit` do."""
        marks = self.seen.repeated(hashes_of([job]))
        if not marks.any():
            self.seen.add(np.array([EPOCH]), hashes_of([job]))
            self.log.append(job)
            return "accepted"
        doubtful = self.claims.unconfirmed(hashes_of([job]), 0).any()
        return "waits" if doubtful else "repeated"

    def restarted(self) -> "Coordinator":
        return Coordinator(tuple(self.log))


@dataclass
class Server:
    """A further server: what it has written, and how much of that is durable."""

    number: int
    generation: int = 1
    count: int = 0
    written: list[list[int]] = field(default_factory=list)
    durable: int = 0

    @property
    def jobs(self) -> list[int]:
        return [job for group in self.written for job in group]

    def claim(self, jobs: list[int]) -> Claim:
        self.count += 1
        first = first_sequence(self.number)
        turn = self.generation << TURN_BITS | self.count
        return claim_of(jobs, first + len(self.written), turn, first + self.durable)

    def crash(self, lost: int) -> None:
        """Lose up to so many groups that are not durable."""
        del self.written[max(self.durable, len(self.written) - lost) :]
        self.generation, self.count = self.generation + 1, 0


MOVES = st.one_of(
    st.tuples(
        st.sampled_from(["claim", "claim", "lost"]),
        st.integers(0, 1),
        st.lists(st.integers(0, 4), min_size=1, max_size=3, unique=True),
    ),
    st.tuples(st.sampled_from(["sync", "confirm", "late"]), st.integers(0, 1), st.just([])),
    st.tuples(st.just("crash"), st.integers(0, 1), st.lists(st.just(0), max_size=3)),
    st.tuples(st.just("own"), st.just(0), st.lists(st.integers(0, 4), min_size=1, max_size=1)),
    st.tuples(st.just("restart"), st.just(0), st.just([])),
)


@settings(max_examples=100)
@given(st.lists(MOVES, min_size=5, max_size=40))
def test_no_job_is_promised_twice_or_refused_for_nothing(moves: list[Any]) -> None:
    coordinator, servers = Coordinator(), [Server(1), Server(2)]
    old: list[Claim] = []

    def promised_elsewhere(job: int, but: Server | None) -> bool:
        others = [one.jobs for one in servers if one is not but]
        return any(job in jobs for jobs in others) or (but is not None and job in coordinator.own)

    def send(server: Server, jobs: list[int], *, written: bool) -> None:
        wanted = [job for job in jobs if job not in server.jobs]
        claim = server.claim(wanted)
        old.append(claim)
        verdict = coordinator.ask(claim)
        for job, code in zip(wanted, verdict.codes.tolist(), strict=True):
            if code == Code.REPEATED:
                assert promised_elsewhere(job, server), "refused for a promise that nobody gave"
            if code == Code.GRANTED:
                assert not promised_elsewhere(job, server)
        taken = [job for job, good in zip(wanted, verdict.granted, strict=True) if good]
        if taken and written:
            server.written.append(taken)

    for kind, at, jobs in moves:
        server = servers[at]
        if kind in {"claim", "lost"}:
            send(server, jobs, written=kind == "claim")
        elif kind == "sync":
            server.durable = len(server.written)
        elif kind == "confirm":
            send(server, [], written=False)
        elif kind == "crash":
            server.crash(len(jobs))
        elif kind == "late" and old:  # a claim that was long on its way comes again
            claim = old[len(old) // 2]
            last = servers[claim.server - 1]
            if claim.turn < (last.generation << TURN_BITS | last.count):
                before = coordinator.claims.granted(EPOCH)
                try:
                    coordinator.ask(claim)
                except InvalidInput:
                    assert coordinator.claims.granted(EPOCH) == before
        elif kind == "own":
            said = coordinator.accept(jobs[0])
            if said == "repeated":
                assert jobs[0] in coordinator.own or promised_elsewhere(jobs[0], None)
        elif kind == "restart":
            coordinator = coordinator.restarted()
    for server in servers:  # all come to rest: everybody says what is durable
        server.durable = len(server.written)
        send(server, [], written=False)
    everything = [job for server in servers for job in server.jobs] + coordinator.own
    assert len(everything) == len(set(everything))
    granted = coordinator.claims.granted(EPOCH)
    assert granted == {one.number: len(one.jobs) for one in servers if one.jobs}
    assert coordinator.restarted().claims.granted(EPOCH) == granted
    for job in range(5):
        assert (coordinator.accept(job) == "accepted") == (job not in everything)


def test_a_batch_is_answered_by_who_promised_it() -> None:
    coordinator, claim = Coordinator(), claim_of([1, 2], first_sequence(1))
    held = coordinator.claims.decide(claim, lambda _name: (2, True))
    assert (held.held, held.codes.tolist()) == ({0: 2}, [Code.ASIDE] * 2)
    waits = coordinator.claims.decide(claim, lambda _name: (2, False))
    assert (waits.waiting, waits.granted.any()) == ({0}, False)
    own = coordinator.claims.decide(claim, lambda _name: (1, False))
    assert own.granted.all()  # void by this very claim
    assert batch_granted(claim, own) == [claim.batches[0]]


def test_a_job_that_may_still_become_void_sets_its_batch_aside() -> None:
    coordinator, first, second = Coordinator(), first_sequence(1), first_sequence(2)
    assert coordinator.ask(claim_of([1, 2], first)).granted.all()
    asked = coordinator.ask(claim_of([2, 3], second))
    assert (asked.waiting, asked.codes.tolist()) == ({0}, [Code.ASIDE] * 2)
    coordinator.ask(claim_of([], first + 1, turn=2, durable=first + 1))
    assert coordinator.ask(claim_of([2, 3], second, turn=2)).codes.tolist() == [Code.REPEATED, 0]


def test_sums_of_all_servers_stay_within_a_lane() -> None:
    coordinator = Coordinator()
    most = {"num_bytes_sent": np.array([1 << 63], dtype=np.uint64)}
    assert coordinator.ask(claim_of([1], first_sequence(1), lanes=most)).granted.all()
    full = coordinator.ask(claim_of([2], first_sequence(2), lanes=most))
    assert full.codes.tolist() == [Code.FULL]


def test_refusals() -> None:
    coordinator, first = Coordinator(), first_sequence(1)
    coordinator.ask(claim_of([1], first, turn=3))
    with pytest.raises(InvalidInput, match="later claim"):
        coordinator.ask(claim_of([1], first, turn=2))
    coordinator.ask(claim_of([2], first + 4, turn=4, durable=first + 4))
    with pytest.raises(InvalidInput, match="older copy"):
        coordinator.ask(claim_of([1], first + 3, turn=5))
    with pytest.raises(InvalidInput, match="further server"):
        coordinator.ask(claim_of([1], 7))
    good = claim_of([1], first)
    for wrong in (
        {"epochs": np.zeros(2, dtype=np.int64)},
        {"batch_of": np.array([1])},
        {"batches": (b"short",)},
    ):
        with pytest.raises(InvalidInput, match="claim"):
            coordinator.ask(replace(good, **wrong))
    with pytest.raises(InvalidInput, match="claim"):
        Claim.read({"turn": 1})
    with pytest.raises(InvalidInput, match="verdict"):
        Verdict.read([])
    small = Claims(SeenJobs(bytes(32), 1), LaneSums(SCHEMA))
    with pytest.raises(Overloaded):
        small.decide(claim_of([1, 2], first), lambda _name: None)
    assert first >> SEQUENCE_BITS == 1


def test_single_jobs_are_forgotten_from_large_epochs_too() -> None:
    seen, rng = SeenJobs(bytes(32), 10**6), np.random.default_rng(5)
    hashes = rng.integers(1, 1 << 64, (SMALL + 10_000, 2), dtype=np.uint64)
    seen.add(np.full(len(hashes), 5), hashes)
    gone = hashes[::97]
    seen.remove(gone)
    assert not seen.repeated(gone).any()
    kept = np.delete(hashes, np.s_[::97], axis=0)
    assert seen.repeated(kept).all()
    assert len(seen) == len(kept)
    seen.add(np.full(len(gone), 6), gone)
    assert seen.repeated(hashes).all()
