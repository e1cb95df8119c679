"""Hands out signed chains over HTTP, and as a consumer pulls those that are announced to it.

::

    python -m meridian.node.stores.announce_server --root DIR --port 0
    python -m meridian.node.stores.announce_server --root DIR --port 0 --publishers publishers.json

    GET  /CHAIN/head            the newest entry
    GET  /CHAIN/entries/CID     an entry
    GET  /CHAIN/objects/CID     an object
    POST /announce              {"owner": "0x..", "name": ".."}: pull now; answers {"sequence": N}

`publishers.json` maps each owner's account to the URL that its chains are pulled from: nobody else is listened to, and no
announcement says where to connect. A chain that forks is refused with 409 and named; the copy stays as it was.
"""

import argparse
import asyncio
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

from meridian.errors import InvalidInput, MeridianError, NotFound, Overloaded
from meridian.node.durable_file import held_lock, read_whole
from meridian.node.process import ready_line, serve_until_stopped, start_logging
from meridian.node.stores.announce import ChainUrl, advertisements, chain_path
from meridian.node.stores.chain_directory import HEAD, ChainDirectory
from meridian.node.stores.signed_chain import ENTRY_BYTES_MAX, Entry, Fork, pull
from meridian.node.stores.store import OBJECT_BYTES_MAX
from meridian.primitives.cid import parse_cid
from meridian.primitives.ids import Address, parse_address

BODY_BYTES_MAX: Final = 1 << 12
PULLS_MAX: Final = 64
"""Announcements that wait at a time; more are told to come back."""
NAME_BYTES_MAX: Final = 200


class Announcement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a publisher says: its chain has grown."""

    owner: str
    name: str


class Consumer:
    """Pulls announced chains into a directory, one at a time.

    Args:
        root: Where the copies are.
        publishers: Owner -> URL of its server.
        bytes_max: The longest object.
    """

    def __init__(
        self, root: Path, publishers: Mapping[Address, str], bytes_max: int = OBJECT_BYTES_MAX
    ) -> None:
        self._root, self._publishers, self._bytes_max = root, publishers, bytes_max
        self._mutex = threading.Lock()
        self._places = threading.BoundedSemaphore(PULLS_MAX)
        self._chains: dict[str, ChainDirectory] = {}

    def announced(self, owner: Address, name: str) -> int:
        """Pull a chain up to its newest entry, whose sequence is returned.

        Raises:
            InvalidInput: If the owner is not listed, or its chain is not as it should be; `Fork` where it forked.
            NotFound: If the publisher does not hand out something that its chain names.
            RemoteFault: If it does not answer.
            Overloaded: If too many wait.
        """
        url = self._publishers.get(owner)
        if url is None or not 0 < len(name.encode()) <= NAME_BYTES_MAX:
            raise InvalidInput("owner", "not one of this consumer's publishers")
        if not self._places.acquire(blocking=False):
            raise Overloaded(1.0)
        try:
            with self._mutex:
                return self._pull(ChainUrl(url, advertisements(owner, name), self._bytes_max))
        finally:
            self._places.release()

    def _pull(self, remote: ChainUrl) -> int:
        head = remote.head()
        if head is None:
            raise NotFound("the publisher hands out no such chain")
        path = chain_path(remote.name)
        mine = self._chains.get(path)
        if mine is None:
            mine = ChainDirectory(self._root / path, remote.name, None, self._bytes_max)
            self._chains[path] = mine
        new: list[Entry] = pull(remote.name, head, mine.head, remote.entry_bytes)
        for entry in new:
            mine.objects.put(remote.object(entry.object))
        mine.extend(new)
        return -1 if mine.head is None else mine.head.sequence


class ChainServer:
    """The HTTP face.

    Args:
        root: One directory for each chain, named as `announce.chain_path` says.
        consumer: Takes announcements; None: only hands out.
    """

    def __init__(self, root: Path, consumer: Consumer | None) -> None:
        self._root, self._consumer = root, consumer

    def application(self) -> web.Application:
        """Return the routes."""
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        chain = "/{chain:[0-9a-f]{40}-[0-9a-f]{64}}"
        app.router.add_get(chain + "/head", self._head)
        app.router.add_get(chain + "/{folder:entries|objects}/{cid:[a-z2-7]{59}}", self._file)
        if self._consumer is not None:
            app.router.add_post("/announce", self._announced)
        return app

    async def _head(self, request: web.Request) -> web.StreamResponse:
        path = self._root / request.match_info["chain"] / HEAD
        try:  # read whole: it is replaced while it is handed out
            return web.Response(body=read_whole(path, ENTRY_BYTES_MAX))
        except NotFound:
            raise web.HTTPNotFound from None

    async def _file(self, request: web.Request) -> web.StreamResponse:
        parts = request.match_info
        try:
            parse_cid(parts["cid"])
        except InvalidInput:
            raise web.HTTPNotFound from None
        path = self._root / parts["chain"] / parts["folder"] / parts["cid"]
        if not path.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(path, headers={"Content-Type": "application/octet-stream"})

    async def _announced(self, request: web.Request) -> web.Response:
        assert self._consumer is not None, "the route is there for a consumer only"
        try:
            told = msgspec.json.decode(await request.read(), type=Announcement)
            owner = parse_address(told.owner, "owner")
            sequence = await asyncio.to_thread(self._consumer.announced, owner, told.name)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return web.Response(status=400, text=f"{error}\n")
        except MeridianError as error:
            return web.Response(status=_status(error), text=f"{error}\n")
        return web.json_response({"sequence": sequence})


def _status(error: MeridianError) -> int:
    if isinstance(error, Fork):
        return 409
    if isinstance(error, InvalidInput):
        return 422
    if isinstance(error, Overloaded):
        return 503
    return 502


def read_publishers(path: Path) -> dict[Address, str]:
    """Read the file of publishers.

    Raises:
        InvalidInput: If it is no map of accounts to URLs.
    """
    try:
        value = msgspec.json.decode(read_whole(path), type=dict[str, str])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidInput(str(path), str(error)) from error
    return {parse_address(owner, str(path)): url for owner, url in value.items()}


async def serve(root: Path, host: str, port: int, publishers: Path | None) -> None:
    """Serve until cancelled.

    Raises:
        StorageFailure: If another process serves as a consumer from this directory.
        InvalidInput: If the publishers' file is none, or the port is taken.
    """
    await asyncio.to_thread(root.mkdir, parents=True, exist_ok=True)
    holder, consumer = None, None
    if publishers is not None:
        holder = held_lock(root / "lock", "another consumer keeps its copies here")
        consumer = Consumer(root, read_publishers(publishers))
    runner = web.AppRunner(
        ChainServer(root, consumer).application(), access_log=None, shutdown_timeout=2.0
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise InvalidInput("--port", f"{host}:{port}: {error.strerror}") from error
        ready_line(url=f"http://{host}:{runner.addresses[0][1]}")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
        if holder is not None:
            holder.close()


def main(arguments: list[str] | None = None) -> int:
    """Run the server as a process."""
    parser = argparse.ArgumentParser(prog="meridian.node.stores.announce_server")
    parser.add_argument("--root", type=Path, required=True, help="where the chains are")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="0: any")
    parser.add_argument("--publishers", type=Path, help="JSON: account -> URL; makes it a consumer")
    given = parser.parse_args(arguments)
    start_logging("announce")
    return serve_until_stopped(lambda: serve(given.root, given.host, given.port, given.publishers))


if __name__ == "__main__":
    sys.exit(main())
