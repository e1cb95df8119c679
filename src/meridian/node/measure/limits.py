"""How much one sender may send, and how much may be in work: what is beyond is put off (429), never queued without end.

The clock is an argument, in seconds that only grow.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Self

from meridian.errors import Overloaded

SENDERS_MAX: Final = 65_536
"""Senders that are remembered; the one that was quiet the longest is forgotten, and its bucket full again."""
BURST_S: Final = 2.0
"""A bucket holds what comes in so many seconds."""
RETRY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Rates:
    """What a sender may send on average."""

    requests_per_s: int
    bytes_per_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsLimits:
    """What may be sent."""

    gateway: Rates
    node: Rates
    requests_max: int
    bytes_max: int


class TokenBucket:
    """Fills at a rate, up to `BURST_S` of it; what is taken may leave a debt, which must be gone before more is taken.

    A debt lets a body pass that is larger than the bucket, and its sender pays for it in time.
    """

    __slots__ = ("_at_s", "_level", "_rate")

    def __init__(self, rate: float, now_s: float) -> None:
        self._rate, self._at_s = rate, now_s
        self._level = rate * BURST_S

    def wait_s(self, now_s: float) -> float:
        """Return how long it takes until something may be taken; 0: now."""
        self._level += (now_s - self._at_s) * self._rate
        self._level = min(self._level, self._rate * BURST_S)
        self._at_s = now_s
        return max(0.0, -self._level / self._rate)

    def take(self, amount: float) -> None:
        """Take so much, whatever is left."""
        self._level -= amount


class SenderLimits:
    """The buckets of all senders."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, tuple[TokenBucket, TokenBucket]] = OrderedDict()

    def take_request(self, sender: str, rates: Rates, now_s: float) -> TokenBucket:
        """Count a request, and return the bucket from which its bytes are taken.

        Raises:
            Overloaded: If the sender has sent too much of late.
        """
        buckets = self._buckets.pop(sender, None)
        if buckets is None:
            if len(self._buckets) >= SENDERS_MAX:
                self._buckets.popitem(last=False)
            buckets = (
                TokenBucket(rates.requests_per_s, now_s),
                TokenBucket(rates.bytes_per_s, now_s),
            )
        self._buckets[sender] = buckets
        requests, size = buckets
        wait_s = max(requests.wait_s(now_s), size.wait_s(now_s))
        if wait_s > 0:
            raise Overloaded(wait_s, "the sender has sent too much")
        requests.take(1)
        return size


class Work:
    """The requests in work and the bytes of their bodies.

    Args:
        requests_max: Most requests at a time.
        bytes_max: Most bytes of bodies at a time.
    """

    def __init__(self, requests_max: int, bytes_max: int) -> None:
        self._requests_left, self._bytes_left = requests_max, bytes_max

    def request(self) -> "Share":
        """Be in work until the share is given back.

        Raises:
            Overloaded: If too many are.
        """
        if self._requests_left <= 0:
            raise Overloaded(RETRY_S)
        self._requests_left -= 1
        return Share(self)

    def _give_back(self, count: int) -> None:
        self._requests_left += 1
        self._bytes_left += count

    def _take(self, count: int) -> None:
        if count > self._bytes_left:
            raise Overloaded(RETRY_S)
        self._bytes_left -= count


class Share:
    """One request in work and its bytes; a context manager that gives both back."""

    __slots__ = ("_work", "taken")

    def __init__(self, work: Work) -> None:
        self._work = work
        self.taken = 0

    def grow_to(self, count: int) -> None:
        """Have at least so many bytes.

        Raises:
            Overloaded: If there is no room.
        """
        if count > self.taken:
            self._work._take(count - self.taken)  # noqa: SLF001 - two halves of one thing
            self.taken = count

    def give_back(self) -> None:
        """Be in work no longer; once."""
        self._work._give_back(self.taken)  # noqa: SLF001 - two halves of one thing

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()
