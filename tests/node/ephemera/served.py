"""In-process nodes with their HTTP interface on a free port each."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import web
from members import KEYS, REALM, Heard, Network

from meridian.ephemera.messages.message import SignedMessage
from meridian.node.ephemera.address_hints import sign_hint
from meridian.node.ephemera.api import EphemeraApi, Face
from meridian.node.ephemera.config import NodeConfig
from meridian.node.ephemera.membership import FileMembers, Membership

TOKEN = "cd" * 32

FAST: dict[str, Any] = {"requests_per_s": 10_000, "requests_burst": 10_000}


def config(**sections: dict[str, Any]) -> NodeConfig:
    """A configuration with what differs, by section."""
    return NodeConfig(
        **{
            name: type(getattr(NodeConfig(), name))(**values)
            for name, values in ({"api": FAST} | sections).items()
        }
    )


class Picky(Heard):
    """An application that refuses messages that begin with ``bad``."""

    def check_tx(self, message: SignedMessage) -> str | None:
        return "it begins with bad" if message.data.startswith(b"bad") else None


class Served(Network):
    """Members whose APIs listen; `url(i)` says where."""

    def __init__(self, folder: Path, **more: Any) -> None:
        super().__init__(folder, **more)
        self.apis: dict[int, EphemeraApi] = {}
        self._runners: dict[int, web.AppRunner] = {}
        self._ports: dict[int, int] = {}

    async def serve(self, *members: int, settings: NodeConfig | None = None) -> None:
        for i in members:
            membership = Membership(FileMembers(self.folder / "members.toml"), [], self.folder)
            face = Face(
                node=self.nodes[i],
                config=settings or config(),
                membership=membership,
                admin_token=TOKEN,
                own_hint=sign_hint(
                    REALM, KEYS[i], host="127.0.0.1", port=self.peers[i].port, sequence=1
                ),
                api_port=7000,
            )
            self.apis[i] = EphemeraApi(face)
            runner = web.AppRunner(self.apis[i].application(), access_log=None, shutdown_timeout=1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self._runners[i] = runner
            self._ports[i] = int(runner.addresses[0][1])

    def server(self, i: int) -> web.Server:
        found = self._runners[i].server
        assert found is not None
        return found

    def url(self, i: int) -> str:
        return f"http://127.0.0.1:{self._ports[i]}"

    async def stop_serving(self, *members: int) -> None:
        for i in members or tuple(self._runners):
            await self._runners.pop(i).cleanup()


@contextlib.asynccontextmanager
async def served(folder: Path, api: NodeConfig | None = None, **more: Any) -> AsyncIterator[Served]:
    """Four members; the first one's API listens."""
    network = Served(folder, **more)
    network.heard = {i: Picky() for i in range(4)}
    await network.start()
    try:
        await network.serve(0, settings=api)
        yield network
    finally:
        await network.stop_serving()
        await network.stop()
