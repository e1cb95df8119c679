"""The measure process: ``python -m meridian.node.ingest.service --config FILE``.

HTTP on one asyncio loop; decoding, the job log, seals and commitments in threads of their own. Whatever was answered is
durable, so the process may be killed at any time.
"""

import asyncio
import gc
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import click
from aiohttp import web

from meridian.errors import MeridianError, RemoteFault, StorageFailure
from meridian.measure.epoch import MICROSECONDS
from meridian.node.chain.rpc import Rpc
from meridian.node.chain.sender import Sender
from meridian.node.chain_view import ChainView
from meridian.node.durable_file import read_whole
from meridian.node.ingest.committer import CommitmentChain, Committer, ContractCommitments
from meridian.node.ingest.config import MeasureConfig
from meridian.node.ingest.core import Core, Setting
from meridian.node.ingest.http import Access, Api
from meridian.node.ingest.registry import ChainRegistry, NodeRegistry
from meridian.node.keystore import load_or_create_key, load_or_create_secret
from meridian.node.network_file import NetworkFile
from meridian.node.process import ready_line, serve_until_stopped, start_logging

_GC_THRESHOLD: Final = 200_000
_POLL_S: Final = 1.0

_log = logging.getLogger(__name__)


class Service:
    """Core, HTTP and committer together, for as long as `run` runs.

    Args:
        config: The configuration.
        setting: What the service is for.
        registry: Which nodes are registered.
        chain: Where commitments go; None: nowhere.
    """

    def __init__(
        self,
        config: MeasureConfig,
        setting: Setting,
        registry: NodeRegistry,
        chain: CommitmentChain | None,
    ) -> None:
        self._config, self._setting, self._registry, self._chain = config, setting, registry, chain
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._committer: Committer | None = None

    async def run(self, ready: Callable[[str, str], None]) -> None:
        """Serve until cancelled; `ready` is told the URL and the epoch log's verifier key.

        Raises:
            MeridianError: That which makes going on wrong.
        """
        core = await asyncio.to_thread(self._open)
        if self._chain is not None:
            self._committer = Committer(core.sealer, self._chain, self._fail_from_thread)
        api = Api(core, self._access(), self._sealed, self._fail)
        runner = web.AppRunner(api.application(), access_log=None, shutdown_timeout=2.0)
        by_clock: asyncio.Task[None] | None = None
        try:
            url = await self._listen(runner)
            if self._committer is not None:
                self._committer.start()
            gc.freeze()  # decoding makes millions of objects without cycles: looking for cycles costs a third
            gc.set_threshold(_GC_THRESHOLD, 50, 100)
            by_clock = asyncio.create_task(self._seal_by_clock(core, api))
            ready(url, core.vkey)
            await self._ended
        finally:
            if by_clock is not None:
                by_clock.cancel()
            await runner.cleanup()
            await asyncio.to_thread(self._close, core, api)

    def _open(self) -> Core:
        artefacts = [read_whole(path) for path in self._config.artefact_files]
        return Core(
            self._setting, self._config.data_dir, self._registry, self._fail_from_thread, artefacts
        )

    def _access(self) -> Access:
        config = self._config
        return Access(
            gateway_token=load_or_create_secret(config.gateway_token_file).hex(),
            admin_token=load_or_create_secret(config.admin_token_file).hex(),
            body_bytes_max=config.body_bytes_max,
            requests_max=config.requests_max,
        )

    async def _listen(self, runner: web.AppRunner) -> str:
        host = self._config.listen_host
        await runner.setup()
        try:
            await web.TCPSite(runner, host, self._config.listen_port).start()
        except OSError as error:
            raise StorageFailure(f"cannot listen on {host}: {error.strerror or error}") from error
        return f"http://{host}:{runner.addresses[0][1]}"

    def _close(self, core: Core, api: Api) -> None:
        api.close()
        if self._committer is not None:
            self._committer.stop()
        core.close()

    async def _seal_by_clock(self, core: Core, api: Api) -> None:
        """With a live clock, seal each epoch some time after its end."""
        if core.clock.replay:
            return
        delay_us = self._config.seal_after_s * MICROSECONDS
        while True:
            epoch = core.sealer.next_epoch
            if core.clock.now_us() >= core.setting.rules.calendar.end_us(epoch) + delay_us:
                try:
                    await api.seal(epoch)
                    continue
                except RemoteFault as fault:
                    _log.warning("epoch %d is not sealed yet: %s", epoch, fault)
                except MeridianError as error:
                    self._fail(error)
                    return
            await asyncio.sleep(_POLL_S)

    def _sealed(self) -> None:
        if self._committer is not None:
            self._committer.wake()

    def _fail_from_thread(self, error: MeridianError) -> None:
        self._loop.call_soon_threadsafe(self._fail, error)

    def _fail(self, error: MeridianError) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)


async def _serve(config: MeasureConfig) -> None:
    network = NetworkFile.load(config.network_dir)
    key = load_or_create_key(config.key_file)
    setting = Setting.of(config, network, key, load_or_create_secret(config.log_key_file))
    config.data_dir.mkdir(parents=True, exist_ok=True)
    rpc = Rpc(network.rpc_url)
    view = ChainView(rpc, network.contracts, network.deploy_block)
    registry = ChainRegistry(rpc, view, network.deploy_block)
    # The sender has a connection of its own: waiting for a block must not hold up the registrations.
    commit_rpc = Rpc(network.rpc_url)
    commit_view = ChainView(commit_rpc, network.contracts, network.deploy_block)
    sender = Sender(commit_rpc, key, config.data_dir / "transactions.sqlite")
    chain = ContractCommitments(commit_view, sender, key.address, network.deploy_block)
    try:
        service = Service(config, setting, registry, chain)
        await service.run(lambda url, vkey: ready_line(url=url, vkey=vkey))
    finally:
        sender.close()
        rpc.close()
        commit_rpc.close()


@click.command()
@click.option(
    "--config", "path", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True
)
def command(path: Path) -> None:
    """Run a measure service."""
    start_logging("measure")
    try:
        config = MeasureConfig.load(path)
    except MeridianError as error:
        _log.error("%s", error)
        raise SystemExit(error.exit_code) from error
    raise SystemExit(serve_until_stopped(lambda: _serve(config)))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the process and return its exit code."""
    try:
        command.main(args=argv, standalone_mode=False)
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
