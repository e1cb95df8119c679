"""The ingest clock: the machine's, or for recorded jobs one that the administrator moves."""

import threading
import time
from typing import Final

from meridian.errors import InvalidInput

INSTANT_US_MAX: Final = (1 << 62) - 1


class Clock:
    """Tells the time that jobs and epochs are compared with.

    Args:
        replay: Whether the time is only what `set` says.
        start_us: Where a replayed clock starts.
    """

    def __init__(self, *, replay: bool, start_us: int = 0) -> None:
        self.replay = replay
        self._now_us = start_us
        self._lock = threading.Lock()

    def now_us(self) -> int:
        """Return microseconds since the Unix epoch."""
        return self._now_us if self.replay else time.time_ns() // 1_000

    def set(self, now_us: int) -> int:
        """Move a replayed clock forward and return its time; it never goes back.

        Raises:
            InvalidInput: If the value is no instant.
        """
        if isinstance(now_us, bool) or not isinstance(now_us, int):
            raise InvalidInput("now_us", "microseconds since the Unix epoch are needed")
        if not 0 <= now_us <= INSTANT_US_MAX:
            raise InvalidInput("now_us", f"{now_us} is not in 0..{INSTANT_US_MAX}")
        with self._lock:
            self._now_us = max(self._now_us, now_us)
            return self._now_us
