"""Prometheus metrics of the explorer's server; labels are routes of the one table, status codes and states, nothing else."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WebMetrics(Collector):
    """All values at one moment."""

    requests: Mapping[tuple[str, int], int]
    """(route, status) -> answers."""
    listeners: int
    complaints: Mapping[str, int]
    """State -> complaints."""
    rounds: int
    age_s: float
    """Since the site was last found up to date."""
    healthy: bool

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        yield GaugeMetricFamily(
            "meridian_web_site_current", "1 if the last look went well", value=int(self.healthy)
        )
        yield GaugeMetricFamily(
            "meridian_web_site_age_seconds", "Since the last look that went well", value=self.age_s
        )
        yield CounterMetricFamily("meridian_web_looks", "Looks that went well", value=self.rounds)
        yield GaugeMetricFamily(
            "meridian_web_listeners", "Clients that wait for events", value=self.listeners
        )
        complaints = GaugeMetricFamily("meridian_web_complaints", "Complaints", labels=["state"])
        for state, count in self.complaints.items():
            complaints.add_metric([state], count)
        yield complaints
        answers = CounterMetricFamily(
            "meridian_web_requests", "Answers", labels=["route", "status"]
        )
        for (route, status), count in self.requests.items():
            answers.add_metric([route, str(status)], count)
        yield answers

    def render(self) -> bytes:
        """Return the text."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)
