"""How often one client address may ask: a token bucket each, in a table that cannot grow."""

from collections import OrderedDict
from collections.abc import Hashable


class RateLimit:
    """Buckets by client; the client that was quiet longest is forgotten first.

    A refused request costs nothing, so a client that asks too fast still gets its rate.
    """

    def __init__(self, *, per_s: float, burst: float, clients_max: int) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clients_max = clients_max
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def delay_s(self, client: Hashable, now_s: float) -> float:
        """Spend one request; return 0, or in how many seconds the client may ask again.

        Args:
            client: Its address.
            now_s: Any clock that never goes back.
        """
        tokens, at_s = self._buckets.pop(client, (self._burst, now_s))
        tokens = min(self._burst, tokens + (now_s - at_s) * self._per_s)
        allowed = tokens >= 1
        self._buckets[client] = (tokens - 1 if allowed else tokens, now_s)
        if len(self._buckets) > self._clients_max:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / self._per_s
