"""Which epoch's money a claim paid: claims are cumulative, so one claim may pay many epochs, oldest first. Pure."""

from collections.abc import Mapping, Sequence

from meridian.primitives.ids import NodeKey


def paid_of(
    keys: Sequence[NodeKey],
    amounts: Sequence[int],
    cumulative: Sequence[int],
    before: Mapping[NodeKey, int],
    after: Mapping[NodeKey, int],
) -> int:
    """Return how much more of an epoch's amounts is paid, atto.

    Args:
        keys: The epoch's nodes.
        amounts: What each earned in it.
        cumulative: What each had earned with it.
        before: Node -> what it had claimed; missing: nothing.
        after: The same after more claims: only nodes that claimed.
    """
    more = 0
    for key, amount, total in zip(keys, amounts, cumulative, strict=True):
        if key in after:
            start = total - amount
            then, now = before.get(key, 0), after[key]
            more += min(max(now - start, 0), amount) - min(max(then - start, 0), amount)
    return more
