"""Tasks on the workers of a Dask scheduler, over mutual TLS: whoever may connect may run code, so only certificates may.

Dask is an optional package (`pip install meridian-ie[scale]`) and only a place to run: it gets calls and items, never
data frames, so its partitioning plays no part.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from ssl import TLSVersion
from types import TracebackType
from typing import Any, Final, Self

from meridian.errors import NotFound, RemoteFault
from meridian.scale.tasks import AHEAD, Items, Outcomes, R, T, say_nothing

CONNECT_S: Final = 15
"""How long the scheduler and the first worker are waited for."""


def distributed() -> Any:
    """Return the package.

    Raises:
        NotFound: If it is not installed.
    """
    try:
        return importlib.import_module("distributed")
    except ImportError:
        raise NotFound("Dask is not installed: pip install meridian-ie[scale]") from None


def security_of(directory: Path, role: str) -> Any:
    """Return what Dask needs for mutual TLS.

    Args:
        directory: Holds ``ca.pem``, ``ROLE.pem`` and ``ROLE-key.pem``.
        role: ``client``, ``scheduler`` or ``worker``.

    Raises:
        NotFound: If Dask is not installed, or a file is not there.
    """
    files = [directory / name for name in ("ca.pem", f"{role}.pem", f"{role}-key.pem")]
    for file in files:
        if not file.is_file():
            raise NotFound(f"{file}: no such file; `meridian scale keys` makes certificates")
    ca, certificate, key = map(str, files)
    return distributed().Security(
        require_encryption=True,
        tls_ca_file=ca,
        tls_min_version=TLSVersion.TLSv1_3,
        **{f"tls_{role}_cert": certificate, f"tls_{role}_key": key},
    )


class DaskPool:
    """Runs tasks on the workers of a scheduler.

    Args:
        scheduler: ``tls://HOST:PORT``.
        certificates: See `security_of`.
    """

    def __init__(self, scheduler: str, certificates: Path) -> None:
        self._scheduler = scheduler
        self._security = security_of(certificates, "client")
        self._client: Any = None

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            RemoteFault: If the scheduler cannot be reached, refuses us, or has no worker.
        """
        try:
            self._client = distributed().Client(
                self._scheduler, security=self._security, timeout=CONNECT_S
            )
            self._client.wait_for_workers(1, timeout=CONNECT_S)
        except (OSError, TimeoutError, ValueError) as error:
            self._close()
            raise RemoteFault(f"scheduler {self._scheduler}: {error}") from error
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    @property
    def workers(self) -> int:
        """How many workers there are now."""
        return len(self._client.nthreads())

    def map(
        self, call: Callable[[T], R], items: Items[T], done: Callable[[int], None] = say_nothing
    ) -> list[R]:
        """Call with every item; see `Pool`."""
        dask = distributed()
        killed = dask.scheduler.KilledWorker
        cut_off = dask.comm.CommClosedError
        outcomes = Outcomes[R](len(items), done)
        waiting = list(reversed(range(len(items))))
        running: dict[Any, int] = {}
        finished = dask.as_completed()

        def hand_out() -> None:
            while waiting and len(running) < max(1, self.workers) + AHEAD:
                place = waiting.pop()
                # Not pure: results are ours, and must not stay with the scheduler under the hash of an item.
                future = self._client.submit(call, items[place], pure=False)
                running[future] = place
                finished.add(future)

        hand_out()
        while running:
            future = next(finished)
            place = running.pop(future)
            raised = future.exception()
            if isinstance(raised, killed):
                raise RemoteFault(f"workers died with the task again and again: {raised}")
            if isinstance(raised, cut_off) or future.cancelled():
                raise RemoteFault(f"scheduler {self._scheduler}: the connection was lost")
            if raised is None:
                outcomes.add(place, future.result())
            else:
                outcomes.fail(place, raised)
                waiting.clear()  # those that run already may hold an earlier failure
            future.release()
            hand_out()
        return outcomes.results()
