"""The keys of a configuration that say where the tasks of an epoch run."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import msgspec

from meridian.errors import InvalidInput

SHARD_ROWS: Final = 2_000_000
"""Jobs of a shard, at most, but for a node that has more: enough that a task's own price does not count."""
WORKERS_MAX: Final = 1_024
TLS: Final = "tls://"
SPARK_MASTERS: Final = ("spark://", "local", "yarn", "k8s://")
"""How the address of a Spark master may begin."""


class EngineKind(StrEnum):
    """Where tasks run."""

    INLINE = "inline"
    PROCESSES = "processes"
    DASK = "dask"
    SPARK = "spark"


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the tasks of an epoch run; what comes out is the same everywhere."""

    kind: EngineKind = EngineKind.INLINE
    """`inline`: here; `processes`: in worker processes of this machine; `dask`: on the workers of a Dask scheduler; `spark`: within Spark."""
    workers: Annotated[int, msgspec.Meta(ge=0, le=WORKERS_MAX)] = 0
    """Worker processes of `processes`; 0: one for each processor."""
    scheduler: str = ""
    """Address of the Dask scheduler, `tls://HOST:PORT`; or Spark's master, `spark://HOST:PORT` or `local[N]`."""
    certificates_dir: Path | None = None
    """Directory with `ca.pem`, `client.pem` and `client-key.pem`: without them the scheduler refuses us."""
    shard_rows: Annotated[int, msgspec.Meta(ge=1, le=100_000_000)] = SHARD_ROWS
    """Jobs of a shard, at most, but for a node that has more."""

    def __post_init__(self) -> None:
        if self.kind is EngineKind.DASK:
            if not self.scheduler.startswith(TLS):
                raise InvalidInput("scheduler", f"is not {TLS}HOST:PORT")
            if self.certificates_dir is None:
                raise InvalidInput("certificates_dir", "is needed: workers run what they are sent")
        if self.kind is EngineKind.SPARK and not self.scheduler.startswith(SPARK_MASTERS):
            raise InvalidInput("scheduler", f"is none of {', '.join(SPARK_MASTERS)}")
