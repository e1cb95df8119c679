"""A load balancer as simple as they come: TCP, the next server for each connection, one that does not answer is passed over."""

import asyncio
import contextlib
import itertools
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Self


class Balancer:
    """A context that serves from a thread of its own.

    Args:
        ports: Of the servers, on the loopback.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports, self._turn = ports, itertools.count()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()
        self.taken: Counter[int] = Counter()
        """Connections of each server, by its place."""

    def __enter__(self) -> Self:
        self._thread.start()
        start = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result(10)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_error: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            found = await self._connect()
            if found is not None:
                back_reader, back_writer = found
                both = (_pass(reader, back_writer), _pass(back_reader, writer))
                await asyncio.gather(*both)
        except asyncio.CancelledError:
            pass  # the balancer ends
        finally:
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        first = next(self._turn)
        for more in range(len(self._ports)):
            place = (first + more) % len(self._ports)
            with contextlib.suppress(OSError):
                found = await asyncio.open_connection("127.0.0.1", self._ports[place])
                self.taken[place] += 1
                return found
        return None


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on until one side has ended."""
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except (OSError, asyncio.CancelledError):
        pass  # that is the end of it, and the other side sees it
    finally:
        writer.close()
