"""The thread that asks witnesses again, while the published checkpoint of the epoch log lacks their quorum."""

import logging
import threading
from typing import Any, Final

from meridian.errors import RemoteFault
from meridian.node.measure.published_log import PublishedLog

RETRY_S: Final = 30.0

_log = logging.getLogger(__name__)


class Cosigning:
    """The thread.

    Args:
        log: Whose checkpoint it is.
        retry_s: Pause between two tries.
    """

    def __init__(self, log: PublishedLog, retry_s: float = RETRY_S) -> None:
        self._epoch_log, self._retry_s = log, retry_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cosigning", daemon=True)
        self.failure: BaseException | None = None
        """Why the thread stopped, if it did by itself."""

    def start(self) -> None:
        """Start the thread, if there are witnesses."""
        if self._epoch_log.witnesses is not None:
            self._thread.start()

    def document(self) -> dict[str, Any] | None:
        """Return how the published checkpoint stands with the witnesses, as JSON values; None: there are none."""
        witnesses = self._epoch_log.witnesses
        return None if witnesses is None else witnesses.document()

    def stop(self) -> None:
        """End the thread after the try at work."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self._retry_s):
                try:
                    self._epoch_log.cosign_again()
                except RemoteFault as fault:
                    _log.warning("witnesses: %s", fault)
        except BaseException as error:  # noqa: BLE001 - the process must end, with its reason.
            self.failure = error
            _log.critical("cosigning has stopped", exc_info=error)
