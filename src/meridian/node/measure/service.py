"""The measure process: wires journal, intake, settling and HTTP, says that it serves, and ends cleanly.

Started as ``python -m meridian.node.measure.service --config FILE``.
"""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from aiohttp import web

from meridian.errors import MeridianError, StorageFailure
from meridian.measure.schema import NetworkSchema
from meridian.measure.seen_jobs import SeenJobs
from meridian.measure.signed_note import COSIGNATURE, Verifier, verifier_of
from meridian.node.durable_file import read_whole
from meridian.node.keystore import load_or_create_key, load_or_create_secret
from meridian.node.measure.answering import Answering
from meridian.node.measure.config import MeasureConfig
from meridian.node.measure.cosigning import Cosigning
from meridian.node.measure.following import Following
from meridian.node.measure.fresh_memory import keep_freed
from meridian.node.measure.granting import Granting
from meridian.node.measure.grouping import Aggregator
from meridian.node.measure.http import Face, MeasureHttp
from meridian.node.measure.intake import Intake
from meridian.node.measure.jobs_connection import JobsConnections
from meridian.node.measure.journal import Journal, open_journal
from meridian.node.measure.membership import Membership, join
from meridian.node.measure.nodes import NodeDirectory
from meridian.node.measure.outside import Outside, open_outside
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

KEEPALIVE_S: Final = 75.0
"""A connection that sends no whole head of a request for so long is closed."""
SHUTDOWN_S: Final = 2.0
READ_BYTES: Final = 256 << 10
"""Of a body, between the connection and its reader: what one read brings, so that not each of them stops the connection.
Twice as much may wait for a sender that is not known yet."""

WATCH_S: Final = 0.2


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


@dataclass(frozen=True, slots=True)
class _Parts:
    """What is there before the threads start."""

    config: MeasureConfig
    key: PrivateKey
    schema: NetworkSchema
    publication: Publication
    outside: Outside
    directory: NodeDirectory
    journal: Journal
    servers: Membership | None


async def _parts(config: MeasureConfig, stack: contextlib.ExitStack) -> _Parts:
    """Open the data directory; `stack` closes it."""
    config.data_dir.mkdir(parents=True, exist_ok=True)
    key = load_or_create_key(config.key_file)
    secret = load_or_create_secret(config.secret_file)
    schema = NetworkSchema.decode(read_whole(config.schema_file))
    servers = None
    if config.servers is not None:
        servers = await asyncio.to_thread(
            join, config.servers, config.network, config.data_dir, stack
        )
    coordinates = servers is None or servers.coordinates
    publication = (
        await asyncio.to_thread(_publication, config, stack)
        if coordinates
        else Publication(config.public_dir)
    )
    outside = open_outside(config, key, publication, schema, stack, _tell)
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
        server=0 if config.servers is None else config.servers.number,
    )
    stack.callback(journal.close)
    return _Parts(config, key, schema, publication, outside, directory, journal, servers)


def _aggregator(parts: _Parts) -> Aggregator:
    config = parts.config
    return Aggregator(
        network_id=network_id(config.network),
        schema=parts.schema,
        rules=config.rules,
        key=parts.key,
        domain=Domain(config.chain_id, parse_address(config.commitments, "commitments")),
        seed_secret=sha256(b"seeds", load_or_create_secret(config.secret_file)),
        replay=config.replay,
        signed_within_us=config.signed_within_us,
    )


def _settling(parts: _Parts, epoch_log: PublishedLog) -> Settling:
    config, servers = parts.config, parts.servers
    others = None
    if servers is not None:
        others = servers.hand_over(parts.journal, config.data_dir, config.log_bytes_max)
    return Settling(
        network=config.network,
        schema=parts.schema,
        aggregator=parts.key.address,
        first_epoch=config.first_epoch,
        journal=parts.journal,
        directory=parts.directory,
        publication=parts.publication,
        ledger=parts.outside.ledger,
        log=epoch_log,
        data_dir=config.data_dir,
        memory_bytes=config.seal_memory_mib << 20,
        on_event=_tell,
        others=others,
    )


