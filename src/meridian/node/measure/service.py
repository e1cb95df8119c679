"""The measure process: wires journal, intake, settling and HTTP, says that it serves, and ends cleanly.

Started as ``python -m meridian.node.measure.service --config FILE``.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from aiohttp import web

from meridian.contracts.artefact import load
from meridian.contracts.deployment import Addresses
from meridian.errors import MeridianError, StorageFailure
from meridian.measure.schema import NetworkSchema
from meridian.measure.seen_jobs import SeenJobs
from meridian.measure.signed_note import COSIGNATURE, Verifier, verifier_of
from meridian.node.chain.contract import Contract
from meridian.node.chain.finality import finality
from meridian.node.chain.rpc import Rpc
from meridian.node.chain.sender import Sender
from meridian.node.chain_view import ChainView
from meridian.node.durable_file import read_whole
from meridian.node.keystore import load_or_create_key, load_or_create_secret
from meridian.node.measure.answering import Answering
from meridian.node.measure.config import MeasureConfig
from meridian.node.measure.cosigning import Cosigning
from meridian.node.measure.grouping import Aggregator
from meridian.node.measure.http import Face, MeasureHttp
from meridian.node.measure.intake import Intake
from meridian.node.measure.journal import open_journal
from meridian.node.measure.ledger import ChainLedger, FileLedger, Ledger
from meridian.node.measure.nodes import ChainNodes, FileNodes, NodeDirectory, NodeSource
from meridian.node.measure.proving import Proving
from meridian.node.measure.publication import Publication
from meridian.node.measure.published_log import PublishedLog, SignedState
from meridian.node.measure.sealed_epoch import SealedStore
from meridian.node.measure.settling import Settling
from meridian.node.observe.observation import announce
from meridian.node.process import (
    bound_recursion,
    event_line,
    ready_line,
    serve_until_stopped,
    start_logging,
)
from meridian.node.witness.client import WitnessClient, Witnesses
from meridian.primitives.eip712 import Domain
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import address_text, network_id, parse_address
from meridian.primitives.keys import PrivateKey

RPC_TIMEOUT_S: Final = 10.0
DIRECTORY_TIMEOUT_S: Final = 3.0
"""An unknown node holds the intake up for at most this long, and then not again for a while."""

KEEPALIVE_S: Final = 75.0
"""A connection that sends no whole head of a request for so long is closed."""
SHUTDOWN_S: Final = 2.0
BACKLOG: Final = 1024

WATCH_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class _Outside:
    """Registrations and commitments, and challenges where somebody can give them."""

    nodes: NodeSource
    ledger: Ledger
    answering: Answering | None = None


def _outside(
    config: MeasureConfig,
    key: PrivateKey,
    publication: Publication,
    schema: NetworkSchema,
    stack: contextlib.ExitStack,
) -> _Outside:
    """Return what the configuration names: contracts on a chain, or files."""
    chain = config.chain
    if chain is None:
        assert config.nodes_file is not None, "checked by the configuration"
        return _Outside(
            FileNodes(config.nodes_file), FileLedger(config.data_dir / "commitments.jsonl")
        )
    addresses = Addresses(
        registry=parse_address(chain.registry, "registry"),
        commitments=parse_address(config.commitments, "commitments"),
        evaluations=parse_address(chain.evaluations, "evaluations"),
        rewards=parse_address(chain.rewards, "rewards"),
    )
    reading = Rpc(chain.rpc_url, DIRECTORY_TIMEOUT_S)
    sending = Rpc(chain.rpc_url, RPC_TIMEOUT_S)
    following = Rpc(chain.rpc_url, RPC_TIMEOUT_S)
    done = finality(config.chain_id, chain.confirmations, chain.transaction_wait_s)
    sender = Sender(
        sending,
        key,
        config.data_dir / "sender.sqlite",
        confirmations=done.confirmations,
        wait_s=done.wait_s,
    )
    for close in (reading.close, sending.close, following.close, sender.close):
        stack.callback(close)
    contract = Contract(sending, addresses.commitments, load("Commitments"))
    view = ChainView(reading, addresses, chain.deploy_block)
    answering = Answering(
        commitments=Contract(following, addresses.commitments, load("Commitments")),
        deploy_block=chain.deploy_block,
        sender=sender,
        publication=publication,
        schema=schema,
        on_event=_tell,
    )
    return _Outside(
        ChainNodes(view, chain.deploy_block),
        ChainLedger(sender, contract, chain.deploy_block),
        answering,
    )


def _publication(config: MeasureConfig, stack: contextlib.ExitStack) -> Publication:
    store = config.store.open()
    if store is not None:
        stack.callback(store.close)
    publication = Publication(config.public_dir, store)
    publication.fill()
    for path in (config.schema_file, *config.artefact_files):
        publication.put(read_whole(path))
    return publication


def _epoch_log(config: MeasureConfig, publication: Publication) -> PublishedLog:
    clients = [
        WitnessClient(one.url, Verifier.parse(one.vkey, COSIGNATURE), config.witness_wait_s)
        for one in config.witnesses
    ]
    return PublishedLog(
        config.public_dir / "log",
        SignedState(config.signed_state_file),
        config.origin,
        load_or_create_secret(config.log_key_file),
        Witnesses(clients, config.quorum, config.witnesses_required, config.witness_wait_s)
        if clients
        else None,
        publication.mirror,
    )


def _tell(event: str, fields: dict[str, Any]) -> None:
    event_line(event, **fields)


def _proving(config: MeasureConfig, schema: NetworkSchema, publication: Publication) -> Proving:
    store = SealedStore(config.data_dir / "sealed")
    return Proving(config.network, schema, config.first_epoch, publication, store)


async def _start(config: MeasureConfig, stack: contextlib.ExitStack) -> Face:
    """Open the data directory and start the threads; `stack` ends them."""
    config.data_dir.mkdir(parents=True, exist_ok=True)
    key = load_or_create_key(config.key_file)
    secret = load_or_create_secret(config.secret_file)
    schema = NetworkSchema.decode(read_whole(config.schema_file))
    publication = await asyncio.to_thread(_publication, config, stack)
    outside = _outside(config, key, publication, schema, stack)
    directory = NodeDirectory(outside.nodes)
    with contextlib.suppress(MeridianError):
        await asyncio.to_thread(directory.refresh)
    journal = await asyncio.to_thread(
        open_journal,
        config.data_dir / "log",
        schema,
        config.first_epoch,
        seen=SeenJobs(sha256(b"jobs", secret), config.jobs_max),
        bytes_max=config.log_bytes_max,
        remembered_epochs=config.remembered_epochs,
    )
    stack.callback(journal.close)
    epoch_log = _epoch_log(config, publication)
    await asyncio.to_thread(epoch_log.open)
    settling = Settling(
        network=config.network,
        schema=schema,
        aggregator=key.address,
        first_epoch=config.first_epoch,
        journal=journal,
        directory=directory,
        publication=publication,
        ledger=outside.ledger,
        log=epoch_log,
        data_dir=config.data_dir,
        memory_bytes=config.seal_memory_mib << 20,
        on_event=_tell,
    )
    aggregator = Aggregator(
        network_id=network_id(config.network),
        schema=schema,
        rules=config.rules,
        key=key,
        domain=Domain(config.chain_id, parse_address(config.commitments, "commitments")),
        seed_secret=sha256(b"seeds", secret),
        replay=config.replay,
        signed_within_us=config.signed_within_us,
    )
    intake = Intake(aggregator, journal, directory, settling.add)
    stack.callback(settling.stop)
    settling.start()
    stack.callback(intake.stop)
    intake.start()
    cosigning = Cosigning(epoch_log)
    stack.callback(cosigning.stop)
    cosigning.start()
    if outside.answering is not None:
        stack.callback(outside.answering.stop)
        outside.answering.start()
    return Face(
        intake=intake,
        journal=journal,
        settling=settling,
        publication=publication,
        proving=_proving(config, schema, publication),
        gateway_token=load_or_create_secret(config.gateway_token_file).hex(),
        admin_token=load_or_create_secret(config.admin_token_file).hex(),
        directory=directory,
        limits=config.jobs_limits,
        network=config.network,
        first_epoch=config.first_epoch,
        data_dir=config.data_dir,
        answering=outside.answering,
        cosigning=cosigning,
    )


@contextlib.asynccontextmanager
async def serving(config: MeasureConfig) -> AsyncIterator[tuple[str, Face]]:
    """Serve as long as the context lasts; yields the URL, and what stands behind it.

    Raises:
        StorageFailure: If the data directory is in use or damaged.
    """
    with contextlib.ExitStack() as stack:
        face = await _start(config, stack)
        runner = web.AppRunner(
            MeasureHttp(face).application(),
            access_log=None,
            auto_decompress=False,  # bodies are unpacked within limits
            keepalive_timeout=KEEPALIVE_S,
            shutdown_timeout=SHUTDOWN_S,
        )
        await runner.setup()
        try:
            site = web.TCPSite(runner, config.listen_host, config.listen_port, backlog=BACKLOG)
            await site.start()
            host, port = runner.addresses[0][:2]
            url = f"http://{host}:{port}"
            announce(config.data_dir, "measure", url)
            yield url, face
        finally:
            await runner.cleanup()


async def serve(config: MeasureConfig) -> None:
    """Serve until cancelled, or until a thread can promise nothing any more.

    Raises:
        StorageFailure: If the intake or the settling thread has stopped.
    """
    async with serving(config) as (url, face):
        intake, settling = face.intake, face.settling
        key = load_or_create_key(config.key_file)
        vkey = verifier_of(config.origin, load_or_create_secret(config.log_key_file)).text
        ready_line(url=url, aggregator=address_text(key.address), log_vkey=vkey)
        pruned_before = config.first_epoch
        while face.failure is None:
            await asyncio.sleep(WATCH_S)
            if settling.settled_before > pruned_before:
                pruned_before = settling.settled_before
                await asyncio.wrap_future(intake.prune(pruned_before))
                kept_from = pruned_before - config.sealed_epochs_kept
                if gone := await asyncio.to_thread(face.proving.forget_before, kept_from):
                    _tell("forgotten", {"epochs": gone})
        failure = face.failure
        if isinstance(failure, MeridianError):
            raise failure
        raise StorageFailure(f"a thread has stopped: {failure!r}")


def run(config: MeasureConfig) -> int:
    """Run the service until it is told to stop; returns the exit code of the process."""
    return serve_until_stopped(lambda: serve(config))


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path, dir_okay=False), required=True)
@click.option("--memory-mib", type=int, help="What a seal may use, instead of what is configured.")
def _command(path: Path, memory_mib: int | None) -> int:
    """Serve the measure service that a configuration file describes."""
    bound_recursion()
    start_logging("measure")
    try:
        config = MeasureConfig.load(path)
        start_logging("measure", network_id=network_id(config.network))
        if memory_mib is not None:
            config = msgspec.structs.replace(config, seal_memory_mib=memory_mib)
    except MeridianError as error:
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    return run(config)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the service; returns the exit code."""
    code: Any = _command.main(
        args=None if arguments is None else list(arguments), standalone_mode=False
    )
    return int(code)


if __name__ == "__main__":
    raise SystemExit(main())
