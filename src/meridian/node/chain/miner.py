"""The thread that makes blocks: soon after work arrives, at most one per second of chain time, none while idle.

The law: block times are wall-clock seconds and grow strictly. When the head already has this second's time, the next
block waits for the second to end; a clock that was set back delays it by a second at most, never stops it.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from meridian.node.chain.ledger import Ledger

STACK_BYTES: Final = 256 * 1024 * 1024
"""Address space for the stack of each thread that runs the EVM: py-evm nests about 10 Python calls per call depth."""

_SECOND: Final = 1.0


class Miner:
    """Runs `ledger.mine` when there is work.

    Args:
        ledger: The chain.
        gather_s: How long to wait for more transactions after the first.
        on_failure: Called once, from the thread, when making a block failed for good.
    """

    def __init__(
        self, ledger: Ledger, *, gather_s: float, on_failure: Callable[[BaseException], None]
    ) -> None:
        self._ledger = ledger
        self._gather_s = gather_s
        self._on_failure = on_failure
        self._work = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="miner")

    def start(self) -> None:
        """Start; transactions that were left waiting are mined first."""
        self._ledger.on_admitted = self._work.set
        self._work.set()
        self._thread.start()

    def stop(self) -> None:
        """Stop after the block that is being made."""
        self._stopping.set()
        self._work.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while True:
                self._work.wait()
                self._work.clear()
                while not self._stopping.is_set() and self._ledger.has_work():
                    self._stopping.wait(self._gather_s)
                    self._wait_for_the_second()
                    if self._stopping.is_set() or self._ledger.mine() is None:
                        break
                if self._stopping.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - the process ends on it; it must not end silently here
            self._on_failure(error)

    def _wait_for_the_second(self) -> None:
        waited_from = time.monotonic()
        while self._ledger.now_s() <= self._ledger.head.timestamp:
            left_s = _SECOND - (time.monotonic() - waited_from)
            if left_s <= 0 or self._stopping.is_set():
                return
            # Until the wall clock's next second: sleep at most to its start.
            self._stopping.wait(min(left_s, _SECOND - time.time() % _SECOND + 0.001))
