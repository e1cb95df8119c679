"""The tiles in which a transparency log publishes its tree and its entries, and proofs made from tiles alone (C2SP).

A tile holds 256 neighbouring hashes of one row of the tree: row 0 are the leaves, and a hash of row L + 1 is the root over
256 of row L. The rightmost tile of a row may be partial; it has its width in its name and is never hashed into the row
above. A bundle holds the entries of a tile of row 0.

    tile/<L>/<N>[.p/<W>]         W (or 256) hashes of 32 bytes
    tile/entries/<N>[.p/<W>]     W (or 256) times: length u16, entry
    <N>                          in groups of three digits, all but the last after an x: 1234067 is x001/x234/067

Law: what is read from tiles is believed only after it leads to the root of a signed checkpoint.

Source: https://c2sp.org/tlog-tiles.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from meridian.errors import InvalidInput
from meridian.primitives import rfc6962
from meridian.primitives.hashing import DIGEST_BYTES, EMPTY_TREE

TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 1 << TILE_HEIGHT
ENTRY_BYTES_MAX: Final = (1 << 16) - 1
BUNDLE_BYTES_MAX: Final = TILE_WIDTH * (2 + ENTRY_BYTES_MAX)


@dataclass(frozen=True, slots=True)
class Tile:
    """The name of a tile, or of a bundle of entries."""

    level: int | None
    """The row; None: entries."""
    index: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """Where it is published, relative to the log."""
        level = "entries" if self.level is None else str(self.level)
        part = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{level}/{_grouped(self.index)}{part}"

    @property
    def whole(self) -> "Tile":
        """The full tile at this place: it takes over when the row has grown."""
        return Tile(self.level, self.index)

    @property
    def bytes_max(self) -> int:
        """The longest that it can be."""
        most = 2 + ENTRY_BYTES_MAX if self.level is None else DIGEST_BYTES
        return self.width * most


def _grouped(index: int) -> str:
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03d}")
    return "/".join(reversed(groups))


def tiles_of(size: int, beyond: int = 0) -> Iterator[Tile]:
    """Yield the tiles of hashes of a tree of `size` leaves that the tree of its first `beyond` leaves does not have."""
    level = 0
    while width := size >> TILE_HEIGHT * level:
        yield from _row(level, width, beyond >> TILE_HEIGHT * level)
        level += 1


def bundles_of(size: int, beyond: int = 0) -> Iterator[Tile]:
    """Yield the bundles of entries of a log of `size` entries that the log of its first `beyond` does not have."""
    return _row(None, size, beyond)


def _row(level: int | None, width: int, beyond: int) -> Iterator[Tile]:
    if width != beyond:
        for index in range(beyond // TILE_WIDTH, -(-width // TILE_WIDTH)):
            yield Tile(level, index, min(TILE_WIDTH, width - index * TILE_WIDTH))


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """Return the bytes of a bundle.

    Raises:
        InvalidInput: If an entry is too long.
    """
    pieces = []
    for entry in entries:
        if len(entry) > ENTRY_BYTES_MAX:
            raise InvalidInput("entry", f"longer than {ENTRY_BYTES_MAX} bytes")
        pieces += [len(entry).to_bytes(2, "big"), entry]
    return b"".join(pieces)


def decode_bundle(data: bytes, width: int) -> tuple[bytes, ...]:
    """Return the entries of a bundle that must have exactly `width`.

    Raises:
        InvalidInput: If it has more or fewer, or a torn one.
    """
    entries: list[bytes] = []
    at = 0
    while at < len(data) and len(entries) < width:
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if at + 2 > len(data) or end > len(data):
            break
        entries.append(data[at + 2 : end])
        at = end
    if at != len(data) or len(entries) != width:
        raise InvalidInput("bundle", f"it does not hold {width} entries")
    return tuple(entries)


def decode_tile(data: bytes, width: int) -> tuple[bytes, ...]:
    """Return the hashes of a tile that must have exactly `width`.

    Raises:
        InvalidInput: If it has more or fewer.
    """
    if len(data) != width * DIGEST_BYTES:
        raise InvalidInput("tile", f"it does not hold {width} hashes")
    return tuple(data[at : at + DIGEST_BYTES] for at in range(0, len(data), DIGEST_BYTES))


class TiledTree:
    """All rows of a tree that grows leaf by leaf: what the keeper of a log makes its tiles from."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self._rows: list[list[bytes]] = [[]]
        for leaf in leaves:
            self.append(leaf)

    @property
    def size(self) -> int:
        """The number of leaves."""
        return len(self._rows[0])

    def append(self, leaf: bytes) -> None:
        """Put the hash of a further leaf at the end."""
        node, level = leaf, 0
        while True:
            if level == len(self._rows):
                self._rows.append([])
            row = self._rows[level]
            row.append(node)
            if len(row) % TILE_WIDTH:
                return
            node, level = rfc6962.root(row[-TILE_WIDTH:]), level + 1

    def tile(self, tile: Tile) -> bytes:
        """Return the bytes of a tile of hashes."""
        assert tile.level is not None, "entries are not kept here"
        first = tile.index * TILE_WIDTH
        return b"".join(self._rows[tile.level][first : first + tile.width])

    def reader(self) -> "TileReader":
        """Return what makes roots and proofs of the tree as it is now."""
        return TileReader(self.size, self.tile)


