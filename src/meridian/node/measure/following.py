"""The thread of a further server that follows the coordinator: closes what it has closed, and learns what is committed.

It stands where the coordinator has `Settling`: a further server commits nothing.
"""

import logging
import threading
from typing import Final

from meridian.errors import MeridianError, StorageFailure
from meridian.node.control.control import ControlStore
from meridian.node.measure.claiming import Claiming
from meridian.node.measure.elsewhere import EpochClosed
from meridian.node.measure.intake import Intake
from meridian.node.measure.journal import Journal

PAUSE_S: Final = 0.5

_log = logging.getLogger(__name__)


class Following:
    """The thread.

    Args:
        journal: Ours.
        intake: Ours.
        claiming: Ours.
        control: Where the coordinator says how far epochs are.
        first_epoch: The network's first epoch.
    """

    sealing: None = None
    """Nothing is sealed here."""

    def __init__(
        self,
        journal: Journal,
        intake: Intake,
        claiming: Claiming,
        control: ControlStore,
        first_epoch: int,
    ) -> None:
        self._journal, self._intake, self._claiming = journal, intake, claiming
        self._control, self._first_epoch = control, first_epoch
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="following", daemon=True)
        self.problem: str | None = None
        """Why the coordinator cannot be followed now."""
        self.failure: BaseException | None = None
        """Why the thread stopped, if it did by itself."""
        self.settled_before = first_epoch
        """Every epoch below it is committed."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._claiming.stop()
        if self._thread.is_alive():
            self._thread.join()

    def close(self, epoch: int) -> None:
        """Close an epoch here and tell the coordinator what of it was never written; waits.

        Raises:
            MeridianError: If the coordinator cannot be told.
        """
        opened: int | None = epoch + 1
        while opened is not None:
            if opened > self._journal.open_epoch:
                self._intake.follow(opened).result()
            opened = self._confirmed()

    def _confirmed(self) -> int | None:
        """Tell how far we are durable; returns the open epoch where the coordinator is ahead of us."""

        def confirm() -> int | None:
            try:
                self._claiming.confirm()
            except EpochClosed as closed:
                return closed.open_epoch
            return None

        found: int | None = self._intake.between(confirm).result()
        return found

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._look()
                self._stopping.wait(PAUSE_S)
        except BaseException as error:  # noqa: BLE001 - the process must end, with its reason.
            if not self._stopping.is_set():
                self.failure = error
                _log.critical("following has stopped", exc_info=error)

    def _look(self) -> None:
        try:
            self.close(self._journal.open_epoch - 1)  # that needs the coordinator alone
            progress = self._control.progress(self._first_epoch)
            if progress.open_epoch > self._journal.open_epoch:
                self.close(progress.open_epoch - 1)
            self.settled_before = max(progress.settled_before, self.settled_before)
        except StorageFailure:
            raise
        except MeridianError as error:
            if self.problem != str(error):
                _log.warning("the coordinator cannot be followed: %s", error)
            self.problem = str(error)
        else:
            self.problem = None
