"""The verified blocks that an epoch may still need.

Law: only verified blocks enter. Whoever echoed a block keeps it and its bodies on disk, for somebody may be
locked on it. Bound: `blocks_max` in memory; the oldest that is neither locked nor proposed goes first.
"""

from __future__ import annotations

from collections.abc import Collection as Container
from collections.abc import Mapping

from meridian.ephemera.block import Block, verify_block
from meridian.ephemera.collection import Collection
from meridian.ephemera.seat import Seat
from meridian.errors import InvalidInput


class BlockStore:
    """Blocks by their hash."""

    def __init__(self, seat: Seat, collection: Collection) -> None:
        self._seat = seat
        self._collection = collection
        self._blocks: dict[bytes, Block] = {}
        self._durable: set[bytes] = set()

    def restore(self, blocks: Mapping[bytes, Block]) -> None:
        """Take back what was persisted."""
        self._blocks.update(blocks)
        self._durable.update(blocks)

    def get(self, block_hash: bytes) -> Block | None:
        """A known block."""
        return self._blocks.get(block_hash)

    def keep(self, block: Block) -> Block:
        """Add a verified block; return the first known of this hash (signatures may differ)."""
        return self._blocks.setdefault(block.hash, block)

    def take(self, block_hash: bytes, data: bytes) -> bool:
        """Add a fetched block; False if it is not the one, or not valid."""
        try:
            block = Block.decode(data)
            if block.hash != block_hash:
                return False
            verify_block(self._seat.context, block)
        except InvalidInput:
            return False
        self._blocks[block_hash] = block
        return True

    def persist(self, block: Block) -> None:
        """Make a block durable with all its bodies; bodies first, so that a block is never without."""
        self._collection.persist_bodies(row.opening.row_root for row in block.rows)
        if block.hash not in self._durable:
            self._durable.add(block.hash)
            self._seat.persist("block", block.hash, block.encode())

    def trim(self, needed: Container[bytes]) -> None:
        """Go back to the bound, and drop bodies that no known row and no kept block names."""
        for block_hash in list(self._blocks):
            if len(self._blocks) <= self._seat.limits.blocks_max:
                break
            if block_hash not in needed:
                del self._blocks[block_hash]
        self._collection.forget_except(self._blocks.values())

    def keep_only(self, block: Block) -> None:
        """The decision is known: no other block matters any more."""
        self._blocks = {block.hash: block}
