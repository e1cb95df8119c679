"""What members have in their safety logs of epochs long past: decided and attested by real replicas, without sockets."""

from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path

from loopback import ADDRESSES, KEYS, TIMING, AnyRow, context, report_of, row
from mesh import NETWORK

from meridian.ephemera.effects import Attested, Broadcast, Decided, Effect, Persist, Record, Send
from meridian.ephemera.limits import Limits
from meridian.ephemera.replica import Replica
from meridian.node.safety_log import SafetyLog

Results = dict[int, tuple[Decided, Attested]]


class _Room:
    """Members that hear each other at once, on a clock that goes from deadline to deadline."""

    def __init__(self, members: Sequence[int]) -> None:
        self.now_ms = 0
        self.replicas = {i: Replica(KEYS[i], TIMING, Limits(), AnyRow()) for i in members}
        self.records: dict[int, list[Record]] = {i: [] for i in members}
        self.frames: deque[tuple[int, int, bytes]] = deque()
        self.decided: dict[int, Decided] = {}
        self.attested: dict[int, Attested] = {}

    def do(self, i: int, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Persist(record):
                    self.records[i].append(record)
                case Send(to, frame, _):
                    self.frames.append((i, ADDRESSES.index(to), frame))
                case Broadcast(to, frame):
                    self.frames += [(i, ADDRESSES.index(address), frame) for address in to]
                case Decided():
                    self.decided[i] = effect
                    told = self.replicas[i].submit_report(
                        effect.epoch, bytes(32), report_of(effect), self.now_ms
                    )
                    self.do(i, told)
                case Attested():
                    self.attested[i] = effect
                case _:
                    raise AssertionError(effect)

    def settle(self, epoch: int) -> tuple[Decided, Attested]:
        self.decided, self.attested = {}, {}
        for i, replica in self.replicas.items():
            self.do(i, replica.open(context(epoch), [], self.now_ms))
            self.do(i, replica.submit_row(epoch, row(epoch, i), self.now_ms))
        while self.attested.keys() != self.replicas.keys() or self.frames:
            if not self.frames:
                due = [replica.next_deadline_ms() for replica in self.replicas.values()]
                self.now_ms = min(at for at in due if at is not None)
                for i, replica in self.replicas.items():
                    self.do(i, replica.tick(self.now_ms))
                continue
            i, j, frame = self.frames.popleft()
            if j in self.replicas:
                self.do(j, self.replicas[j].receive(ADDRESSES[i], frame, self.now_ms))
        for replica in self.replicas.values():
            replica.close(epoch)
        first = min(self.replicas)
        return self.decided[first], self.attested[first]


def write_past(folder: Path, members: Sequence[int], epochs: Iterable[int]) -> Results:
    """Fill the safety logs of some members; return what the first of them knew of each epoch."""
    room = _Room(members)
    results = {epoch: room.settle(epoch) for epoch in epochs}
    for i in members:
        log = SafetyLog(folder / f"safety-{i}.db", network=NETWORK, member=ADDRESSES[i])
        log.write(room.records[i])
        log.close()
    return results