async def _start(config: MeasureConfig, stack: contextlib.ExitStack) -> Face:
    """Open the data directory and start the threads; `stack` ends them."""
    parts = await _parts(config, stack)
    journal, servers = parts.journal, parts.servers
    if servers is not None and not servers.coordinates:
        return _follow(parts, servers, stack)
    epoch_log = _epoch_log(config, parts.publication)
    await asyncio.to_thread(epoch_log.open)
    settling = _settling(parts, epoch_log)
    granting = None if servers is None else Granting(journal)
    intake = Intake(_aggregator(parts), journal, parts.directory, settling.add, granting)
    stack.callback(settling.stop)
    settling.start()
    if servers is not None:
        await asyncio.to_thread(servers.note_settled, settling.settled_before, config.first_epoch)
    stack.callback(intake.stop)
    intake.start()
    cosigning = Cosigning(epoch_log)
    stack.callback(cosigning.stop)
    cosigning.start()
    answering = parts.outside.answering
    if answering is not None:
        stack.callback(answering.stop)
        answering.start()
    return _face(parts, intake, settling, answering, cosigning)


def _follow(parts: _Parts, servers: Membership, stack: contextlib.ExitStack) -> Face:
    """Start a further server: it takes jobs, and commits nothing."""
    claiming = servers.claiming(parts.journal, parts.schema)
    intake = Intake(
        _aggregator(parts), parts.journal, parts.directory, lambda _epoch: None, claiming
    )
    following = servers.follow(parts.journal, intake, claiming, parts.config.first_epoch)
    stack.callback(intake.stop)
    intake.start()
    stack.callback(following.stop)
    following.start()
    return _face(parts, intake, following, None, None)


def _face(
    parts: _Parts,
    intake: Intake,
    settling: Settling | Following,
    answering: Answering | None,
    cosigning: Cosigning | None,
) -> Face:
    config = parts.config
    return Face(
        intake=intake,
        journal=parts.journal,
        settling=settling,
        publication=parts.publication,
        proving=_proving(config, parts.schema, parts.publication),
        gateway_token=load_or_create_secret(config.gateway_token_file).hex(),
        admin_token=load_or_create_secret(config.admin_token_file).hex(),
        directory=parts.directory,
        limits=config.jobs_limits,
        network=config.network,
        first_epoch=config.first_epoch,
        data_dir=config.data_dir,
        answering=answering,
        cosigning=cosigning,
        servers=parts.servers,
    )


@contextlib.asynccontextmanager
async def serving(config: MeasureConfig) -> AsyncIterator[tuple[str, Face]]:
    """Serve as long as the context lasts; yields the URL, and what stands behind it.

    Raises:
        StorageFailure: If the data directory is in use or damaged.
    """
    with contextlib.ExitStack() as stack:
        face = await _start(config, stack)
        handlers = MeasureHttp(face)
        runner = web.AppRunner(
            handlers.application(),
            access_log=None,
            auto_decompress=False,  # bodies are unpacked within limits
            read_bufsize=READ_BYTES,
            keepalive_timeout=KEEPALIVE_S,
            shutdown_timeout=SHUTDOWN_S,
        )
        await runner.setup()
        assert runner.server is not None
        connections = JobsConnections(
            handlers.jobs,
            runner.server,
            keepalive_s=KEEPALIVE_S,
            is_alone=face.servers is None,
        )
        try:
            host, port = await connections.listen(config.listen_host, config.listen_port)
            url = f"http://{host}:{port}"
            announce(config.data_dir, "measure", url)
            yield url, face
        finally:
            await connections.close(SHUTDOWN_S)
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
        gc.freeze()  # what is loaded stays: to look through it again stops every thread for some 60 ms
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
    keep_freed()
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
