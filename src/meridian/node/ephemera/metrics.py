"""Prometheus metrics of a node, in a registry of their own; every set of labels is bounded.

Labels are members (at most 128 each set), routes of the one table, status codes, and fields by which the core
refuses frames: never anything that a stranger chooses.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from meridian.ephemera.messages.replica import BlockStatus
from meridian.node.ephemera.membership import Membership
from meridian.node.ephemera.node import EphemeraNode, Health
from meridian.node.ephemera.storage import StorageCounts
from meridian.primitives.ids import address_text

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

_DRIVER_GAUGES: Final = frozenset({"commands_waiting", "frames_waiting"})


class NodeMetrics:
    """Renders what a node counts."""

    def __init__(
        self,
        node: EphemeraNode,
        membership: Membership,
        requests: Mapping[tuple[str, int], int],
        websocket_clients: Callable[[], int],
    ) -> None:
        self._node = node
        self._membership = membership
        self._requests = requests
        self._websocket_clients = websocket_clients

    async def render(self) -> bytes:
        """Return the text of all metrics; raises StorageFailure."""
        counts = await asyncio.to_thread(self._node.storage.counts)
        snapshot = _Snapshot(
            health=self._node.health(),
            status=self._node.status(),
            statistics=self._node.statistics(),
            counts=counts,
            membership=dict(self._membership.counters),
            requests=dict(self._requests),
            websocket_clients=self._websocket_clients(),
        )
        registry = CollectorRegistry(auto_describe=False)
        registry.register(snapshot)
        ProcessCollector(registry=registry)
        return generate_latest(registry)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Snapshot(Collector):
    """All values at one moment."""

    health: Health
    status: BlockStatus
    statistics: Mapping[str, Mapping[str, int]]
    counts: StorageCounts
    membership: Mapping[str, int]
    requests: Mapping[tuple[str, int], int]
    websocket_clients: int

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        yield from self._node()
        yield from self._links()
        yield from self._blocks()
        yield from self._drivers()
        yield from self._shell()

    def _node(self) -> Iterator[Metric]:
        health = self.health
        yield _gauge("healthy", "1 if the node can do its part", int(not health.reasons))
        yield _gauge("members", "Members of the present set", health.members)
        yield _gauge("quorum", "Members that must agree", health.quorum)
        yield _gauge("members_connected", "Members with a standing link", health.connected)

    def _links(self) -> Iterator[Metric]:
        peers = {k: v for k, v in self.statistics.items() if k.startswith("0x")}
        names = sorted({name for values in peers.values() for name in values})
        for name in names:
            now = name == "connected" or "waiting" in name
            kind = GaugeMetricFamily if now else CounterMetricFamily
            family = kind(
                f"ephemera_link_{name}", f"Of the link to a member: {name}", labels=["member"]
            )
            for member, values in peers.items():
                family.add_metric([member], values.get(name, 0))
            yield family

    def _blocks(self) -> Iterator[Metric]:
        status, counts = self.status, self.counts
        yield _gauge("mempool_messages", "Messages that wait", status.messages)
        yield _gauge("mempool_bytes", "Bytes of messages that wait", status.bytes)
        yield _counter("mempool_expired", "Messages that waited too long", status.expired)
        unfinished = GaugeMetricFamily(
            "ephemera_slots_unfinished", "Slots that are under way", labels=["member_set"]
        )
        observer = GaugeMetricFamily(
            "ephemera_observer", "1 if we sign nothing in the set", labels=["member_set"]
        )
        for member_set in status.member_sets:
            label = [str(member_set.epoch)]
            unfinished.add_metric(label, len(member_set.unfinished))
            observer.add_metric(label, int(member_set.observer))
        yield unfinished
        yield observer
        blocks = CounterMetricFamily(
            "ephemera_blocks", "Finalised blocks in the storage", labels=["creator"]
        )
        for creator, count in counts.blocks_by_creator.items():
            blocks.add_metric([address_text(creator)], count)
        yield blocks
        yield _counter("deliveries", "Deliveries of the broadcast", counts.deliveries)
        yield _gauge("store_entries", "Keys of the replicated store", counts.entries)

    def _drivers(self) -> Iterator[Metric]:
        for part in ("blocks", "agreement"):
            for name, value in self.statistics.get(part, {}).items():
                label = "driver" if part == "blocks" else part
                one = _gauge if name in _DRIVER_GAUGES else _counter
                yield one(f"{label}_{name}", f"Of the {part} driver: {name}", value)
        rejects = CounterMetricFamily(
            "ephemera_rejects", "Frames refused, by what was wrong", labels=["field"]
        )
        for field, value in self.statistics.get("rejects", {}).items():
            rejects.add_metric([field], value)
        yield rejects

    def _shell(self) -> Iterator[Metric]:
        for name, value in self.membership.items():
            yield _counter(f"membership_{name}", f"Of the members' sources: {name}", value)
        node = self.statistics["node"]
        yield _counter("misbehaviour", "Proofs against members", node["misbehaviour"])
        yield _counter("frames_unknown", "Frames of no protocol of ours", node["frames_unknown"])
        yield _gauge("subscribers", "Readers of finalised blocks", node["subscribers"])
        yield _gauge("websocket_clients", "WebSocket clients", self.websocket_clients)
        requests = CounterMetricFamily(
            "ephemera_api_requests", "Answers of the API", labels=["route", "status"]
        )
        for (route, code), value in self.requests.items():
            requests.add_metric([route, str(code)], value)
        yield requests


def _gauge(name: str, text: str, value: int) -> Metric:
    return GaugeMetricFamily(f"ephemera_{name}", text, value=value)


def _counter(name: str, text: str, value: int) -> Metric:
    return CounterMetricFamily(f"ephemera_{name}", text, value=value)
