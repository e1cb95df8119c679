"""What somebody else says of jobs that a server would accept, where several servers take jobs (`claims`)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from meridian.errors import MeridianError
from meridian.measure.order import Integers
from meridian.measure.seen_jobs import Hashes, Marks


@dataclass(frozen=True, slots=True)
class Screened:
    """What is said."""

    repeated: Marks
    """Promised before, here or elsewhere."""
    full: Mapping[str, Marks]
    """Field -> the jobs for which the epoch has no room in it."""
    aside: Mapping[int, MeridianError]
    """Batch -> why nothing is said about it here; its jobs are among the repeated ones."""


Screen = Callable[[Integers, Integers, Hashes, pa.Table, Marks], Screened]
"""Is given batch, epoch, hash and table of each job, and which are repeated here."""
