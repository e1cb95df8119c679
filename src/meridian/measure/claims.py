"""Claims: what keeps a job to one promise where several servers of one aggregator take jobs.

A receipt convicts its aggregator if its row stands in no epoch up to the deadline, or another row stands under its key. So
two servers must never promise one job with two rows, and which of them may is decided before either signs: the
coordinator is asked for each group of batches, with 16 bytes for each job, and what it grants it grants once.

    sequence    of receipts: number of the server << 40 | its own count; so no two servers use one, and JSON can hold it
    turn        generation of the server's start << 31 | its own count; what comes behind a later turn is refused
    durable     all receipts below it are on the server's disk: so far its grants are confirmed

Law: a claim with a sequence makes void what was granted to its server from this sequence on: the server has not written
it, else its sequence were higher. What is granted and not confirmed is nobody's duplicate yet: who sends such a job
elsewhere is put off, so that nothing is refused in the name of a promise that was never given.
"""

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian.errors import InvalidInput
from meridian.measure.admission import LaneSums
from meridian.measure.order import Integers
from meridian.measure.seen_jobs import HASH_BYTES, Hashes, Marks, SeenJobs, items_of
from meridian.primitives import dagcbor
from meridian.primitives.hashing import DIGEST_BYTES

SEQUENCE_BITS: Final = 40
TURN_BITS: Final = 31
SERVERS_MAX: Final = 4096
"""Numbers of servers are below it, and sequences below 2^52, which JavaScript holds exactly."""

Holder = tuple[int, bool]
"""The server that promised a batch, and whether that is confirmed."""


class Code(enum.IntEnum):
    """What became of a job."""

    GRANTED = 0
    REPEATED = 1
    """Another server or batch has promised it."""
    ASIDE = 2
    """Its batch is set aside: nothing is said about its jobs."""
    FULL = 3
    """The epoch's sum of the first lane is full; of the next one: 4."""


def first_sequence(server: int) -> int:
    """Return the number of a server's first receipt."""
    return server << SEQUENCE_BITS


def server_of(sequence: int) -> int:
    """Return whose receipt has this number."""
    return sequence >> SEQUENCE_BITS