class TileReader:
    """Roots and proofs of a tree, from the tiles that they need and no others.

    Args:
        size: The tree's size, as a checkpoint states it.
        fetch: Returns the bytes of a tile. What is wrong with them shows when a proof does not lead to the root.
    """

    def __init__(self, size: int, fetch: Callable[[Tile], bytes]) -> None:
        self.size = size
        self._fetch = fetch
        self._known: dict[Tile, tuple[bytes, ...]] = {}

    def root(self, size: int | None = None) -> bytes:
        """Return the root of the first `size` leaves, by default of all.

        Raises:
            InvalidInput: If there are not that many, or a tile has the wrong length.
        """
        size = self._within(size)
        return self._root(0, size) if size else EMPTY_TREE

    def inclusion_path(self, index: int, size: int | None = None) -> list[bytes]:
        """Return the proof that leaf `index` is in the tree of the first `size` leaves, by default of all."""
        ranges = rfc6962.inclusion_ranges(index, self._within(size))
        return [self._root(start, end) for start, end in ranges]

    def consistency_path(self, old_size: int, size: int | None = None) -> list[bytes]:
        """Return the proof that the tree of the first `size` leaves extends the one of the first `old_size`."""
        ranges = rfc6962.consistency_ranges(old_size, self._within(size))
        return [self._root(start, end) for start, end in ranges]

    def leaf(self, index: int) -> bytes:
        """Return the hash of leaf `index`."""
        return self._root(index, index + 1)

    def _within(self, size: int | None) -> int:
        if size is None:
            return self.size
        if not 0 <= size <= self.size:
            raise InvalidInput("size", f"{size} is beyond the tree of {self.size} leaves")
        return size

    def _root(self, start: int, end: int) -> bytes:
        """Return the root over a range that RFC 6962 has as a subtree: whole ones begin at a multiple of their size."""
        leaves = end - start
        if leaves & leaves - 1:
            middle = start + rfc6962.split(leaves)
            return rfc6962.node_hash(self._root(start, middle), self._root(middle, end))
        height = leaves.bit_length() - 1
        level, rest = divmod(height, TILE_HEIGHT)
        return rfc6962.root(self._row(level, start >> height << rest, 1 << rest))

    def _row(self, level: int, first: int, count: int) -> Sequence[bytes]:
        """Return neighbours of a row that lie in one tile."""
        index, at = divmod(first, TILE_WIDTH)
        width = min(TILE_WIDTH, (self.size >> TILE_HEIGHT * level) - index * TILE_WIDTH)
        tile = Tile(level, index, width)
        if tile not in self._known:
            self._known[tile] = decode_tile(self._fetch(tile), width)
        return self._known[tile][at : at + count]
