"""A scheduler and a worker as processes of ours: mutual TLS only, no web pages, and an end at SIGTERM.

Whoever has a client's certificate runs code on every worker: that is what workers are for. So nothing listens without
certificates, Dask's own pages are off, and workers belong on machines that hold no keys.
"""

import importlib
import logging
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from meridian.errors import RemoteFault
from meridian.node.process import (
    bound_recursion,
    ready_line,
    serve_until_stopped,
    start_logging,
)
from meridian.node.workers.config import SchedulerConfig, WorkerConfig
from meridian.scale.dask_pool import CONNECT_S, distributed, security_of

NO_PAGES: Final = {
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.admin.system-monitor.gil.enabled": False,
}


def _begin(process: str) -> Any:
    bound_recursion()
    start_logging(process)
    dask = distributed()  # which sets levels when it is imported
    logging.getLogger("distributed").setLevel(logging.WARNING)
    importlib.import_module("dask").config.set(NO_PAGES)
    return dask


async def _schedule(dask: Any, config: SchedulerConfig) -> None:
    scheduler = dask.Scheduler(
        host=config.listen_host,
        port=config.listen_port,
        protocol="tls",
        security=security_of(config.certificates_dir, "scheduler"),
        dashboard=False,
        dashboard_address="127.0.0.1:0",
    )
    try:
        await scheduler
    except OSError as error:
        where = f"{config.listen_host}:{config.listen_port}"
        raise RemoteFault(f"{where}: {error.strerror or error}") from error
    ready_line(address=scheduler.address)
    try:
        await scheduler.finished()
    finally:
        await scheduler.close()


async def _work(dask: Any, config: WorkerConfig) -> None:
    pa.set_cpu_count(1)
    worker = dask.Worker(
        config.scheduler,
        host=config.listen_host,
        protocol="tls",
        security=security_of(config.certificates_dir, "worker"),
        nthreads=1,
        memory_limit=0,  # results go to who asked; nothing is kept that could be spilled
        local_directory=str(config.work_dir),
        dashboard=False,
        dashboard_address="127.0.0.1:0",
        death_timeout=CONNECT_S,
    )
    try:
        await worker
    except (OSError, TimeoutError) as error:
        raise RemoteFault(f"scheduler {config.scheduler}: {error}") from error
    ready_line(address=worker.address, scheduler=config.scheduler)
    try:
        await worker.finished()
    finally:
        await worker.close()


def run_scheduler(path: Path) -> int:
    """Run a scheduler from its configuration file; return the exit code."""
    config = SchedulerConfig.load(path)
    dask = _begin("scheduler")
    return serve_until_stopped(lambda: _schedule(dask, config))


def run_worker(path: Path) -> int:
    """Run a worker from its configuration file; return the exit code."""
    config = WorkerConfig.load(path)
    dask = _begin("worker")
    config.work_dir.mkdir(parents=True, exist_ok=True)
    return serve_until_stopped(lambda: _work(dask, config))
