"""Tasks within Spark, for who owns a cluster: each of our shards is one row of an RDD, and Spark only carries it.

Within a task our own engine runs, so nothing of Spark's arithmetic or partitioning takes part. Spark is an optional
package (`pip install meridian-ie[spark]`) and needs Java 17. Who may connect is Spark's own configuration.
"""

import importlib
import os
import sys
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from meridian.errors import NotFound, RemoteFault
from meridian.scale.tasks import Items, Outcomes, R, T, say_nothing

FAILURES_MAX: Final = 4
"""How often a task may be lost with its worker."""
DRIVER_MEMORY: Final = "4g"
"""What comes back, codes among it, passes through the driver's Java: its default of 1 GB does not hold 3 million jobs'."""
WAVE: Final = 2
"""Tasks of a job, for each processor: their items are in memory, and their ends are told together."""


def pyspark() -> Any:
    """Return the package.

    Raises:
        NotFound: If it is not installed.
    """
    try:
        return importlib.import_module("pyspark.sql")
    except ImportError:
        raise NotFound("Spark is not installed: pip install meridian-ie[spark]") from None


def open_session(master: str) -> Any:
    """Return a session in which integers that do not fit are errors, never other integers.

    Args:
        master: ``local[2]``, or ``spark://HOST:PORT``.

    Raises:
        NotFound: If Spark is not installed.
        RemoteFault: If it does not start, or its master cannot be reached.
    """
    builder = pyspark().SparkSession.builder.master(_with_retries(master)).appName("meridian")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    settings = {
        "spark.ui.enabled": "false",
        "spark.log.level": "ERROR",
        "spark.sql.ansi.enabled": "true",
        "spark.task.maxFailures": str(FAILURES_MAX),
        "spark.driver.memory": DRIVER_MEMORY,
        "spark.driver.maxResultSize": DRIVER_MEMORY,
    }
    for name, value in settings.items():
        builder = builder.config(name, value)
    try:
        return builder.getOrCreate()
    except Exception as error:
        raise RemoteFault(f"Spark at {master}: {str(error).splitlines()[0]}") from error


def _with_retries(master: str) -> str:
    """Return a local master that gives a lost task another chance; others do so by themselves."""
    if master.startswith("local[") and "," not in master:
        return master.replace("]", f",{FAILURES_MAX}]")
    return master


class SparkPool:
    """Runs tasks within Spark.

    Args:
        master: As of `open_session`.
    """

    def __init__(self, master: str) -> None:
        self._master = master
        self._session: Any = None

    def __enter__(self) -> Self:
        """Start or connect; raises as `open_session`."""
        self._session = open_session(self._master)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._session.stop()

    @property
    def workers(self) -> int:
        """How many tasks run at once."""
        return int(self._session.sparkContext.defaultParallelism)

    def map(
        self, call: Callable[[T], R], items: Items[T], done: Callable[[int], None] = say_nothing
    ) -> list[R]:
        """Call with every item; see `meridian.scale.tasks.Pool`."""
        outcomes = Outcomes[R](len(items), done)
        context, wave = self._session.sparkContext, WAVE * self.workers
        for start in range(0, len(items), wave):
            places = range(start, min(len(items), start + wave))
            rows = context.parallelize([items[place] for place in places], len(places))
            try:
                found = rows.map(partial(_caught, call)).collect()
            except Exception as error:
                # What the call raises comes back as a result: this is a task lost again and again, or Spark itself.
                raise RemoteFault(f"Spark: {str(error).splitlines()[0]}") from error
            for place, (result, raised) in zip(places, found, strict=True):
                if raised is None:
                    outcomes.add(place, result)
                else:
                    outcomes.fail(place, raised)
            if any(raised is not None for _, raised in found):
                break  # the first failure is in this wave
        return outcomes.results()


def _caught(call: Callable[[Any], Any], item: Any) -> tuple[Any, Exception | None]:
    """Call, and return an error as it is: Spark would try again, and tell its text alone."""
    try:
        return call(item), None
    except Exception as error:  # noqa: BLE001 - raised again where the results are
        return None, error
