"""Real replicas wired to each other in memory: from row bodies to a decided block and an attested report."""

from collections import deque
from collections.abc import Mapping, Sequence

from meridian.committee.rules import CommitteeRules
from meridian.ephemera.context import Context
from meridian.ephemera.effects import Attested, Broadcast, Decided, Effect, Send
from meridian.ephemera.limits import Limits, Timing
from meridian.ephemera.replica import Replica
from meridian.evaluate.row import RowHeader
from meridian.evaluate.trace import trace_root
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey

STEPS_MAX = 200


class Mesh:
    """All members of one epoch, with frames delivered in order and time moved only when nothing else is left."""

    def __init__(self, context: Context, header: RowHeader, keys: Sequence[PrivateKey]) -> None:
        self.context = context
        self.replicas: dict[Address, Replica] = {}
        self.decided: dict[Address, Decided] = {}
        self.attested: dict[Address, Attested] = {}
        self._frames: deque[tuple[Address, Address, bytes]] = deque()
        self._now_ms = 0
        for key in keys:
            rules = CommitteeRules()
            rules.expect(header)
            replica = Replica(key, Timing(), Limits(), rules)
            self.replicas[key.address] = replica
            self._carry_out(key.address, replica.open(context, (), 0))

    def decide(
        self,
        bodies: Mapping[Address, bytes],
        work: bytes = bytes(32),
        copiers: Sequence[Address] = (),
    ) -> None:
        """Let every member contribute its body, with the trace root of the same work, and run until all have decided.

        Copiers have no work: what they give for a trace root is made up.
        """
        for address, body in bodies.items():
            trace = trace_root(address, bytes(32) if address in copiers else work)
            effects = self.replicas[address].submit_row(
                self.context.epoch, body, self._now_ms, trace
            )
            self._carry_out(address, effects)
        self._run(lambda: len(self.decided) == len(self.replicas))

    def attest(self, previous: bytes, digest: bytes) -> None:
        """Let every member sign the report, and run until all hold a quorum of signatures."""
        for address, replica in self.replicas.items():
            self._carry_out(
                address, replica.submit_report(self.context.epoch, previous, digest, self._now_ms)
            )
        self._run(lambda: len(self.attested) == len(self.replicas))

    def _run(self, done) -> None:
        for _ in range(STEPS_MAX):
            while self._frames:
                sender, to, frame = self._frames.popleft()
                self._carry_out(to, self.replicas[to].receive(sender, frame, self._now_ms))
            if done():
                return
            deadlines = [replica.next_deadline_ms() for replica in self.replicas.values()]
            self._now_ms = max(
                self._now_ms, min(deadline for deadline in deadlines if deadline is not None)
            )
            for address, replica in self.replicas.items():
                self._carry_out(address, replica.tick(self._now_ms))
        raise AssertionError("the members do not come to an end")

    def _carry_out(self, own: Address, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    self._frames.append((own, effect.to, effect.frame))
                case Broadcast():
                    self._frames.extend((own, to, effect.frame) for to in effect.to)
                case Decided():
                    self.decided[own] = effect
                case Attested():
                    self.attested[own] = effect
