"""The node as a process: wires configuration, membership, node and API, says that it serves, and ends cleanly.

What ends the block driver or the links ends the process: it comes back from its storage.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from aiohttp import web

from meridian.ephemera.effects import Misbehaviour
from meridian.ephemera.evidence_file import EvidenceFile
from meridian.ephemera.messages.hooks import AcceptAll, Hooks
from meridian.errors import InvalidInput, MeridianError, NotFound, StorageFailure
from meridian.node.durable_file import write_durably
from meridian.node.ephemera.address_hints import sign_hint
from meridian.node.ephemera.api import EphemeraApi, Face
from meridian.node.ephemera.api_connections import bound_connections
from meridian.node.ephemera.config import CONFIG_FILE, NodeConfig
from meridian.node.ephemera.home import Home
from meridian.node.ephemera.membership import (
    FileHints,
    FileMembers,
    HintsSource,
    Membership,
    MembersSource,
    UrlHints,
)
from meridian.node.ephemera.node import EphemeraNode
from meridian.node.keystore import load_or_create_key, load_or_create_secret
from meridian.node.link_identity import link_identity
from meridian.node.process import (
    bound_recursion,
    event_line,
    ready_line,
    serve_until_stopped,
    start_logging,
)
from meridian.primitives.ids import address_text
from meridian.primitives.keys import PrivateKey

KEEPALIVE_S: Final = 30
API_STOP_S: Final = 2
EVIDENCE_DIR: Final = "evidence"

log = logging.getLogger(__name__)


class EphemeraService:
    """One node of a configuration file. Paths in the file are from its own directory."""

    def __init__(self, path: Path, config: NodeConfig, hooks: Hooks) -> None:
        """Read keys and sources; nothing is opened before `run`.

        Raises:
            NotFound: If a key file is missing.
            InvalidInput: If a file does not hold what it should.
        """
        self._config = config
        self._hooks = hooks
        self._root = path.resolve().parent
        self._key = _key(self._path(config.node.key_file))
        self._identity = link_identity(
            load_or_create_secret(_existing(self._path(config.node.link_key_file)))
        )
        self._data_dir = self._path(config.node.data_dir)
        self._membership = self._make_membership()

    async def run(self) -> None:
        """Serve until cancelled; raises what ended the node."""
        self._data_dir.mkdir(parents=True, exist_ok=True)
        present = await self._membership.first()
        links = self._config.links
        node = EphemeraNode(
            Home(self._data_dir, network=present.realm.network, member=self._key.address),
            key=self._key,
            identity=self._identity,
            realm=present.realm,
            settings=self._config.block_settings(),
            hooks=self._hooks,
            listen=(links.host, links.port),
            on_misbehaviour=lambda effect: self._note_misbehaviour(node, effect),
        )
        await node.start(present)
        try:
            await self._membership.accept(present)
            async with self._serving(node), asyncio.TaskGroup() as tasks:
                ready_line(
                    name=self._config.node.name,
                    address=address_text(node.address),
                    port=node.port,
                    api_port=self._config.api.port,
                )
                watch = tasks.create_task(self._follow_membership(node))
                await node.join()
                watch.cancel()
        finally:
            await node.stop()

    def _note_misbehaviour(self, node: EphemeraNode, effect: Misbehaviour) -> None:
        """Tell of a proof, and keep it as a file for others; the record of it is in the storage already."""
        context = node.storage.member_set(effect.epoch)
        assert context is not None, "the core judges by open member sets only"
        member = address_text(context.members[effect.member])
        path = self._data_dir / EVIDENCE_DIR / f"{effect.epoch}-{member}-{effect.kind}.evidence"
        event_line(
            "misbehaviour", member=member, kind=effect.kind, epoch=effect.epoch, file=str(path)
        )
        try:
            path.parent.mkdir(exist_ok=True)
            write_durably(path, EvidenceFile(context, effect.evidence).encode())
        except (OSError, StorageFailure) as error:
            log.warning("evidence is not kept as a file: %s", error)

    @contextlib.asynccontextmanager
    async def _serving(self, node: EphemeraNode) -> AsyncIterator[None]:
        """Serve the API."""
        api, links = self._config.api, self._config.links
        hint = sign_hint(
            node.realm,
            self._key,
            host=links.public_host or links.host,
            port=links.public_port or links.port,
            sequence=time.time_ns() // 1_000_000,
        )
        token = await asyncio.to_thread(load_or_create_secret, self._path(api.admin_token_file))
        face = Face(
            node=node,
            config=self._config,
            membership=self._membership,
            admin_token=token.hex(),
            own_hint=hint,
            api_port=api.port,
        )
        handlers = EphemeraApi(face)
        runner = web.AppRunner(
            handlers.application(),
            access_log=None,
            keepalive_timeout=KEEPALIVE_S,
            shutdown_timeout=API_STOP_S,
        )
        await runner.setup()
        try:
            try:
                await web.TCPSite(runner, api.host, api.port).start()
            except OSError as error:
                raise InvalidInput("api.port", f"{api.host}:{api.port}: {error.strerror}") from None
            assert runner.server is not None
            bounding = asyncio.create_task(
                bound_connections(runner.server, handlers.busy, api.connections_max)
            )
            try:
                yield
            finally:
                bounding.cancel()
        finally:
            await runner.cleanup()

    async def _follow_membership(self, node: EphemeraNode) -> None:
        """Take over what the sources say; their failures, and what they should not say, change nothing."""
        while True:
            await asyncio.sleep(self._config.membership.refresh_ms / 1000)
            present = await self._membership.refresh()
            if present is None:
                continue
            try:
                opened = await node.change_members(present)
                await self._membership.accept(present)
            except InvalidInput as error:
                self._membership.reject(error)
                continue
            if opened:
                event_line("member_set", number=present.number, members=len(present.members))

    def _make_membership(self) -> Membership:
        config = self._config.membership
        hints: list[HintsSource] = []
        source: MembersSource
        if config.kind == "file":
            source = FileMembers(self._path(config.file))
        else:
            # Here, because the chain's libraries would double the time to start of the others.
            from meridian.node.ephemera.contract_members import ContractMembers  # noqa: PLC0415

            source = ContractMembers(self._path(config.network_dir))
            if self._path(config.file).exists():
                hints.append(FileHints(self._path(config.file)))
        if config.hints_url:
            hints.append(UrlHints(config.hints_url, allow_private=config.hints_allow_private))
        return Membership(source, hints, self._data_dir)

    def _path(self, text: str) -> Path:
        return self._root / text


def main(path: Path, hooks: Hooks | None = None) -> int:
    """Run a node until SIGINT, SIGTERM or its own end; returns the exit code of the process.

    Args:
        path: The configuration file, or the directory that holds ``ephemera.toml``.
        hooks: What the application decides; without it every message is taken.
    """
    bound_recursion()
    path = path / CONFIG_FILE if path.is_dir() else path
    try:
        config = NodeConfig.load(path)
        start_logging(config.node.name, getattr(logging, config.log.level.upper()))
        service = EphemeraService(path, config, hooks or AcceptAll())
    except MeridianError as error:
        start_logging("ephemera")
        log.error("%s", error)  # noqa: TRY400 - for the operator, who needs no traceback
        return error.exit_code
    return serve_until_stopped(service.run)


def _key(path: Path) -> PrivateKey:
    return load_or_create_key(_existing(path))


def _existing(path: Path) -> Path:
    """A node with a fresh key is nobody: keys are made by `meridian ephemera generate-keypair`."""
    if not path.exists():
        raise NotFound(f"{path}: no such key; `meridian ephemera generate-keypair` makes one")
    return path
