"""Fetching bodies and blocks by their digest, piece by piece, from whoever has them.

Law: only what was asked for, from whom it was asked, at the offset that was asked for, is taken; an object
counts only when its digest is right. Bytes of two members are never mixed in one object, so a wrong digest
names its sender, who is then asked last. Bounds: `fetches_max` objects under way, the rest queue (at most
one entry per digest that the machine wants), and memory grows with received bytes only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from meridian.ephemera.block import block_bytes_max
from meridian.ephemera.context import Context
from meridian.ephemera.limits import Limits, Timing
from meridian.ephemera.message import BODY, Fetch, FetchReply
from meridian.errors import InvalidInput

TRIES_PER_SOURCE = 2
"""Requests for one piece to one member before the next member is asked."""

Key = tuple[int, bytes]
"""(object, digest)."""


@dataclass(slots=True)
class _Item:
    sources: list[int]
    """Whom to ask, next first."""
    pieces: list[bytes] = field(default_factory=list)
    received_bytes: int = 0
    total_bytes: int | None = None
    tries: int = 0
    due_ms: int | None = None
    """When to ask again; None while queued."""


class Retrieval:
    """Objects wanted by one epoch."""

    def __init__(self, context: Context, own: int, timing: Timing, limits: Limits) -> None:
        self._others = [member for member in range(context.n) if member != own]
        self._timing = timing
        self._limits = limits
        self._block_bytes_max = block_bytes_max(context.n)
        self._items: dict[Key, _Item] = {}

    def want(self, thing: int, digest: bytes, sources: Iterable[int]) -> None:
        """Fetch this, from `sources` first and then from anybody; nothing if wanted already."""
        if (thing, digest) in self._items or not self._others:
            return
        first = [member for member in dict.fromkeys(sources) if member in self._others]
        rest = [member for member in self._others if member not in first]
        self._items[thing, digest] = _Item(first + rest)

    def wanted(self) -> frozenset[Key]:
        """What is queued or under way."""
        return frozenset(self._items)

    def wants(self, key: Key) -> bool:
        """Whether this is queued or under way."""
        return key in self._items

    def keep_only(self, keys: Iterable[Key]) -> None:
        """Give up everything else."""
        kept = set(keys)
        self._items = {key: item for key, item in self._items.items() if key in kept}

    def accept(self, sender: int, reply: FetchReply) -> bytes | None:
        """Take one piece; return the object when it is complete (its digest is not checked here).

        Raises:
            InvalidInput: Nobody asked this sender for this piece, or its sizes are wrong.
        """
        item = self._items.get((reply.object, reply.digest))
        if item is None or item.due_ms is None or item.sources[0] != sender:
            raise InvalidInput("piece", "was not asked for")
        if reply.offset != item.received_bytes:
            raise InvalidInput("offset", "was not asked for")
        if reply.total_bytes > self._bytes_max(reply.object):
            raise InvalidInput("total", "passes the limit")
        if item.total_bytes not in {None, reply.total_bytes}:
            raise InvalidInput("total", "changed")
        if len(reply.piece) != min(self._limits.piece_bytes, reply.total_bytes - reply.offset):
            raise InvalidInput("piece", "has the wrong length")
        item.total_bytes = reply.total_bytes
        item.pieces.append(reply.piece)
        item.received_bytes += len(reply.piece)
        item.tries, item.due_ms = 0, 0
        if item.received_bytes < item.total_bytes:
            return None
        return b"".join(item.pieces)

    def done(self, key: Key) -> None:
        """The object is here."""
        self._items.pop(key, None)

    def spoiled(self, key: Key) -> None:
        """The object that came has the wrong digest or content: start again with the next member."""
        item = self._items.pop(key)
        self._items[key] = _rotated(item)

    def requests(self, now_ms: int) -> list[tuple[int, Fetch]]:
        """Requests that are due, as (member, FETCH); starts queued objects while there is room."""
        if not self._items:
            return []
        for key, item in list(self._items.items()):
            overdue = item.due_ms is not None and item.due_ms <= now_ms
            if overdue and item.tries >= TRIES_PER_SOURCE:
                # To the end of the queue: an object that nobody gives must not hold up the others.
                del self._items[key]
                self._items[key] = _rotated(item)
        under_way = sum(1 for item in self._items.values() if item.due_ms is not None)
        out: list[tuple[int, Fetch]] = []
        for (thing, digest), item in self._items.items():
            if item.due_ms is None:
                if under_way >= self._limits.fetches_max:
                    continue
                under_way += 1
            elif item.due_ms > now_ms:
                continue
            item.tries += 1
            item.due_ms = now_ms + self._timing.fetch_ms
            out.append((item.sources[0], Fetch(thing, 0, digest, item.received_bytes)))
        return out

    def next_deadline_ms(self) -> int | None:
        """When `requests` has something next."""
        return min((i.due_ms for i in self._items.values() if i.due_ms is not None), default=None)

    def _bytes_max(self, thing: int) -> int:
        return self._limits.body_bytes_max if thing == BODY else self._block_bytes_max


def _rotated(item: _Item) -> _Item:
    return _Item(item.sources[1:] + item.sources[:1])
