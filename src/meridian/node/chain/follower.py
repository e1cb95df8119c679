"""Reads a chain's events so that a block that is replaced later is noticed and taken back.

The law: `follow` hands out every event once and in order, and before it hands out anything of another branch it says
from which height on what it said before no longer holds. Whoever keeps what it learned by height, and forgets what is
above `Update.rolled_back_to`, always knows exactly what the chain says up to `Update.through`.

How: it remembers the hashes of some blocks that it has read up to (anchors). Before it goes on it asks for the newest of
them again; where another block, or none, stands now, it goes back to the newest anchor that still holds. Only heights
at which a block was seen are asked for by number, so a height without one (Filecoin's null rounds, which are errors
there) is no failure; everything else is read by spans of logs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from meridian.errors import RemoteFault
from meridian.node.chain.logs import read_logs
from meridian.node.chain.rpc import ChainClient, RpcError, RpcUnavailable
from meridian.primitives.ids import Address, address_text

ANCHORS_MAX: Final = 64
"""Remembered blocks; older ones are thinned out so that the distances double."""

NULL_ROUNDS_MAX: Final = 32
"""Heights without a block that are stepped over to find the block below the head that has the confirmations."""

SPAN_BLOCKS_MAX: Final = 2_000
"""Blocks that one step reads: lotus refuses more than 2,880 at once."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A block that was read up to."""

    number: int
    hash: str
    """As the endpoint writes it."""


@dataclass(frozen=True, slots=True)
class Update:
    """What one step found."""

    rolled_back_to: int | None
    """Everything above this height, from earlier updates, does not hold any more; None: all holds."""
    logs: tuple[dict[str, Any], ...]
    """New logs, in chain order, as JSON (see `Contract.decode`)."""
    through: int
    """All logs up to this height are handed out."""
    is_current: bool
    """Whether there was nothing more to read at that moment."""


def block_at(client: ChainClient, which: str) -> Anchor | None:
    """Return the block at a height (hex) or ``latest``, or None where none stands (an error there on Filecoin)."""
    try:
        block = client.call("eth_getBlockByNumber", which, False)
    except RpcError:
        if which == "latest":
            raise
        return None
    return None if block is None else Anchor(int(block["number"], 16), str(block["hash"]))


class Follower:
    """Follows the logs of some contracts.

    Args:
        client: The endpoint.
        contracts: Whose logs; at least one.
        from_block: The first height that can hold any.
        confirmations: A block is read when this many heights are above it. What is read may still be taken back by a
            deeper reorganisation; more confirmations make that rarer, and the news older.
        anchors: What an earlier follower remembered (`anchors`), to go on where it was.
    """

    def __init__(
        self,
        client: ChainClient,
        contracts: Sequence[Address],
        from_block: int,
        *,
        confirmations: int = 0,
        anchors: Sequence[Anchor] = (),
    ) -> None:
        self._client = client
        self._contracts = [address_text(one) for one in contracts]
        self._from_block = from_block
        self._confirmations = confirmations
        self._anchors = list(anchors)

    @property
    def anchors(self) -> tuple[Anchor, ...]:
        """What must be kept to go on from here, together with what the updates said."""
        return tuple(self._anchors)

    @property
    def through(self) -> int:
        """The height up to which everything was handed out; one below the first at the start."""
        return self._anchors[-1].number if self._anchors else self._from_block - 1

    def follow(self) -> Update:
        """Take one step: notice a replaced block, and read on, at most `SPAN_BLOCKS_MAX` heights.

        A step that fails changes nothing; it may be repeated.

        Raises:
            RpcUnavailable: If the endpoint gives no answer.
            RpcError: If it refuses.
        """
        kept = self._standing()
        rolled_back_to = None
        if len(kept) < len(self._anchors):
            rolled_back_to = kept[-1].number if kept else self._from_block - 1
        start = (kept[-1].number if kept else self._from_block - 1) + 1
        head = self._block("latest")
        if head is None:
            raise RpcUnavailable("the endpoint shows no head")
        wanted = head.number - self._confirmations
        last = min(wanted, start + SPAN_BLOCKS_MAX - 1)
        target = head if last == head.number else self._at_or_below(last, start)
        while target is None and last < wanted:  # a desert without blocks: go on to its far side
            last = min(wanted, last + SPAN_BLOCKS_MAX)
            target = head if last == head.number else self._at_or_below(last, start)
        if target is None:  # nothing new that is deep enough
            self._anchors = kept
            through = kept[-1].number if kept else self._from_block - 1
            return Update(rolled_back_to, (), through, is_current=True)
        logs = read_logs(self._client, {"address": self._contracts}, start, target.number)
        if self._block(hex(target.number)) != target:
            # The chain moved while it was read: hand out nothing of what may come from two branches.
            self._anchors = kept
            through = kept[-1].number if kept else self._from_block - 1
            return Update(rolled_back_to, (), through, is_current=False)
        self._check(logs, start, target)
        self._anchors = _thinned([*kept, target])
        is_current = target.number + NULL_ROUNDS_MAX >= wanted and last == wanted
        return Update(rolled_back_to, tuple(logs), target.number, is_current=is_current)

    def _standing(self) -> list[Anchor]:
        """Return the anchors whose blocks still stand."""
        kept = list(self._anchors)
        while kept and self._block(hex(kept[-1].number)) != kept[-1]:
            kept.pop()
        return kept

    def _at_or_below(self, last: int, start: int) -> Anchor | None:
        """Return the newest block from `start` to `last`, or None if there is none in reach."""
        for number in range(last, max(start, last - NULL_ROUNDS_MAX) - 1, -1):
            found = self._block(hex(number))
            if found is not None and found.number >= start:
                return found
        return None

    def _block(self, which: str) -> Anchor | None:
        return block_at(self._client, which)

    def _check(self, logs: Sequence[dict[str, Any]], start: int, target: Anchor) -> None:
        """Refuse logs that belong nowhere: outside the span, out of order, or of another block at one height."""
        hashes: dict[int, str] = {target.number: target.hash}
        place = (start, -1)
        for log in logs:
            number, index = int(log["blockNumber"], 16), int(log["logIndex"], 16)
            if not start <= number <= target.number or (number, index) <= place:
                raise RemoteFault("the endpoint's logs are out of their span or their order")
            if hashes.setdefault(number, log["blockHash"]) != log["blockHash"] or log.get(
                "removed"
            ):
                raise RemoteFault("the endpoint's logs are of two branches")
            place = (number, index)


def _thinned(anchors: list[Anchor]) -> list[Anchor]:
    """Drop old anchors where there are too many: every second one of the older half."""
    if len(anchors) <= ANCHORS_MAX:
        return anchors
    half = len(anchors) // 2
    return anchors[:half:2] + anchors[half:]
