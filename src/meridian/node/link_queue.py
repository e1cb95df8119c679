"""What waits between the protocol and one peer: a bounded send queue, and the allowance for what the peer sends us.

Law: memory per peer has a named bound whatever the peer does. A full queue forgets its *oldest*
frame, because the protocol resends its newest state anyway; a frame in a slot replaces the frame
waiting in the same slot and keeps its place. Small frames always leave before bulk ones; inside one
class frames leave in the order they came (FIFO).
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import count


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """Bounds of one class of one peer's send queue."""

    frames_max: int
    bytes_max: int


class FrameQueue:
    """The frames of one class that wait for one peer, oldest first."""

    __slots__ = ("_frames", "_limits", "_numbers", "_waiting_bytes", "dropped", "replaced")

    def __init__(self, limits: QueueLimits) -> None:
        self._limits = limits
        # Not a dict: its first key is found past all that were taken since it last grew.
        self._frames: OrderedDict[Hashable, bytes] = OrderedDict()
        self._waiting_bytes = 0
        self._numbers = count()
        self.dropped = 0
        self.replaced = 0

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def waiting_bytes(self) -> int:
        """Sum of the lengths of the waiting frames."""
        return self._waiting_bytes

    def put(self, frame: bytes, slot: bytes | None = None) -> None:
        """Let `frame` wait; in a `slot` it takes the place of the frame that waits there."""
        key: Hashable = next(self._numbers) if slot is None else slot
        earlier = self._frames.get(key)
        if earlier is not None:
            self._waiting_bytes -= len(earlier)
            self.replaced += 1
        self._frames[key] = frame
        self._waiting_bytes += len(frame)
        while self._frames and (
            len(self._frames) > self._limits.frames_max
            or self._waiting_bytes > self._limits.bytes_max
        ):
            self.take()
            self.dropped += 1

    def take(self) -> bytes | None:
        """Remove and return the oldest frame, or None."""
        if not self._frames:
            return None
        _, frame = self._frames.popitem(last=False)
        self._waiting_bytes -= len(frame)
        return frame


class TokenBucket:
    """An allowance that refills with time: `rate` units per second, at most `burst` at once.

    The caller brings the time, in seconds of any clock that never goes back.
    """

    __slots__ = ("_at_s", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now_s: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at_s = now_s

    def delay_s(self, units: float, now_s: float) -> float:
        """Spend `units` and return how many seconds the caller must wait before it goes on (0 = none).

        The allowance may go below zero, so one message larger than the burst passes, and is paid
        for by waiting.
        """
        refilled = self._tokens + (now_s - self._at_s) * self._rate
        self._tokens = min(self._burst, refilled) - units
        self._at_s = now_s
        return max(0.0, -self._tokens / self._rate)
