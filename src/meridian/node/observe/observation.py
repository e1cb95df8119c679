"""One look at a process, and where processes say that they can be looked at.

Law: a process that is not well says why, in words that an operator can act on; what it does not know it leaves out.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from meridian.errors import InvalidInput, NotFound
from meridian.node.durable_file import write_durably

FILE_NAME: Final = "observe.json"
CONTENT_TYPE: Final = CONTENT_TYPE_LATEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A process at one moment."""

    ready: bool
    """Whether it can do its work now."""
    failed: str | None = None
    """Why it can never go on, if so: it has to be started again."""
    problem: str | None = None
    """What does not go as it should."""
    detail: dict[str, Any] = field(default_factory=dict)
    """Plain values, for JSON."""
    metrics: Sequence[Metric] = ()

    def health(self) -> dict[str, Any]:
        """Return the answer of ``/healthz``."""
        status = "ok" if self.failed is None else "failed"
        return {"status": status, "problem": self.failed or self.problem}

    def readiness(self) -> dict[str, Any]:
        """Return the answer of ``/readyz``."""
        return {"ready": self.ready and self.failed is None, "problem": self.failed or self.problem}


class _Together(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics


def exposition(metrics: Iterable[Metric], directory: Path) -> bytes:
    """Return metrics as Prometheus reads them, with those of every process: processor time, memory, files, disk."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Together([*metrics, *disk(directory)]))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


def disk(directory: Path) -> Iterator[Metric]:
    """Yield how much of the disk under a directory is free."""
    usage = shutil.disk_usage(directory)
    yield GaugeMetricFamily(
        "meridian_disk_free_bytes", "Free on the disk of the process's directory", value=usage.free
    )
    yield GaugeMetricFamily(
        "meridian_disk_bytes", "Size of the disk of the process's directory", value=usage.total
    )


class Announced(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a process can be looked at: `observe.json` in its directory."""

    process: str
    url: str
    pid: int

    @classmethod
    def load(cls, path: Path) -> "Announced":
        """Read the file.

        Raises:
            NotFound: If there is none.
            InvalidInput: If it is not such a file.
        """
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except FileNotFoundError:
            raise NotFound(f"{path}: no such file") from None
        except (OSError, msgspec.DecodeError) as error:
            raise InvalidInput(str(path), str(error)) from None


def announce(directory: Path, process: str, url: str) -> None:
    """Say in a process's directory where it can be looked at; what an earlier one said is replaced."""
    text = json.dumps({"process": process, "url": url, "pid": os.getpid()})
    write_durably(directory / FILE_NAME, text.encode() + b"\n")
