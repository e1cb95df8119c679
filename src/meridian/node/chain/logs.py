"""Event logs over any span of blocks, from endpoints that each have limits of their own.

Logs are the way to index a chain: on Filecoin some heights have no block at all (null rounds) and cannot be asked for
by number, but a span of logs may begin and end anywhere. Who refuses a span as too long gets two halves of it.
"""

from collections.abc import Mapping
from typing import Any, Final

from meridian.node.chain.rpc import TOO_MUCH_CODE, ChainClient, RpcError

_TOO_MUCH_TEXTS: Final = (
    "block range",  # infura, erigon, alchemy, quicknode
    "range is too",
    "too many results",
    "response size",
    "lookback",  # lotus: "… exceeds the maximum allowed lookback/range"
    "maxfilterheightrange",
    "filter range",
    "exceeds",
)
"""What endpoints say, in lower case, when a span is too long; there is no code that all use."""


def read_logs(
    client: ChainClient, wanted: Mapping[str, Any], first: int, last: int
) -> list[dict[str, Any]]:
    """Return the logs of the blocks `first` to `last`, in chain order.

    Args:
        client: The endpoint.
        wanted: ``address`` and ``topics`` of the filter.
        first: First height; there need not be a block at it.
        last: Last height, not below `first`.

    Raises:
        RpcError: If even one block is too much, or the endpoint refuses for another reason.
    """
    found: list[dict[str, Any]] = []
    spans = [(first, last)]
    while spans:
        start, end = spans.pop()
        span = {"fromBlock": hex(start), "toBlock": hex(end)}
        try:
            found += client.call("eth_getLogs", {**wanted, **span})
        except RpcError as error:
            if start == end or not _is_too_much(error):
                raise
            middle = (start + end) // 2
            spans += [(middle + 1, end), (start, middle)]  # the lower half is taken next
    return found


def _is_too_much(error: RpcError) -> bool:
    text = error.message.lower()
    return error.code == TOO_MUCH_CODE or any(phrase in text for phrase in _TOO_MUCH_TEXTS)
