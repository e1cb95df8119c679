"""Where the network's servers are, as the control state says; asked anew when it was asked some time ago."""

import threading
import time
from typing import Final

from meridian.errors import RemoteFault
from meridian.node.control.control import ControlStore

KNOWN_S: Final = 2.0


class Addresses:
    """Threads may share it.

    Args:
        control: The control state.
    """

    def __init__(self, control: ControlStore) -> None:
        self._control = control
        self._lock = threading.Lock()
        self._urls: dict[int, str] = {}
        self._asked_s = float("-inf")

    def url(self, server: int) -> str:
        """Return where a server is.

        Raises:
            RemoteFault: If it never joined, or the control state cannot be read.
        """
        with self._lock:
            if time.monotonic() - self._asked_s > KNOWN_S:
                self._ask(server)
            if server not in self._urls:
                raise RemoteFault(f"server {server} has not joined yet")
            return self._urls[server]

    def _ask(self, server: int) -> None:
        """Ask the control state; while it is away, what is known of a server stays."""
        try:
            self._urls = {one.number: one.url.rstrip("/") for one in self._control.servers()}
        except RemoteFault:
            if server not in self._urls:
                raise
        self._asked_s = time.monotonic()