@dataclass(frozen=True, slots=True)
class Claim:
    """What one server asks for one group."""

    turn: int
    sequence: int
    """The number of the group's first receipt."""
    durable: int
    open_epoch: int
    """Where it places jobs; the coordinator must agree."""
    batches: tuple[bytes, ...] = ()
    """Names."""
    batch_of: Integers = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """The batch of each job."""
    epochs: Integers = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    hashes: Hashes = field(default_factory=lambda: np.zeros((0, 2), dtype=np.uint64))
    """In `SeenJobs`, each once."""
    lanes: Mapping[str, npt.NDArray[np.uint64]] = field(default_factory=dict)
    """The values of bounded lanes, of each job."""

    @property
    def server(self) -> int:
        """Whose claim it is."""
        return server_of(self.sequence)

    @property
    def lane_table(self) -> pa.Table:
        """The lanes as columns."""
        return pa.table({name: pa.array(values) for name, values in self.lanes.items()})

    def document(self) -> dict[str, Any]:
        """Return what is sent, and stands in the coordinator's log."""
        return {
            "turn": self.turn,
            "sequence": self.sequence,
            "durable": self.durable,
            "open_epoch": self.open_epoch,
            "batches": list(self.batches),
            "batch_of": self.batch_of.astype("<u4").tobytes(),
            "epochs": self.epochs.astype("<u4").tobytes(),
            "hashes": np.ascontiguousarray(self.hashes).astype("<u8").tobytes(),
            "lanes": {name: values.astype("<u8").tobytes() for name, values in self.lanes.items()},
        }

    def encode(self) -> bytes:
        """Return its bytes."""
        return dagcbor.encode(self.document())

    @classmethod
    def read(cls, document: Any) -> "Claim":
        """Read what `document` made.

        Raises:
            InvalidInput: If it is not a claim.
        """
        try:
            claim = cls(
                turn=int(document["turn"]),
                sequence=int(document["sequence"]),
                durable=int(document["durable"]),
                open_epoch=int(document["open_epoch"]),
                batches=tuple(bytes(name) for name in document["batches"]),
                batch_of=np.frombuffer(document["batch_of"], dtype="<u4").astype(np.int64),
                epochs=np.frombuffer(document["epochs"], dtype="<u4").astype(np.int64),
                hashes=np.frombuffer(document["hashes"], dtype="<u8").reshape(-1, 2),
                lanes={
                    str(name): np.frombuffer(values, dtype="<u8")
                    for name, values in document["lanes"].items()
                },
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInput("claim", f"it lacks or misuses {error}") from error
        claim._check()
        return claim

    def _check(self) -> None:
        count = len(self.hashes)
        columns = (self.batch_of, self.epochs, *self.lanes.values())
        if any(len(column) != count for column in columns):
            raise InvalidInput("claim", "its columns have different lengths")
        if count and int(self.batch_of.max()) >= len(self.batches):
            raise InvalidInput("claim", "it names a batch that it does not have")
        if any(len(name) != DIGEST_BYTES for name in self.batches):
            raise InvalidInput("claim", "a batch's name has 32 bytes")
        if not 0 < self.server < SERVERS_MAX or not 0 <= self.durable <= self.sequence:
            raise InvalidInput("claim", "its sequence is none of a further server")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the coordinator says to a claim."""

    open_epoch: int
    """Where it stands. If that is not where the claim stands, nothing else is said and nothing was granted."""
    codes: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, dtype=np.uint8))
    """Of each job, a `Code`."""
    held: Mapping[int, int] = field(default_factory=dict)
    """Batch -> the server that has promised it: it has the answer."""
    waiting: frozenset[int] = frozenset()
    """Batches of which another server may have promised something in this moment: to be sent again."""

    @property
    def granted(self) -> Marks:
        """Which jobs are the server's now."""
        marks: Marks = self.codes == Code.GRANTED
        return marks

    def document(self) -> dict[str, Any]:
        """Return what is answered, and stands in the log."""
        return {
            "open_epoch": self.open_epoch,
            "codes": self.codes.tobytes(),
            "held": [[batch, server] for batch, server in sorted(self.held.items())],
            "waiting": sorted(self.waiting),
        }

    @classmethod
    def read(cls, document: Any) -> "Verdict":
        """Read what `document` made.

        Raises:
            InvalidInput: If it is not a verdict.
        """
        try:
            return cls(
                open_epoch=int(document["open_epoch"]),
                codes=np.frombuffer(document["codes"], dtype=np.uint8),
                held={int(batch): int(server) for batch, server in document["held"]},
                waiting=frozenset(int(batch) for batch in document["waiting"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput("verdict", f"it lacks or misuses {error}") from error


@dataclass(frozen=True, slots=True)
class _Unconfirmed:
    """What was granted and may still be void."""

    sequence: int
    place: int
    epochs: Integers
    hashes: Hashes


class Claims:
    """What the coordinator has granted to other servers; filled from its log, like the jobs that it remembers.

    Args:
        seen: The jobs of all servers; granted ones are added, void ones removed.
        sums: What the jobs of open epochs add up to; void ones stay in it, which refuses too early, never too late.
    """

    def __init__(self, seen: SeenJobs, sums: LaneSums) -> None:
        self._seen, self._sums = seen, sums
        self._turns: dict[int, int] = {}
        self._durable: dict[int, int] = {}
        self._unconfirmed: dict[int, list[_Unconfirmed]] = {}
        self._granted: dict[tuple[int, int], int] = {}
        self._void: set[int] = set()

    # -- asked ------------------------------------------------------------------------------------

    @property
    def state(self) -> list[list[int]]:
        """What the head of a file of the log must say: server, last turn that counted, receipts known to be durable."""
        turns = sorted(self._turns.items())
        return [[server, turn, self._durable.get(server, 0)] for server, turn in turns]

    def granted(self, epoch: int) -> dict[int, int]:
        """Return how many jobs of an epoch each server was granted."""
        found = list(self._granted.items())
        return {server: jobs for (one, server), jobs in sorted(found) if one == epoch and jobs}

    def is_void(self, place: int) -> bool:
        """Tell whether the claim at a place of the log was made void."""
        return place in self._void

    def is_confirmed(self, server: int, place: int) -> bool:
        """Tell whether what was granted at a place is on the server's disk."""
        return all(one.place != place for one in self._unconfirmed.get(server, ()))

    def unconfirmed(self, hashes: Hashes, server: int) -> Marks:
        """Mark the jobs that were granted to other servers than this one and are not confirmed."""
        theirs: set[bytes] = set()
        for other, pending in self._unconfirmed.items():
            if other != server:
                theirs.update(*(items_of(one.hashes) for one in pending))
        found = [item in theirs for item in items_of(hashes)] if theirs else [False] * len(hashes)
        return np.array(found, dtype=np.bool_)

    def check(self, claim: Claim) -> None:
        """Refuse what was sent before a turn that counted, and a server that has forgotten receipts.

        Raises:
            InvalidInput: If it is such a claim.
        """
        server, durable = claim.server, self._durable.get(claim.server, 0)
        if claim.turn < self._turns.get(server, 0):
            raise InvalidInput("turn", f"server {server} has sent a later claim than this")
        if claim.sequence < durable:
            raise InvalidInput(
                "sequence",
                f"server {server} had receipts up to {durable - 1} on its disk, and now begins at {claim.sequence}: an older"
                " copy was restored, and would give numbers twice",
            )

    def changes(self, claim: Claim, verdict: Verdict) -> bool:
        """Tell whether a claim changes anything that the log must know."""
        return bool(self._unconfirmed.get(claim.server)) or bool(verdict.granted.any())

    def decide(self, claim: Claim, holder: Callable[[bytes], Holder | None]) -> Verdict:
        """Decide about a claim; nothing is changed.

        Args:
            claim: Of the open epoch, checked.
            holder: Finds who has promised a batch.

        Raises:
            Overloaded: If so many jobs cannot be remembered.
        """
        held, waiting = self._held(claim, holder)
        codes = np.zeros(len(claim.hashes), dtype=np.uint8)
        repeated = self._repeated(claim)
        if repeated.any():
            codes[repeated] = Code.REPEATED
            at = np.flatnonzero(repeated)
            doubtful = at[self.unconfirmed(claim.hashes[at], claim.server)]
            waiting |= set(claim.batch_of[doubtful].tolist())
        aside = [*held, *waiting]
        if aside:
            codes[np.isin(claim.batch_of, np.array(aside, dtype=np.int64))] = Code.ASIDE
        self._seen.require_room(int((codes == Code.GRANTED).sum()))
        self._refuse_overflowing(claim, codes)
        return Verdict(claim.open_epoch, codes, held, frozenset(waiting))

    def _held(
        self, claim: Claim, holder: Callable[[bytes], Holder | None]
    ) -> tuple[dict[int, int], set[int]]:
        held: dict[int, int] = {}
        waiting: set[int] = set()
        for at, name in enumerate(claim.batches):
            found = holder(name)
            if found is None or found[0] == claim.server:
                continue  # its own: void by this claim, or its journal would have answered
            server, confirmed = found
            if confirmed:
                held[at] = server
            else:
                waiting.add(at)
        return held, waiting

    def _repeated(self, claim: Claim) -> Marks:
        """Mark what is promised already, by what stands when this claim has made void what it makes void."""
        marks = self._seen.repeated(claim.hashes)
        void = [one.hashes for one in self._made_void(claim)]
        if void and marks.any():
            free = set(items_of(np.concatenate(void)))
            at = np.flatnonzero(marks)
            for row, item in zip(at.tolist(), items_of(claim.hashes[at]), strict=True):
                if item in free:
                    marks[row] = False
        return marks

    def _refuse_overflowing(self, claim: Claim, codes: npt.NDArray[np.uint8]) -> None:
        if not claim.lanes:
            return
        rows = np.flatnonzero(codes == Code.GRANTED)
        table = claim.lane_table.take(pa.array(rows))
        refused = self._sums.overflowing(claim.epochs[rows], table)
        for lane, name in enumerate(sorted(claim.lanes)):
            codes[rows[refused.get(name, [])]] = Code.FULL + lane

    def _made_void(self, claim: Claim) -> list[_Unconfirmed]:
        pending = self._unconfirmed.get(claim.server, [])
        return [one for one in pending if one.sequence >= claim.sequence]

    # -- changed ----------------------------------------------------------------------------------

    def apply(self, claim: Claim, verdict: Verdict, place: int) -> None:
        """Take what a claim says and what it got.

        Args:
            claim: The claim.
            verdict: As decided.
            place: Where it stands in the log.
        """
        server = claim.server
        self.remember(server, claim.turn, claim.durable)
        for void in self._made_void(claim):
            self._seen.remove(void.hashes)
            self._count(server, void.epochs, -1)
            self._void.add(void.place)
        kept = [
            one
            for one in self._unconfirmed.get(server, [])
            if claim.durable <= one.sequence < claim.sequence
        ]
        granted = verdict.granted
        if granted.any():
            epochs, hashes = claim.epochs[granted], np.ascontiguousarray(claim.hashes[granted])
            self._seen.add(epochs, hashes)
            if claim.lanes:
                self._sums.add(epochs, claim.lane_table.take(pa.array(np.flatnonzero(granted))))
            self._count(server, epochs, 1)
            kept.append(_Unconfirmed(claim.sequence, place, epochs, hashes))
        self._unconfirmed[server] = kept

    def remember(self, server: int, turn: int, durable: int) -> None:
        """Take what a claim, or the head of a file of the log, says of a server."""
        self._turns[server] = max(turn, self._turns.get(server, 0))
        self._durable[server] = max(durable, self._durable.get(server, 0))

    def forget_before(self, epoch: int) -> None:
        """Forget what was granted in epochs before `epoch`."""
        for key in [key for key in self._granted if key[0] < epoch]:
            del self._granted[key]

    def forget_places(self, first: int, end: int) -> None:
        """Forget the places first..end-1 of the log, which are deleted."""
        self._void = {place for place in self._void if not first <= place < end}

    def _count(self, server: int, epochs: Integers, sign: int) -> None:
        numbers, counts = np.unique(epochs, return_counts=True)
        for epoch, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            key = (epoch, server)
            self._granted[key] = self._granted.get(key, 0) + sign * count


def batch_granted(claim: Claim, verdict: Verdict) -> Sequence[bytes]:
    """Return the names of the batches of which something was granted: these the server will have promised."""
    return [claim.batches[at] for at in np.unique(claim.batch_of[verdict.granted]).tolist()]


def claim_bytes_max(jobs: int, lanes: int) -> int:
    """Return the most bytes of a claim about so many jobs, each of a batch of its own."""
    return 1024 + jobs * (HASH_BYTES + 8 + 8 * lanes + DIGEST_BYTES + 8)
