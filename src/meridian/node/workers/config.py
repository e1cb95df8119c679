"""Configurations of a scheduler and of a worker: a TOML file each."""

from pathlib import Path
from typing import Annotated

import msgspec

from meridian.errors import InvalidInput
from meridian.node.config_file import ConfigFile
from meridian.scale.settings import TLS

_Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]


class SchedulerConfig(ConfigFile, frozen=True, kw_only=True):
    """What a scheduler of workers needs to start."""

    certificates_dir: Path
    """Directory with `ca.pem`, `scheduler.pem` and `scheduler-key.pem`; `meridian scale keys` makes them."""
    listen_host: str = "127.0.0.1"
    """Address to listen on, for workers and for evaluators."""
    listen_port: _Port = 8786
    """Port to listen on; 0: any that is free."""


class WorkerConfig(ConfigFile, frozen=True, kw_only=True):
    """What a worker needs to start: one process, one task at a time; start one for each processor."""

    scheduler: str
    """Address of the scheduler, `tls://HOST:PORT`."""
    certificates_dir: Path
    """Directory with `ca.pem`, `worker.pem` and `worker-key.pem`."""
    listen_host: str = "127.0.0.1"
    """Address to listen on, for the scheduler."""
    work_dir: Path
    """Directory for files of a task's time."""

    def __post_init__(self) -> None:
        if not self.scheduler.startswith(TLS):
            raise InvalidInput("scheduler", f"is not {TLS}HOST:PORT")
