"""Where the frames of the job log lie: by batch for answers that are given again, by epoch for the seal.

About 300 bytes of memory for each batch; bounded by the length of the log.
"""

import threading
from dataclasses import dataclass, field

from meridian.node.ingest.frame import EpochPart, Frame
from meridian.node.ingest.job_log import Place


@dataclass(slots=True)
class _Epoch:
    places: list[Place] = field(default_factory=list)
    jobs: int = 0
    duplicates: int = 0


@dataclass(slots=True)
class _File:
    last_epoch: int = 0
    batches: list[bytes] = field(default_factory=list)


class FrameIndex:
    """Places of frames; any threads, each call short."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._batches: dict[bytes, Place] = {}
        self._epochs: dict[int, _Epoch] = {}
        self._files: dict[int, _File] = {}

    def add(self, place: Place, frame: Frame) -> None:
        """Remember a durable frame."""
        with self._lock:
            self._batches[frame.batch] = place
            file = self._files.setdefault(place.file, _File())
            file.batches.append(frame.batch)
            for part in frame.parts:
                file.last_epoch = max(file.last_epoch, part.epoch)
                self._add_part(place, part)

    def _add_part(self, place: Place, part: EpochPart) -> None:
        epoch = self._epochs.setdefault(part.epoch, _Epoch())
        epoch.jobs += part.jobs
        epoch.duplicates += part.duplicates
        if part.jobs:
            epoch.places.append(place)

    def place(self, batch: bytes) -> Place | None:
        """Return where a batch's frame lies, None if there is none."""
        with self._lock:
            return self._batches.get(batch)

    def places(self, epoch: int) -> list[Place]:
        """Return where an epoch's jobs lie."""
        with self._lock:
            known = self._epochs.get(epoch)
            return list(known.places) if known else []

    def counts(self, epoch: int) -> tuple[int, int]:
        """Return how many jobs an epoch has, and how many duplicates were refused."""
        with self._lock:
            known = self._epochs.get(epoch)
            return (known.jobs, known.duplicates) if known else (0, 0)

    def epochs(self) -> list[int]:
        """Return the epochs that have frames, ascending."""
        with self._lock:
            return sorted(self._epochs)

    def forget_before(self, epoch: int, current_file: int) -> list[int]:
        """Forget epochs before `epoch`, and the files whose frames are all of them; return those files' numbers."""
        with self._lock:
            for old in [known for known in self._epochs if known < epoch]:
                del self._epochs[old]
            gone = [
                number
                for number, file in self._files.items()
                if file.last_epoch < epoch and number != current_file
            ]
            for number in gone:
                for batch in self._files.pop(number).batches:
                    self._batches.pop(batch, None)
            return gone
