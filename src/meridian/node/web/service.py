"""The process behind `meridian web`: wires files, news, complaints and proofs, says where it serves, and ends cleanly.

Started as ``python -m meridian.node.web.service --data-dir DIR``.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Final

import click
from aiohttp import web

from meridian.errors import InvalidInput, MeridianError, StorageFailure
from meridian.node.audit_sources import reachable_chain
from meridian.node.chain.rpc import Rpc
from meridian.node.explorer.measuring import Measuring
from meridian.node.explorer.site_builder import SiteBuilder
from meridian.node.network_file import NetworkFile
from meridian.node.observe.observation import announce
from meridian.node.process import (
    bound_recursion,
    ready_line,
    serve_until_stopped,
    start_logging,
)
from meridian.node.web.complaint_desk import ChainRegistrations, Clock, ComplaintDesk
from meridian.node.web.complaint_store import ComplaintStore
from meridian.node.web.events import EventHub
from meridian.node.web.http import Face, WebHttp
from meridian.node.web.options import DEFAULT_HOST, DEFAULT_PORT, WebOptions
from meridian.node.web.proof_proxy import ProofProxy
from meridian.node.web.proven import Verdicts
from meridian.node.web.site_keeper import SiteKeeper
from meridian.node.web.static_files import StaticFiles

KEEPALIVE_S: Final = 75.0
SHUTDOWN_S: Final = 2.0
BACKLOG: Final = 256
RPC_TIMEOUT_S: Final = 10.0


def _open(options: WebOptions, stack: contextlib.ExitStack) -> Face:
    """Open files and chain; `stack` closes them."""
    network = NetworkFile.load(options.data_dir)
    chain = stack.enter_context(
        reachable_chain(options.data_dir, network.rpc_url, network.chain_id)
    )
    desk_client, keeper_client = (Rpc(chain.url, RPC_TIMEOUT_S) for _ in range(2))
    stack.callback(desk_client.close)
    stack.callback(keeper_client.close)
    store = ComplaintStore(options.complaints)
    stack.callback(store.close)
    options.site.mkdir(parents=True, exist_ok=True)
    builder = SiteBuilder(
        options.data_dir,
        options.site,
        rpc_url=chain.url,
        measuring=Measuring(network.measure_url),
    )
    stack.callback(builder.close)
    hub, loop = EventHub(), asyncio.get_running_loop()

    def tell(epochs: Collection[int | None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(hub.publish, list(epochs))

    keeper = SiteKeeper(builder, store, Verdicts(keeper_client, network), options.site, tell)
    stack.callback(keeper.stop)
    clock = Clock(time.time, time.monotonic)
    return Face(
        site=options.site,
        publications=[
            None if "://" in name else options.data_dir / name for name in network.publications
        ],
        files=StaticFiles(),
        events=hub,
        desk=ComplaintDesk(store, ChainRegistrations(desk_client, network), network, clock),
        complaints=store,
        proofs=ProofProxy(network.measure_url),
        keeper=keeper,
    )


@contextlib.asynccontextmanager
async def serving(options: WebOptions) -> AsyncIterator[tuple[str, Face]]:
    """Serve as long as the context lasts; yields the URL, and what stands behind it.

    Raises:
        NotFound: If there is no network in the directory.
        RemoteFault: If its chain cannot be read.
        StorageFailure: If the disk refuses.
        InvalidInput: If the port is taken.
    """
    with contextlib.ExitStack() as stack:
        face = _open(options, stack)
        runner = web.AppRunner(
            WebHttp(face).application(),
            access_log=None,
            keepalive_timeout=KEEPALIVE_S,
            shutdown_timeout=SHUTDOWN_S,
        )
        await runner.setup()
        try:
            site = web.TCPSite(runner, options.host, options.port, backlog=BACKLOG)
            try:
                await site.start()
            except OSError as error:
                where = f"{options.host}:{options.port}"
                raise InvalidInput("--port", f"{where}: {error.strerror}") from error
            face.keeper.start()
            host, port = runner.addresses[0][:2]
            url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            announce(options.complaints.parent, "web", url)
            yield f"{url}/", face
        finally:
            await runner.cleanup()


async def serve(options: WebOptions, ready: Callable[[str], None]) -> None:
    """Serve until cancelled, or until the site cannot be kept up to date any more.

    Args:
        options: What to serve, and where.
        ready: Called with the address once it serves.

    Raises:
        StorageFailure: If the disk refuses, or the keeper has stopped.
    """
    async with serving(options) as (url, face):
        ready(url)
        await asyncio.to_thread(face.keeper.join)
        failure = face.keeper.failure
        if isinstance(failure, MeridianError):
            raise failure
        raise StorageFailure(f"a thread has stopped: {failure!r}")


def run(options: WebOptions, ready: Callable[[str], None]) -> int:
    """Run the server until it is told to stop; returns the exit code of the process."""
    return serve_until_stopped(lambda: serve(options, ready))


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--host", default=DEFAULT_HOST)
@click.option("--port", default=DEFAULT_PORT)
def _command(**values: Any) -> int:
    """Serve a network's explorer."""
    bound_recursion()
    start_logging("web")
    try:
        options = WebOptions(**values)
    except MeridianError as error:
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    return run(options, lambda url: ready_line(url=url, site=str(options.site)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; returns the exit code."""
    code: Any = _command.main(
        args=None if arguments is None else list(arguments), standalone_mode=False
    )
    return int(code)


if __name__ == "__main__":
    raise SystemExit(main())
